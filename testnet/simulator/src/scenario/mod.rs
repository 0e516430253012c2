//! Scenarios: a cluster, its clients, and what is done to both at which virtual time. [`Scenario::draw`] makes one of
//! a seed, [`Scenario::play`] plays it under the checkers' eyes, [`Scenario::shrink`] looks for a smaller one that
//! breaks the same invariant, and as TOML one can be kept, read and changed.

mod act;
mod after;
mod check;
mod draw;
mod play;
mod shrink;
mod theme;
mod time;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use pbft_messages::{Parameters, ReplicaId, faults_tolerated};

use crate::alarm::Alarm;
use crate::{Faults, Settings, Signatures, Workload};

pub use act::{Act, Action};
pub use check::InvalidScenario;
pub use draw::Swarm;
pub use play::{Outcome, Seen};
pub use time::{NoTime, Time};

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// What the cluster draws delays and losses from.
    pub seed: u64,
    /// How many replicas.
    pub n: u16,
    /// How many clients, malicious ones included.
    pub clients: u16,
    /// How many keys the clients write, read, compare and remove; where nothing is said each puts keys of its own.
    #[serde(default)]
    pub keys: Option<u16>,
    /// The most operations that a client submits together, as far as it has so many under way.
    #[serde(default = "one")]
    pub together: usize,
    /// Whether the service is no store but one that wants to be told the time every 300 ms (N6): time must not stand
    /// still though nobody asks for anything.
    #[serde(default)]
    pub alarm: bool,
    /// A client that asks all along once the faults have ended, one request at a time: nobody is starved beside it, and
    /// a primary that makes it wait is voted out (VC9).
    #[serde(default)]
    pub steady: Option<u16>,
    /// Whether more than f replicas may be faulty. Nothing is promised then.
    #[serde(default)]
    pub beyond_f: bool,
    /// Whether everybody signs with real keys, which takes a hundred times longer.
    #[serde(default)]
    pub real_signatures: bool,
    /// The longest that any request may take until the faults end, for scenarios in which nothing is in its way.
    #[serde(default)]
    pub answered_within: Option<Time>,
    /// The longest that a replica may ask for one view before it is in it or asks for another, until the faults end, for
    /// scenarios in which nothing is lost (VC7).
    #[serde(default)]
    pub views_within: Option<Time>,
    /// Whether nothing but the load may be too much until the faults end: then no correct replica asks for another view
    /// (N8).
    #[serde(default)]
    pub keeps_view: bool,
    /// Who is connected and runs once the faults have ended (I8); the others are dead then, but for faulty ones.
    pub core: BTreeSet<ReplicaId>,
    /// Replicas that run as two instances with one key, each with a disk of its own. They count in f. In a partition the
    /// second instance stands in the group after that of the first.
    #[serde(default)]
    pub twins: BTreeSet<ReplicaId>,
    /// How long a durable write takes at first.
    pub write_latency: Time,
    /// How long an execution, a snapshot or an installation takes until the faults end.
    #[serde(default = "usual_service_latency")]
    pub service_latency: Time,
    /// The protocol's parameters.
    pub parameters: Tuning,
    /// The network at first.
    pub network: Conditions,
    /// What is done, in the order of time.
    #[serde(default, rename = "act")]
    pub acts: Vec<Act>,
}

/// The protocol's parameters that matter to a scenario; see [`Parameters`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tuning {
    /// K.
    pub checkpoint_interval: u64,
    /// L.
    pub window: u64,
    /// How long the oldest request may wait.
    pub view_timeout: Time,
    /// The cap of its doubling.
    pub view_timeout_cap: Time,
    /// How often a replica tells where it stands.
    pub status_interval: Time,
    /// How many batches are in flight.
    pub pipeline: u64,
    /// How far a proposed time may be from a backup's clock (N6).
    #[serde(default = "usual_clock_bound")]
    pub clock_bound: Time,
    /// How many requests may wait at a replica.
    #[serde(default = "usual_waiting_requests")]
    pub waiting_requests: usize,
    /// How many sessions of one client are kept.
    #[serde(default = "usual_sessions")]
    pub sessions: usize,
    /// The most requests of a batch.
    #[serde(default = "usual_batch_requests")]
    pub batch_requests: usize,
    /// The most bytes of a batch: half of it is the most for one operation, and four times as much may wait.
    #[serde(default = "usual_batch_bytes")]
    pub batch_bytes: usize,
}

fn usual_clock_bound() -> Time {
    Time(Parameters::default().clock_bound)
}

fn one() -> usize {
    1
}

fn usual_service_latency() -> Time {
    Time(Settings::SERVICE_LATENCY)
}

fn usual_waiting_requests() -> usize {
    Parameters::default().waiting_requests
}

fn usual_sessions() -> usize {
    Parameters::default().sessions
}

fn usual_batch_requests() -> usize {
    Parameters::default().batch_requests
}

fn usual_batch_bytes() -> usize {
    Parameters::default().batch_bytes
}

/// How the network is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Conditions {
    /// The least time that a message takes.
    pub latency: Time,
    /// The most that is added to it.
    #[serde(default)]
    pub jitter: Time,
    /// The share of messages that are lost.
    #[serde(default)]
    pub loss: f64,
    /// The share that arrives twice.
    #[serde(default)]
    pub duplication: f64,
    /// The share that takes up to a hundred times the jitter.
    #[serde(default)]
    pub tail: f64,
    /// With which share of the messages between replicas an old one is heard again, of whatever link and view.
    #[serde(default)]
    pub replay: f64,
}

