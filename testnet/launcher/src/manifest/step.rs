//! What can be done to a cluster.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use pbft_messages::ReplicaId;

use crate::attack::Attack;
use crate::network::{Partition, Shape};
use crate::units::Time;
use crate::{Durability, Malice};

/// One thing that is done once.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When, since the load began.
    pub at: Duration,
    /// What.
    pub action: Action,
    /// To whom.
    pub target: Target,
}

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// kill -9.
    Kill,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
    /// kill -9 if it runs, and a start from its disk.
    Restart,
    /// kill -9 if it runs, an empty disk, and a rejoining.
    WipeDisk,
    /// The start of a replica that does not run.
    Start,
    /// Makes it misbehave.
    Fault(Malice),
    /// Lets it behave again, over good lines.
    Clear,
    /// Makes its lines to these others bad, or to all others if there are none here.
    Network {
        /// What the lines do.
        shape: Shape,
        /// To whom.
        peers: BTreeSet<ReplicaId>,
        /// For how long.
        last: Option<Duration>,
    },
    /// Divides the network.
    Partition {
        /// How.
        partition: Partition,
        /// For how long.
        last: Option<Duration>,
    },
    /// Makes the network whole and good.
    Heal,
    /// Lets a malicious client loose, while the trial goes on.
    Attack(Attack),
}

/// Whom something is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This replica.
    One(ReplicaId),
    /// Whoever leads then.
    Primary,
    /// Every replica, at once.
    All,
    /// One replica after the other: r0 the first time that any step says so, then r1, and so on.
    Next,
    /// Nobody: the action is done to the cluster as a whole.
    Cluster,
}

impl Action {
    /// Whether the replica has something to catch up with afterwards.
    #[must_use]
    pub fn brings_back(&self) -> bool {
        matches!(self, Self::Resume | Self::Restart | Self::WipeDisk | Self::Start)
    }
}

impl Action {
    /// Whether it takes one of the f faults for good, or until the replica has recovered (D8): what has only crashed
    /// comes back with its votes, if those were on disk.
    #[must_use]
    pub fn makes_faulty(&self, durability: Durability) -> bool {
        let forgets = durability == Durability::Memory && matches!(self, Self::Kill | Self::Restart);
        forgets || matches!(self, Self::WipeDisk | Self::Fault(_))
    }

    /// Whether it is done to the cluster as a whole, and not to a replica.
    #[must_use]
    pub fn is_for_the_cluster(&self) -> bool {
        matches!(self, Self::Partition { .. } | Self::Heal | Self::Attack(_))
    }

    /// For how long it lasts, if it ends by itself.
    fn last(&self) -> Option<Duration> {
        match self {
            Self::Fault(Malice { last, .. })
            | Self::Network { last, .. }
            | Self::Partition { last, .. }
            | Self::Attack(Attack { last, .. }) => *last,
            _ => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => formatter.write_str("kill"),
            Self::Pause => formatter.write_str("pause"),
            Self::Resume => formatter.write_str("resume"),
            Self::Restart => formatter.write_str("restart"),
            Self::WipeDisk => formatter.write_str("wipe-disk"),
            Self::Start => formatter.write_str("start"),
            Self::Fault(malice) => write!(formatter, "fault {}", malice.strategy),
            Self::Clear => formatter.write_str("fault cleared"),
            Self::Network { shape, .. } => write!(formatter, "network {shape}"),
            Self::Partition { partition, .. } => write!(formatter, "partition {partition}"),
            Self::Heal => formatter.write_str("heal"),
            Self::Attack(attack) => write!(formatter, "attack {}", attack.strategy),
        }?;
        self.last().map_or(Ok(()), |last| write!(formatter, " for {}", Time(last)))
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match &*text {
            "primary" => Ok(Self::Primary),
            "all" => Ok(Self::All),
            "next" => Ok(Self::Next),
            _ => text.parse().map(Self::One).map_err(|_| {
                D::Error::custom(format!("target {text:?} is none of r0, r1, …, primary, all and next"))
            }),
        }
    }
}
