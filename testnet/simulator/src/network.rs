//! The network: how long a message takes, and whether it arrives at all.

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_messages::ReplicaId;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// The network's faults.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The least time that a message takes.
    pub latency: Duration,
    /// The most that is added to it at random, which reorders messages.
    pub jitter: Duration,
    /// The share of messages that are lost, 0 to 1.
    pub loss: f64,
    /// The share of messages that arrive twice, 0 to 1.
    pub duplication: f64,
}

impl Faults {
    /// One millisecond each way, and nothing lost.
    #[must_use]
    pub fn none() -> Self {
        Self { latency: Duration::from_millis(1), jitter: Duration::ZERO, loss: 0.0, duplication: 0.0 }
    }

    /// A bad network: much jitter, a tenth lost, a tenth twice.
    #[must_use]
    pub fn bad() -> Self {
        Self { jitter: Duration::from_millis(30), loss: 0.1, duplication: 0.1, ..Self::none() }
    }
}

/// The links between replicas.
pub(crate) struct Network {
    pub(crate) faults: Faults,
    cut: BTreeSet<(ReplicaId, ReplicaId)>,
}

impl Network {
    pub(crate) fn new(faults: Faults) -> Self {
        Self { faults, cut: BTreeSet::new() }
    }

    /// Cuts the link from one replica to another, in this direction.
    pub(crate) fn cut(&mut self, from: ReplicaId, to: ReplicaId) {
        self.cut.insert((from, to));
    }

    /// Mends every link.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn is_cut(&self, from: ReplicaId, to: ReplicaId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// After which delays a message arrives: not at all, once, or twice.
    pub(crate) fn arrivals(&self, random: &mut ChaCha8Rng) -> Vec<Duration> {
        if random.random_bool(self.faults.loss) {
            return vec![];
        }
        let copies = if random.random_bool(self.faults.duplication) { 2 } else { 1 };
        (0..copies)
            .map(|_| self.faults.latency + self.faults.jitter.mul_f64(random.random::<f64>()))
            .collect()
    }
}
