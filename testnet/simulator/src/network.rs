//! The network: how long a message takes, and whether it arrives at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::InstanceId;

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
    /// The share of messages that take up to a hundred times the jitter, 0 to 1.
    pub tail: f64,
    /// With how many of the messages between replicas an old one is heard again, of whatever link and view, 0 to 1.
    pub replay: f64,
}

impl Faults {
    /// One millisecond each way, and nothing lost.
    #[must_use]
    pub fn none() -> Self {
        Self {
            latency: Duration::from_millis(1),
            jitter: Duration::ZERO,
            loss: 0.0,
            duplication: 0.0,
            tail: 0.0,
            replay: 0.0,
        }
    }

    /// A bad network: much jitter, a tenth lost, a tenth twice.
    #[must_use]
    pub fn bad() -> Self {
        Self { jitter: Duration::from_millis(30), loss: 0.1, duplication: 0.1, ..Self::none() }
    }
}

/// How much longer than the jitter the longest delays are.
const TAIL: u32 = 100;

/// The links between replicas.
pub(crate) struct Network {
    pub(crate) faults: Faults,
    cut: BTreeSet<(InstanceId, InstanceId)>,
    /// Who has no link to a client.
    apart: BTreeSet<InstanceId>,
    /// Until when a link holds back what is sent over it.
    clogged: BTreeMap<(InstanceId, InstanceId), Duration>,
}

impl Network {
    pub(crate) fn new(faults: Faults) -> Self {
        Self { faults, cut: BTreeSet::new(), apart: BTreeSet::new(), clogged: BTreeMap::new() }
    }

    /// Cuts the link from one replica to another, in this direction.
    pub(crate) fn cut(&mut self, from: InstanceId, to: InstanceId) {
        self.cut.insert((from, to));
    }

    /// Takes an instance's links to clients away.
    pub(crate) fn turn_clients_away(&mut self, instance: InstanceId) {
        self.apart.insert(instance);
    }

    /// Whether clients reach an instance, and it them.
    pub(crate) fn serves_clients(&self, instance: InstanceId) -> bool {
        !self.apart.contains(&instance)
    }

    /// Clogs the link from one replica to another, in this direction, until some time.
    pub(crate) fn clog(&mut self, from: InstanceId, to: InstanceId, until: Duration) {
        self.clogged.insert((from, to), until);
    }

    /// How long what is sent now waits for the link.
    pub(crate) fn held_back(&self, from: InstanceId, to: InstanceId, now: Duration) -> Duration {
        self.clogged.get(&(from, to)).map_or(Duration::ZERO, |until| until.saturating_sub(now))
    }

    /// Mends every link. What a clogged one holds comes when it was to come.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.apart.clear();
        self.clogged.clear();
    }

    pub(crate) fn is_cut(&self, from: InstanceId, to: InstanceId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// After which delays a message arrives: not at all, once, or twice.
    pub(crate) fn arrivals(&self, random: &mut ChaCha8Rng) -> [Option<Duration>; 2] {
        let faults = &self.faults;
        if random.random_bool(faults.loss) {
            return [None, None];
        }
        let twice = random.random_bool(faults.duplication);
        let mut delay = || {
            let jitter = faults.jitter.mul_f64(random.random::<f64>());
            let stretch = if faults.tail > 0.0 && random.random_bool(faults.tail) { TAIL } else { 1 };
            faults.latency + jitter * stretch
        };
        [Some(delay()), twice.then(delay)]
    }
}
