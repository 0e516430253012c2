use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use pbft_transport::SocketLayer;

use crate::{DataFolder, Identity};

/// What a replica runs on and with.
#[derive(Debug)]
pub struct Options {
    /// Which replica of which cluster, and its key.
    pub identity: Identity,
    /// Its data folder, made by [`crate::init`].
    pub data: DataFolder,
    /// Where to listen for replicas, if not at the address in `cluster.toml`: behind a translated address, say.
    pub listen_peers: Option<SocketAddr>,
    /// The same for clients.
    pub listen_clients: Option<SocketAddr>,
    /// Whether votes are on disk before they are sent.
    pub durability: Durability,
    /// What stands between the socket for replicas and QUIC; nothing, except in a testnet.
    pub peer_layer: Option<Arc<dyn SocketLayer>>,
}

impl Options {
    /// The options of a replica that listens where `cluster.toml` says, and stores what it votes for.
    #[must_use]
    pub fn new(identity: Identity, data: DataFolder) -> Self {
        Self {
            identity,
            data,
            listen_peers: None,
            listen_clients: None,
            durability: Durability::Sync,
            peer_layer: None,
        }
    }
}

/// What "durable" means to a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Written and synced to disk (fsync) before anything that depends on it leaves.
    #[default]
    Sync,
    /// Not at all: votes are kept in memory and lost with the process. A replica that stopped comes back by
    /// [`crate::recover`] only (D8). It is for measurements, which name it.
    Memory,
}

impl fmt::Display for Durability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sync => "sync",
            Self::Memory => "memory",
        })
    }
}

/// A word that is no durability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no durability: it is `sync` (on disk before anything leaves) or `memory` (lost with the process)"
)]
pub struct NoDurability(String);

impl FromStr for Durability {
    type Err = NoDurability;

    fn from_str(text: &str) -> Result<Self, NoDurability> {
        match text {
            "sync" => Ok(Self::Sync),
            "memory" => Ok(Self::Memory),
            other => Err(NoDurability(other.to_owned())),
        }
    }
}