impl Conditions {
    /// A millisecond each way, and nothing lost.
    #[must_use]
    pub fn calm() -> Self {
        let jitter = Time::default();
        Self { latency: Time::ms(1), jitter, loss: 0.0, duplication: 0.0, tail: 0.0, replay: 0.0 }
    }
}

impl From<&Conditions> for Faults {
    fn from(conditions: &Conditions) -> Self {
        let Conditions { latency, jitter, loss, duplication, tail, replay } = *conditions;
        Self { latency: latency.0, jitter: jitter.0, loss, duplication, tail, replay }
    }
}

impl Scenario {
    /// Reads a scenario and checks that it can be played.
    ///
    /// # Errors
    /// [`InvalidScenario`], with the line where there is one, the key and the remedy.
    pub fn from_toml(text: &str) -> Result<Self, InvalidScenario> {
        let scenario: Self = toml::from_str(text).map_err(|error| {
            let place = error.span().unwrap_or_default().start.min(text.len());
            let line = text[..place].matches('\n').count() + 1;
            InvalidScenario(format!("line {line}: {}", error.message().replace('\n', " ")))
        })?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The scenario as TOML.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a scenario has string keys and numbers that TOML can hold")
    }

    /// The most replicas that may be faulty.
    #[must_use]
    pub fn f(&self) -> usize {
        faults_tolerated(usize::from(self.n))
    }

    /// The replicas that are faulty at some time.
    #[must_use]
    pub fn faulty(&self) -> BTreeSet<ReplicaId> {
        self.acts
            .iter()
            .filter_map(|act| act.action.makes_faulty())
            .chain(self.twins.iter().copied())
            .collect()
    }

    /// Those that lose their disk, or whose rotten one is replaced, and nothing worse happens to: they are to rejoin
    /// (D8).
    pub(crate) fn rejoining(&self) -> BTreeSet<ReplicaId> {
        let mut rejoining = BTreeSet::new();
        let mut lost = self.twins.clone();
        for act in &self.acts {
            match act.action {
                Action::Wipe { replica } => drop(rejoining.insert(replica)),
                Action::Damage { replica } => drop(rejoining.remove(&replica)),
                _ => lost.extend(act.action.makes_faulty()),
            }
        }
        &rejoining - &lost
    }

    /// The clients that never attack.
    pub(crate) fn correct_clients(&self) -> Vec<u16> {
        let attacks = self.acts.iter().filter(|act| matches!(act.action, Action::Attack { .. }));
        let attackers: BTreeSet<_> = attacks.flat_map(|act| act.action.clients()).collect();
        (0..self.clients).filter(|client| !attackers.contains(client)).collect()
    }

    /// How often each fault comes, by name.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<String, u64> {
        let mut faults = BTreeMap::new();
        let mut count = |name: &str| *faults.entry(name.to_owned()).or_default() += 1;
        for (name, on) in [
            ("loss", self.network.loss > 0.0),
            ("duplication", self.network.duplication > 0.0),
            ("reordering", self.network.jitter > Time::default()),
            ("tail", self.network.tail > 0.0),
            ("replay", self.network.replay > 0.0),
            ("twins", !self.twins.is_empty()),
        ] {
            if on {
                count(name);
            }
        }
        let named = self.acts.iter().filter_map(|act| act.action.fault());
        // Strategies that are joined count each.
        named.flat_map(|name| name.split('+')).for_each(count);
        faults
    }

    /// How the cluster is set up.
    pub(crate) fn settings(&self, trace: bool) -> Settings {
        let tuning = &self.parameters;
        let usual = Parameters::default();
        let is_usual = tuning.batch_bytes == usual.batch_bytes;
        let parameters = Parameters {
            checkpoint_interval: tuning.checkpoint_interval,
            window: tuning.window,
            view_timeout: tuning.view_timeout.0,
            view_timeout_cap: tuning.view_timeout_cap.0,
            status_interval: tuning.status_interval.0,
            pipeline: tuning.pipeline,
            clock_bound: tuning.clock_bound.0,
            waiting_requests: tuning.waiting_requests,
            sessions: tuning.sessions,
            batch_requests: tuning.batch_requests,
            batch_bytes: tuning.batch_bytes,
            operation_bytes: if is_usual { usual.operation_bytes } else { tuning.batch_bytes / 2 },
            waiting_bytes: if is_usual { usual.waiting_bytes } else { tuning.batch_bytes.saturating_mul(4) },
            ..usual
        };
        Settings {
            clients: self.clients,
            together: self.together,
            parameters,
            faults: (&self.network).into(),
            write_latency: self.write_latency.0,
            service_latency: self.service_latency.0,
            signatures: if self.real_signatures { Signatures::Real } else { Signatures::Simulated },
            workload: self.keys.map_or(Workload::Puts, |keys| Workload::Mixed { keys }),
            service: if self.alarm { Some(|| Box::new(Alarm::default())) } else { None },
            twins: self.twins.iter().copied().collect(),
            trace,
            ..Settings::new(self.n, self.seed)
        }
    }
}
