//! Bad links, disks, processors and clocks.

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_messages::ReplicaId;
use rand::RngExt as _;

use super::{Draw, Kind};
use crate::scenario::{Action, Time};

impl Draw<'_> {
    /// What happens to the network, the disks' speed, the processors and the clocks.
    pub(super) fn disturbances(&mut self) {
        self.bad_links();
        self.apart_from_clients();
        // Twins that see the same are of little use.
        if self.is_on(Kind::Partition) || !self.twins.is_empty() {
            for _ in 0..self.random.random_range(1..4) {
                let at = self.time();
                let groups = self.groups();
                self.act(at, Action::Partition { groups });
                let end = self.later(at, 1000);
                self.act(end, Action::Heal);
            }
        }
        if self.is_on(Kind::Weather) {
            let (at, conditions) = (self.time(), self.conditions());
            self.act(at, Action::Network(conditions));
        }
        if self.is_on(Kind::SlowDisk) {
            let (at, latency) = (self.time(), Time::ms(self.random.random_range(5..120)));
            self.act(at, Action::SlowDisk { latency });
        }
        if self.is_on(Kind::Starve) {
            let (replica, at) = (self.replica(), self.time());
            let each = Time(Duration::from_micros(self.random.random_range(100..10_000)));
            self.act(at, Action::Starve { replica, each });
            let end = self.later(at, 1000);
            self.act(end, Action::Starve { replica, each: Time::default() });
        }
        if self.is_on(Kind::Drift) {
            for _ in 0..self.random.random_range(1..3) {
                let (replica, at) = (self.replica(), self.time());
                let ppm = self.one_of(&[0, 200, -200, 100_000, -100_000, 300_000, -300_000]);
                self.act(at, Action::Drift { replica, ppm });
            }
        }
        if self.is_on(Kind::Clock) {
            for _ in 0..self.random.random_range(1..3) {
                let (replica, at) = (self.replica(), self.time());
                let ahead_ms = self.one_of(&[0, 0, 1000, -1000, 3_600_000, -3_600_000]);
                let drift_ppm = self.one_of(&[0, 10_000, -10_000, -1_000_000]);
                self.act(at, Action::Clock { replica, ahead_ms, drift_ppm });
            }
        }
    }

    /// Links that carry nothing in one direction, or all but those of a ring; and links that hold back.
    fn bad_links(&mut self) {
        if self.is_on(Kind::Cut) {
            for _ in 0..self.random.random_range(1..3) {
                let at = self.time();
                if self.random.random_bool(0.3) {
                    self.ring(at);
                } else {
                    let links = self.links().into_iter().filter(|_| self.random.random_bool(0.2)).collect();
                    self.act(at, Action::Cut { links });
                }
                let end = self.later(at, 1000);
                self.act(end, Action::Heal);
            }
        }
        if self.is_on(Kind::Clog) {
            for _ in 0..self.random.random_range(1..6) {
                let (from, to, at) = (self.replica(), self.replica(), self.time());
                let duration = Time::ms(self.random.random_range(20..1500));
                self.act(at, Action::Clog { from, to, duration });
            }
        }
    }

    /// Replicas that clients do not reach.
    fn apart_from_clients(&mut self) {
        if self.is_on(Kind::TurnAway) {
            for _ in 0..self.random.random_range(1..3) {
                let (replica, at) = (self.replica(), self.time());
                self.act(at, Action::TurnAway { replica });
                let end = self.later(at, 1000);
                self.act(end, Action::Heal);
            }
        }
    }

    /// Lets each replica reach its two neighbours alone.
    fn ring(&mut self, at: Time) {
        let n = self.n;
        let is_cut = |(from, to): &(ReplicaId, ReplicaId)| ![1, n - 1].contains(&((from.0 + n - to.0) % n));
        let links = self.links().into_iter().filter(is_cut).collect();
        self.act(at, Action::Cut { links });
    }

    /// Cuts every link of one replica.
    pub(in crate::scenario) fn cut_off(&mut self, replica: ReplicaId, at: Time) {
        let is_its = |(from, to): &(ReplicaId, ReplicaId)| replica == *from || replica == *to;
        let links = self.links().into_iter().filter(is_its).collect();
        self.act(at, Action::Cut { links });
    }

    /// Every link.
    fn links(&self) -> Vec<(ReplicaId, ReplicaId)> {
        let replicas = || (0..self.n).map(ReplicaId);
        let links = replicas().flat_map(|from| replicas().map(move |to| (from, to)));
        links.filter(|(from, to)| from != to).collect()
    }

    /// Two or three groups, or one replica apart.
    fn groups(&mut self) -> Vec<BTreeSet<ReplicaId>> {
        let count = self.random.random_range(2..=3);
        // One group alone would part nobody.
        loop {
            let mut groups = vec![BTreeSet::new(); count];
            for replica in (0..self.n).map(ReplicaId) {
                groups[self.random.random_range(0..count)].insert(replica);
            }
            groups.retain(|group| !group.is_empty());
            if groups.len() > 1 {
                return groups;
            }
        }
    }
}
