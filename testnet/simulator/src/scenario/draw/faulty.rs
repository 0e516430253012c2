//! Replicas that are faulty: that lie, or have lost or damaged their disks.

use std::collections::BTreeSet;

use pbft_byzantine::{STRATEGIES, Stage};
use pbft_messages::{ReplicaId, faults_tolerated};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;

use super::{CONSPIRACIES, Draw, Kind};
use crate::scenario::{Action, Time};

/// The share of the liars that follow two strategies at once.
const TWO_HABITS: f64 = 0.3;

impl Draw<'_> {
    /// Makes up to f replicas faulty, or f+1 malicious; gives whom.
    pub(super) fn faulty(&mut self) -> BTreeSet<ReplicaId> {
        let f = faults_tolerated(usize::from(self.n));
        let mut replicas: Vec<_> = (0..self.n).map(ReplicaId).collect();
        replicas.shuffle(&mut self.random);
        let count = if self.swarm.beyond_f { f + 1 } else { self.random.random_range(1..=f) };
        let mut ways = vec![Kind::Malice, Kind::Wipe, Kind::Twins, Kind::Damage, Kind::RollBack];
        if self.swarm.beyond_f {
            ways = vec![self.one_of(&[Kind::Malice, Kind::Twins])];
        } else {
            ways.retain(|kind| self.is_on(*kind));
        }
        if ways.is_empty() {
            return BTreeSet::new();
        }
        replicas.truncate(count);
        let conspiracy = self.swarm.beyond_f && self.random.random_bool(0.5);
        for replica in &replicas {
            match self.one_of(&ways) {
                Kind::Malice if conspiracy => {
                    let strategy = self.one_of(&CONSPIRACIES).to_owned();
                    self.act(Time::default(), Action::Corrupt { replica: *replica, strategy });
                }
                Kind::Wipe => self.wipe(*replica),
                Kind::Twins => drop(self.twins.insert(*replica)),
                Kind::Damage => self.damage(*replica),
                Kind::RollBack => self.roll_back(*replica),
                _ => self.corrupt(*replica),
            }
        }
        replicas.into_iter().collect()
    }

    pub(in crate::scenario) fn corrupt(&mut self, replica: ReplicaId) {
        let description = self.one_of(STRATEGIES);
        if description.stage == Stage::ViewChange {
            self.unseat_those_before(replica);
        }
        if description.stage == Stage::Primary && self.random.random_bool(0.5) {
            self.unseat_those_before(replica);
        }
        let mut strategy = self.one_of(description.samples).text.to_owned();
        if self.random.random_bool(TWO_HABITS) {
            let other = self.one_of(STRATEGIES).samples;
            strategy = format!("{strategy}+{}", self.one_of(other).text);
        }
        let at = self.beginning();
        self.act(at, Action::Corrupt { replica, strategy });
        if self.random.random_bool(0.2) {
            let end = self.later(at, self.length);
            self.act(end, Action::Behave { replica });
        }
    }

    /// Mostly the start: the first primary is r0, whatever happens.
    pub(in crate::scenario) fn beginning(&mut self) -> Time {
        if self.random.random_bool(0.7) { Time::default() } else { self.time() }
    }

    /// Brings a replica's view about: each primary before it crashes, and leaves its view when it starts again (D2).
    pub(in crate::scenario) fn unseat_those_before(&mut self, replica: ReplicaId) {
        let mut at = self.time();
        for primary in (0..replica.0).map(ReplicaId) {
            self.act(at, Action::Crash { replica: primary });
            at = self.later(at, 100);
            self.act(at, Action::Start { replica: primary });
            at = self.later(at, 200);
        }
    }

    fn wipe(&mut self, replica: ReplicaId) {
        let at = self.time();
        self.act(at, Action::Wipe { replica });
    }

    /// A disk is damaged; perhaps it is replaced later.
    fn damage(&mut self, replica: ReplicaId) {
        let at = self.time();
        self.act(at, Action::Damage { replica });
        self.start_later(replica, at);
        if self.random.random_bool(0.5) {
            let replaced = self.later(at, 1000);
            self.act(replaced, Action::Wipe { replica });
        }
    }

    fn roll_back(&mut self, replica: ReplicaId) {
        let at = self.time();
        self.act(at, Action::Save { replica });
        let back = self.later(at, 1500);
        self.act(back, Action::RollBack { replica });
    }
}
