//! How a replica falls short of helping.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a replica that answers and behaves is no help to service yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lag {
    /// It fetches the state of a checkpoint from others.
    Fetching {
        /// The checkpoint's sequence.
        to: u64,
        /// How many chunks of its state are there.
        held: u64,
        /// How many there will be, once that is known.
        chunks: Option<u64>,
    },
    /// It has lost its votes, and votes nothing before a checkpoint is stable (D8).
    Recovering {
        /// The checkpoint's sequence, once it is known.
        to: Option<u64>,
    },
    /// It has not executed what a stable checkpoint covers, by a checkpoint interval or more.
    Behind {
        /// The checkpoint's sequence.
        to: u64,
    },
}

impl Lag {
    pub(super) fn of(status: &pbft_node::Status) -> Option<Self> {
        let fetching = status.transferring.map(|it| Self::Fetching {
            to: it.sequence.0,
            held: it.held,
            chunks: it.chunks,
        });
        let recovering =
            || status.recovering.map(|to| Self::Recovering { to: Some(to.0).filter(|to| *to > 0) });
        fetching.or_else(recovering)
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetching { to, held, chunks: Some(chunks) } => {
                write!(formatter, "fetching the state at {to}: {held} of {chunks} chunks")
            }
            Self::Fetching { to, chunks: None, .. } => write!(formatter, "fetching the state at {to}"),
            Self::Recovering { to: Some(to) } => write!(formatter, "recovering, votes again from {to} on"),
            Self::Recovering { to: None } => {
                formatter.write_str("recovering, asks the others where they are")
            }
            Self::Behind { to } => write!(formatter, "catching up to {to}"),
        }
    }
}
