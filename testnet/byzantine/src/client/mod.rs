//! Malicious clients: clients that the cluster admits, and that send what no client library would.
//!
//! A [`ClientStrategy`] is asked from time to time what to send, and hears what the replicas answer. It is as pure as
//! a replica's strategy: no clock and no randomness of its own.

mod craft_signatures;
mod flood_requests;
mod oversize_requests;
mod pen;
mod registry;
mod renumber;
mod split_requests;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pbft_crypto::Signer;
use pbft_messages::{ClientId, ClientMessage, Configuration, ReplicaId, ReplicaMessage};

pub use registry::{CLIENT_STRATEGIES, client_described, client_strategy};

/// A way for a client to misbehave.
pub trait ClientStrategy: Send {
    /// The name under which [`client_strategy`] makes it.
    fn name(&self) -> &'static str;

    /// A replica has answered, on whatever connection.
    fn hear(&mut self, from: ReplicaId, message: &ReplicaMessage);

    /// Pushes what is to be sent now. Called about every 10 ms.
    ///
    /// `now` only grows, also from one run of the client to the next: sessions are named after it, and a session must
    /// be above every one that its client opened before (N1). Where time is real it is the time since the Unix epoch.
    fn act(&mut self, now: Duration, out: &mut Vec<ClientShot>);
}

/// A message to one replica.
///
/// The connection that it takes is that of the client and session that a submission claims, if this client has the
/// key; else, and for reads, one of [`ClientIdentity::client`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientShot {
    /// To whom.
    pub to: ReplicaId,
    /// What.
    pub message: ClientMessage,
}

/// Whom a malicious client speaks for.
#[derive(Clone)]
pub struct ClientIdentity {
    /// The identity that it uses where one will do.
    pub client: ClientId,
    /// The keys of all admitted identities that it has, that of [`Self::client`] among them.
    pub signers: Vec<Arc<dyn Signer>>,
    /// The cluster.
    pub configuration: Arc<Configuration>,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ClientIdentity({:?} with {} keys)", self.client, self.signers.len())
    }
}
