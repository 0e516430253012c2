//! Connections that peers make.

use std::sync::Arc;
use std::time::Instant;

use quinn::{Connection, Endpoint, Incoming};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use pbft_crypto::{PublicKey, SecretKey};

use super::state::Peer;
use crate::close::{Close, Refusal};
use crate::gate::Gate;
use crate::hello::Hello;
use crate::quic::HELLO_TIMEOUT;
use crate::tls;

/// Takes connection attempts, and hands those of peers with lower ids to their supervisors.
pub(super) struct Acceptor {
    pub(super) identity: Arc<SecretKey>,
    /// What a peer's hello is expected to say.
    pub(super) hello: Hello,
    pub(super) dialers: Vec<(PublicKey, Arc<Peer>, mpsc::Sender<Connection>)>,
    pub(super) gate: Arc<Gate>,
}

impl Acceptor {
    /// Accepts until the end.
    pub(super) async fn run(self, endpoint: Endpoint, tasks: TaskTracker, ended: CancellationToken) {
        let acceptor = Arc::new(self);
        while let Some(Some(incoming)) = ended.run_until_cancelled(endpoint.accept()).await {
            let Some((incoming, permit)) = acceptor.gate.admit(incoming) else { continue };
            let (acceptor, ended) = (acceptor.clone(), ended.clone());
            tasks.spawn(async move {
                let address = incoming.remote_address();
                // The whole of it, TLS and hello, has the time that each part has for a dialing side.
                let shaken = timeout(HELLO_TIMEOUT, acceptor.shake_hands(incoming));
                if !matches!(ended.run_until_cancelled(shaken).await, Some(Ok(Some(())))) {
                    acceptor.gate.count_refused();
                    tracing::debug!(%address, "a connection attempt failed");
                }
                drop(permit);
            });
        }
    }

    /// Takes one attempt through TLS and hello; `None` if it failed.
    async fn shake_hands(&self, incoming: Incoming) -> Option<()> {
        let address = incoming.remote_address();
        let connection = match incoming.accept() {
            Ok(connecting) => connecting.await,
            Err(error) => Err(error),
        };
        let connection = connection
            .inspect_err(|error| tracing::debug!(%address, %error, "a peer's handshake failed"))
            .ok()?;
        match self.welcome(&connection).await {
            // The supervisor takes it at once, unless the caller does not read events.
            Ok(supervisor) => supervisor.send(connection).await.ok(),
            Err(refusal) => {
                tracing::debug!(%address, ?refusal, "refused a peer's connection");
                Close::Refused(refusal).apply(&connection);
                None
            }
        }
    }

    async fn welcome(&self, connection: &Connection) -> Result<&mpsc::Sender<Connection>, Refusal> {
        let key = tls::proven_key(connection).ok_or(Refusal::UnknownKey)?;
        let dialer = self.dialers.iter().find(|(dialer, _, _)| *dialer == key);
        let (hello, mut send, _) =
            Hello::read(connection, &key, self.hello.protocol, &self.hello.cluster).await?;
        // TLS lets in all peers; those with higher ids are dialed and have no reason to dial.
        let (_, peer, supervisor) = dialer.ok_or(Refusal::BadHello)?;
        if peer.budget.cooling(Instant::now()).is_some() {
            return Err(Refusal::CoolingOff);
        }
        hello.accept(connection, &self.identity, &mut send).await?;
        // There is no second hello.
        connection.set_max_concurrent_bi_streams(quinn::VarInt::from_u32(0));
        Ok(supervisor)
    }
}
