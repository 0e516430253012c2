//! Replicas that stop and start.

use std::collections::BTreeSet;

use pbft_messages::ReplicaId;
use rand::RngExt as _;

use super::{Draw, Kind};
use crate::scenario::{Action, Time};

impl Draw<'_> {
    /// Replicas that stop and start.
    pub(super) fn outages(&mut self) {
        if self.is_on(Kind::Crash) {
            for _ in 0..self.random.random_range(1..6) {
                let (replica, at) = (self.replica(), self.time());
                self.act(at, Action::Crash { replica });
                self.start_later(replica, at);
            }
        }
        if self.is_on(Kind::Tear) {
            for _ in 0..self.random.random_range(1..4) {
                let (replica, at) = (self.replica(), self.time());
                let survive = self.random.random_range(0..8);
                self.act(at, Action::Tear { replica, survive });
                self.start_later(replica, at);
            }
        }
        if self.is_on(Kind::FailSync) {
            for _ in 0..self.random.random_range(1..3) {
                let (replica, at) = (self.replica(), self.time());
                self.act(at, Action::FailSync { replica });
                self.start_later(replica, at);
            }
        }
        if self.is_on(Kind::CrashAll) {
            let at = self.time();
            let back = self.later(at, 300);
            for replica in (0..self.n).map(ReplicaId) {
                self.act(at, Action::Crash { replica });
                self.act(back, Action::Start { replica });
            }
        }
        if self.is_on(Kind::ShutDown) {
            let (replica, at) = (self.replica(), self.time());
            self.act(at, Action::ShutDown { replica });
            let back = self.later(at, 500);
            self.act(back, Action::Start { replica });
        }
        if self.is_on(Kind::PowerCut) {
            for _ in 0..self.random.random_range(1..4) {
                let (replica, at) = (self.replica(), self.time());
                let steps = self.random.random_range(1..60);
                let survive = self.one_of(&[0, 0, 1, 2, 100]);
                let mut victims = BTreeSet::from([replica]);
                let more = self.random.random_range(0..3);
                victims.extend((0..more).map(|_| self.replica()));
                self.act(at, Action::PowerCut { replica, steps, survive, victims });
            }
        }
    }

    pub(super) fn start_later(&mut self, replica: ReplicaId, at: Time) {
        let back = self.later(at, 800);
        self.act(back, Action::Start { replica });
    }
}
