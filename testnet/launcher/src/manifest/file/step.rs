//! One `[[step]]` of a manifest as it is written, and what it asks for.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

use pbft_messages::ReplicaId;

use crate::Malice;
use crate::attack::Attack;
use crate::malice::lasts;
use crate::manifest::{Action, Target};
use crate::network::{Partition, Shape};
use crate::rehearsal::Rehearsal;
use crate::units::Time;

/// One `[[step]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepTable {
    pub(super) at: Time,
    action: Word,
    pub(super) target: Option<Target>,
    every: Option<Time>,
    repeat: Option<usize>,
    fault: Option<String>,
    #[serde(default)]
    accomplices: BTreeSet<ReplicaId>,
    network: Option<Shape>,
    #[serde(default)]
    peers: BTreeSet<ReplicaId>,
    partition: Option<Partition>,
    attack: Option<String>,
    clients: Option<usize>,
    r#for: Option<Time>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Kill,
    Pause,
    Resume,
    Restart,
    WipeDisk,
    Start,
    Fault,
    Network,
    Partition,
    Heal,
    Attack,
}

/// How many identities a malicious client has if the manifest does not say.
const CLIENTS: usize = 2;

impl StepTable {
    /// How often, and how long from one time to the next.
    pub(super) fn repetitions(&self) -> Result<(usize, Duration), String> {
        match (self.repeat, self.every) {
            (None, None) => Ok((1, Duration::ZERO)),
            (Some(count), Some(every)) if count > 0 && !every.0.is_zero() => Ok((count, every.0)),
            _ => Err("every and repeat come together, neither of them 0: every = \"2s\", repeat = 5".into()),
        }
    }

    /// The replicas that are named.
    pub(super) fn named(&self) -> impl Iterator<Item = ReplicaId> {
        let target = match self.target {
            Some(Target::One(replica)) => Some(replica),
            _ => None,
        };
        let parted = self.partition.iter().flat_map(Partition::named);
        target
            .into_iter()
            .chain(self.accomplices.iter().copied())
            .chain(self.peers.iter().copied())
            .chain(parted)
    }

    /// What is to be done, of which all can be done in a cluster of `nodes` replicas.
    pub(super) fn action(&self, nodes: usize, rehearsal: &Rehearsal) -> Result<Action, String> {
        self.nothing_foreign()?;
        let last = self.r#for.map(|time| time.0);
        lasts(last).map_err(|error| error.to_string())?;
        Ok(match self.action {
            Word::Kill => Action::Kill,
            Word::Pause => Action::Pause,
            Word::Resume => Action::Resume,
            Word::Restart => Action::Restart,
            Word::WipeDisk => Action::WipeDisk,
            Word::Start => Action::Start,
            Word::Heal => Action::Heal,
            Word::Fault => match self.fault.as_deref() {
                Some("clear") => Action::Clear,
                Some(strategy) => {
                    rehearsal.strategy(strategy).map_err(|error| format!("{error}; clear ends it"))?;
                    let accomplices = self.accomplices.clone();
                    Action::Fault(Malice { strategy: strategy.to_owned(), accomplices, last })
                }
                None => return Err("action = \"fault\" needs fault = …, a strategy or \"clear\"".into()),
            },
            Word::Network => {
                let peers = self.peers.clone();
                let shape = self.network.filter(|shape| *shape != Shape::default());
                let why = "action = \"network\" needs network = { latency = \"50ms\", jitter = \"10ms\", loss = \"5%\", bandwidth = \"1mbit\" }, or some of it";
                if matches!(self.target, Some(Target::One(it)) if peers == BTreeSet::from([it])) {
                    return Err("a replica has no line to itself: name others as its peers".into());
                }
                Action::Network { shape: shape.ok_or(why)?, peers, last }
            }
            Word::Partition => {
                let why =
                    "action = \"partition\" needs partition = \"r0,r1 | r2,r3\", or \"r0 > r1\", or \"r3\"";
                let partition = self.partition.clone().ok_or(why)?;
                partition.check(nodes)?;
                Action::Partition { partition, last }
            }
            Word::Attack => {
                let why = "action = \"attack\" needs attack = …, a strategy of clients";
                let strategy = self.attack.clone().ok_or(why)?;
                let attack = Attack { strategy, clients: self.clients.unwrap_or(CLIENTS), last };
                attack.check().map_err(|error| error.to_string())?;
                rehearsal.attack(&attack.strategy).map_err(|error| error.to_string())?;
                Action::Attack(attack)
            }
        })
    }

    /// An error for a key that belongs to another action.
    fn nothing_foreign(&self) -> Result<(), String> {
        use Word::{Attack, Fault, Network, Partition};
        let keys: [(&str, bool, &[Word]); 8] = [
            ("fault", self.fault.is_some(), &[Fault]),
            ("accomplices", !self.accomplices.is_empty(), &[Fault]),
            ("network", self.network.is_some(), &[Network]),
            ("peers", !self.peers.is_empty(), &[Network]),
            ("partition", self.partition.is_some(), &[Partition]),
            ("attack", self.attack.is_some(), &[Attack]),
            ("clients", self.clients.is_some(), &[Attack]),
            ("for", self.r#for.is_some(), &[Fault, Network, Partition, Attack]),
        ];
        let foreign = keys.iter().find(|(_, given, of)| *given && !of.contains(&self.action));
        foreign.map_or(Ok(()), |(key, _, of)| {
            let of: Vec<_> = of.iter().map(|word| format!("{:?}", word.name())).collect();
            Err(format!("{key} = … belongs to action = {}", of.join(" or ")))
        })
    }
}

impl Word {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Restart => "restart",
            Self::WipeDisk => "wipe-disk",
            Self::Start => "start",
            Self::Fault => "fault",
            Self::Network => "network",
            Self::Partition => "partition",
            Self::Heal => "heal",
            Self::Attack => "attack",
        }
    }
}
