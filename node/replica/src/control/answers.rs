use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use pbft_crypto::Malformed;
use pbft_messages::{Accusation, Evidence, ReplicaId, codec};

/// The answer to `ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Always true: an answer is the sign.
    pub ready: bool,
    /// Which replica.
    pub replica: ReplicaId,
    /// Where it listens for replicas.
    pub peer_address: SocketAddr,
    /// Where it listens for clients.
    pub client_address: SocketAddr,
    /// Its process.
    pub process: u32,
}

/// A piece of evidence, to be checked by whoever gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceEntry {
    /// What the evidence says, by the word of the replica that was asked.
    #[serde(flatten)]
    pub accusation: Accusation,
    /// The evidence, encoded, in hexadecimal digits.
    pub encoded: String,
}

impl EvidenceEntry {
    /// The entry of a piece of evidence; `None` if it cannot be read, which evidence that was checked can.
    #[must_use]
    pub fn new(evidence: &Evidence) -> Option<Self> {
        let accusation = evidence.accusation().ok()?;
        Some(Self { accusation, encoded: hex::encode(codec::encode(evidence)) })
    }

    /// The evidence itself. Believe it only after [`pbft_messages::Proven::new`].
    ///
    /// # Errors
    /// [`Malformed`] if it is not encoded evidence.
    pub fn evidence(&self) -> Result<Evidence, Malformed> {
        let bytes = hex::decode(&self.encoded).map_err(|error| Malformed(error.to_string()))?;
        codec::decode(&bytes)
    }
}
