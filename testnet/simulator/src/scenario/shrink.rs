//! Looking for a smaller scenario that breaks the same invariant: one change after the other is tried, and kept if
//! the invariant still breaks, until none helps.

use std::ops::ControlFlow;

use pbft_messages::{Quorum, ReplicaId};

use super::{Action, Conditions, Scenario, Time, usual_service_latency};
use crate::{Invariant, Violation};

impl Scenario {
    /// A scenario that breaks the invariant as this one does, and from which nothing more can be taken by itself:
    /// the same one every time. `tried` is told of each try: how many there were, and the smallest scenario so far.
    /// It can end the search there.
    #[must_use]
    pub fn shrink(&self, invariant: Invariant, tried: impl FnMut(u64, &Self) -> ControlFlow<()>) -> Self {
        let mut shrinker = Shrinker { smallest: self.clone(), invariant, tries: 0, ended: false, tried };
        while shrinker.round() {}
        shrinker.smallest
    }

    /// Whether it breaks an invariant, and none that weighs more.
    fn breaks(&self, invariant: Invariant) -> bool {
        Violation::weightiest(&self.play(false).violations).is_some_and(|it| it.invariant == invariant)
    }
}

struct Shrinker<F> {
    smallest: Scenario,
    invariant: Invariant,
    tries: u64,
    ended: bool,
    tried: F,
}

impl<F: FnMut(u64, &Scenario) -> ControlFlow<()>> Shrinker<F> {
    /// Tries everything once; says whether anything helped.
    fn round(&mut self) -> bool {
        let before = self.smallest.clone();
        self.drop_acts();
        for change in CHANGES {
            self.attempt(change);
        }
        for index in 0..self.smallest.acts.len() {
            for change in ACT_CHANGES {
                self.attempt(|scenario| change(&mut scenario.acts[index].action));
            }
        }
        !self.ended && self.smallest != before
    }

    /// Keeps a change if the invariant still breaks.
    fn attempt(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut candidate = self.smallest.clone();
        change(&mut candidate);
        if self.ended || candidate == self.smallest || candidate.check().is_err() {
            return false;
        }
        let helps = candidate.breaks(self.invariant);
        if helps {
            self.smallest = candidate;
        }
        self.tries += 1;
        self.ended = (self.tried)(self.tries, &self.smallest).is_break();
        helps
    }

    /// Drops acts, many at a time at first (Zeller's ddmin).
    fn drop_acts(&mut self) {
        let mut length = self.smallest.acts.len();
        while length > 0 {
            let mut from = 0;
            while from < self.smallest.acts.len() {
                let to = (from + length).min(self.smallest.acts.len());
                if !self.attempt(|scenario| drop(scenario.acts.drain(from..to))) {
                    from = to;
                }
            }
            length /= 2;
        }
    }
}

/// What is tried on the whole. Each makes it smaller, or does nothing.
const CHANGES: [fn(&mut Scenario); 21] = [
    fewer_replicas,
    |scenario| {
        scenario.clients = 1;
        scenario.steady = scenario.steady.map(|_| 0);
        scenario.acts.retain(|act| !matches!(act.action, Action::Attack { .. }));
        for act in &mut scenario.acts {
            if let Action::Load { client, .. } | Action::Read { client, .. } = &mut act.action {
                *client = 0;
            }
        }
    },
    |scenario| scenario.network = Conditions::calm(),
    |scenario| scenario.twins = scenario.twins.iter().skip(1).copied().collect(),
    |scenario| scenario.twins = scenario.twins.first().copied().into_iter().collect(),
    |scenario| scenario.keys = None,
    |scenario| scenario.alarm = false,
    |scenario| scenario.steady = None,
    |scenario| scenario.answered_within = None,
    |scenario| scenario.views_within = None,
    |scenario| scenario.keeps_view = false,
    |scenario| scenario.service_latency = usual_service_latency(),
    |scenario| scenario.together = 1,
    |scenario| scenario.network.loss = 0.0,
    |scenario| scenario.network.duplication = 0.0,
    |scenario| scenario.network.tail = 0.0,
    |scenario| scenario.network.replay = 0.0,
    |scenario| scenario.network.jitter = Time::default(),
    |scenario| scenario.network.loss /= 2.0,
    // Sooner: by half, and to times that are easy to read.
    |scenario| scenario.acts.iter_mut().for_each(|act| act.at = Time(act.at.0 / 2)),
    |scenario| {
        for act in &mut scenario.acts {
            let ms = act.at.0.as_millis() as u64;
            act.at = Time::ms(if ms > 100 { ms / 100 * 100 } else { ms / 10 * 10 });
        }
    },
];

/// What is tried on each act.
const ACT_CHANGES: [fn(&mut Action); 4] = [
    |action| {
        if let Action::Load { requests, .. } = action {
            *requests = (*requests).min(1);
        }
    },
    |action| {
        if let Action::Load { requests, .. } = action {
            *requests = (*requests / 2).max(1);
        }
    },
    |action| {
        if let Action::Load { depth, .. } = action {
            *depth = 1;
        }
    },
    |action| {
        if let Action::Read { times, .. } = action {
            *times = 1;
        }
    },
];

/// Four replicas, without the acts that need the others.
fn fewer_replicas(scenario: &mut Scenario) {
    let gone = |replica: &ReplicaId| replica.0 >= 4;
    scenario.n = 4;
    scenario.acts.retain(|act| !act.action.replicas().iter().any(gone));
    scenario.twins.retain(|replica| !gone(replica));
    let faulty = scenario.faulty();
    let correct = (0..4).map(ReplicaId).filter(|it| !faulty.contains(it));
    scenario.core = correct.take(Quorum::of(4).get()).collect();
}
