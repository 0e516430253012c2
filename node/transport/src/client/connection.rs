//! One client's connection at the replica, from the attempt to its end: one task.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quinn::{Connection, Incoming, RecvStream, SendStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use pbft_messages::ClientId;

use super::ClientEvent;
use super::listener::Shared;
use super::table::Entry;
use crate::close::{Close, CloseOnDrop, Refusal};
use crate::frame::{FrameError, FrameReader, send_all};
use crate::hello::Hello;
use crate::inbox::InboxSender;
use crate::quic::HELLO_TIMEOUT;
use crate::tls;

/// What a connection's task works with.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) events: InboxSender<ClientEvent>,
    pub(super) ended: CancellationToken,
}

/// A connection's place in the table, which it loses when this is dropped.
struct Listed {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.table.remove(self.entry.id);
    }
}

/// A client that was welcomed.
struct Welcomed {
    listed: Listed,
    send: SendStream,
    receive: RecvStream,
}

impl Session {
    /// Runs an attempt to its end. The permit is of the handshakes under way.
    pub(super) async fn run(self, incoming: Incoming, permit: OwnedSemaphorePermit) {
        let address = incoming.remote_address();
        let shaken = timeout(HELLO_TIMEOUT, self.shake_hands(incoming));
        let shaken = self.ended.run_until_cancelled(shaken).await;
        drop(permit);
        let Some(Ok(Some(Welcomed { listed, send, receive }))) = shaken else {
            self.shared.gate.count_refused();
            tracing::debug!(%address, "a client's connection attempt failed");
            return;
        };
        let _ = self.ended.run_until_cancelled(self.serve(&listed.entry, send, receive)).await;
    }

    /// Takes an attempt through TLS and hello; `None` if it failed.
    async fn shake_hands(&self, incoming: Incoming) -> Option<Welcomed> {
        let address = incoming.remote_address();
        let connection = match incoming.accept() {
            Ok(connecting) => connecting.await,
            Err(error) => Err(error),
        };
        let connection = connection
            .inspect_err(|error| tracing::debug!(%address, %error, "a client's handshake failed"))
            .ok()?;
        self.welcome(&connection)
            .await
            .inspect_err(|refusal| {
                tracing::debug!(%address, ?refusal, "refused a client's connection");
                Close::Refused(*refusal).apply(&connection);
            })
            .ok()
    }

    async fn welcome(&self, connection: &Connection) -> Result<Welcomed, Refusal> {
        let key = tls::proven_key(connection).ok_or(Refusal::UnknownKey)?;
        let Shared { hello, identity, table, .. } = &*self.shared;
        let (said, mut send, receive) = Hello::read(connection, &key, hello.protocol, &hello.cluster).await?;
        let (entry, replaced) = table
            .insert(ClientId::from(key), said.session, connection.clone())
            .map_err(|_| Refusal::TooManyConnections)?;
        let listed = Listed { shared: self.shared.clone(), entry };
        if let Some(replaced) = replaced {
            Close::Replaced.apply(&replaced.connection);
        }
        said.accept(connection, identity, &mut send).await?;
        // There is no second stream.
        connection.set_max_concurrent_bi_streams(quinn::VarInt::from_u32(0));
        Ok(Welcomed { listed, send, receive })
    }

    /// Moves frames both ways until the connection ends, and tells the replica of its begin and end.
    async fn serve(&self, entry: &Entry, mut send: SendStream, receive: RecvStream) {
        let Entry { id: connection, client, session, .. } = *entry;
        // The end by cancellation; all others have a reason of their own.
        let close = CloseOnDrop { connection: &entry.connection, reason: Close::Shutdown };
        if self.events.put_empty(ClientEvent::Connected { connection, client, session }).await.is_err() {
            return;
        }
        // Each of the three ends when the connection does, and the connection ends with the first of them.
        tokio::select! {
            received = self.receive(entry, receive) => {
                if let Err(error) = received {
                    let offence = error.is_offence();
                    tracing::debug!(%connection, %client, %error, offence, "a client's stream ended");
                    if offence {
                        self.shared.offences.fetch_add(1, Ordering::Relaxed);
                        Close::Offence.apply(&entry.connection);
                    }
                }
            }
            sent = send_all(&mut send, &entry.outbox) => {
                tracing::debug!(%connection, %client, ?sent, "a client's stream ended");
            }
            reason = entry.connection.closed() => {
                tracing::debug!(%connection, %client, %reason, "a client disconnected");
            }
        }
        Close::Requested.apply(&entry.connection);
        drop(close);
        // The place is free before the replica hears of it, so that it never sends where nobody takes.
        self.shared.table.remove(connection);
        let _ = self.events.put_empty(ClientEvent::Disconnected { connection, client, session }).await;
    }

    async fn receive(&self, entry: &Entry, stream: RecvStream) -> Result<(), FrameError> {
        let Entry { id: connection, client, session, .. } = *entry;
        let mut reader = FrameReader::new(stream, self.shared.frame_bytes);
        loop {
            let length = reader.length().await?;
            // What all clients share is taken for a complete frame only: one that stalls holds up its own client.
            let partial = entry.partial.reserve(length).await;
            let frame = reader.body(length).await?;
            let room = self.events.reserve(length).await;
            drop(partial);
            let event = ClientEvent::Frame { connection, client, session, frame };
            if self.events.put(event, room).await.is_err() {
                return Ok(());
            }
        }
    }
}
