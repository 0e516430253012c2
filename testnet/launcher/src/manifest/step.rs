//! What can be done to a cluster.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use pbft_messages::ReplicaId;

/// One thing that is done once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, since the load began.
    pub at: Duration,
    /// What.
    pub action: Action,
    /// To whom.
    pub target: Target,
}

/// What is done to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Makes it follow the strategy; honest if there is none.
    Fault(Option<String>),
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
    /// comes back with its votes.
    #[must_use]
    pub fn makes_faulty(&self) -> bool {
        matches!(self, Self::WipeDisk | Self::Fault(Some(_)))
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
            Self::Fault(Some(strategy)) => write!(formatter, "fault {strategy}"),
            Self::Fault(None) => formatter.write_str("fault cleared"),
        }
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
