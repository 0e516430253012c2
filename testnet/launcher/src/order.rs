//! What a testnet says to one of its replicas about faults, and what the replica says of them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use pbft_messages::ReplicaId;

use crate::network::{LinkFault, Shape};
use crate::units::Time;

/// What is under `order` in a `fault` command of a replica's control socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Order {
    /// Follow a strategy.
    Follow {
        /// Which, with its parameters.
        strategy: String,
        /// Who colludes.
        #[serde(default)]
        accomplices: BTreeSet<ReplicaId>,
        /// For how long; until told otherwise if there is nothing here.
        #[serde(default)]
        last: Option<Time>,
    },
    /// Have bad lines to these replicas.
    Spoil { peers: BTreeSet<ReplicaId>, shape: Shape, last: Option<Time> },
    /// Send nothing to these replicas, and hear nothing from those.
    Cut { to: BTreeSet<ReplicaId>, from: BTreeSet<ReplicaId>, last: Option<Time> },
    /// Behave, and have good lines; a partition stays.
    Clear,
    /// Have nothing wrong with the network.
    Heal,
}

/// What a replica was made to do and to suffer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Faults {
    /// The malicious strategy that it follows.
    pub strategy: Option<Followed>,
    /// What is wrong with its links to the others.
    pub network: Vec<LinkFault>,
}

/// A strategy that is followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    /// Its text, with parameters.
    pub text: String,
    /// Whose keys it has besides its own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accomplices: BTreeSet<ReplicaId>,
    /// For how long still; `None` is until it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Time>,
}
