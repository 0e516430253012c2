//! The replica's socket for clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quinn::Endpoint;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use pbft_crypto::{Digest, PublicKey, SecretKey};
use pbft_messages::SessionId;

use super::connection::Session;
use super::table::Table;
use super::{ClientEvent, ClientEvents, ConnectionId};
use crate::bind::{BindError, Socket};
use crate::close::Close;
use crate::gate::Gate;
use crate::hello::Hello;
use crate::inbox::{InboxSender, inbox};
use crate::limits::ClientLimits;
use crate::quic;
use crate::tls::{Identity, Protocol};

/// What [`ClientListener::bind`] needs to know.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The replica's key.
    pub identity: Arc<SecretKey>,
    /// Where to listen. Port 0 lets the system choose; see [`ClientListener::local_addr`].
    pub listen: SocketAddr,
    /// The cluster's identity, which a client must name.
    pub cluster: Digest,
    /// The keys of the clients that are let in; all others fail the handshake.
    pub admitted: Vec<PublicKey>,
    /// The bounds.
    pub limits: ClientLimits,
}

/// The state of a listener, for metrics. Counts are since [`ClientListener::bind`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerStatistics {
    /// Connections that are open.
    pub connections: usize,
    /// Connection attempts that were refused or failed: unknown keys, bad hellos, too many connections, floods.
    pub refused: u64,
    /// Connections that were closed for a malformed or stalled frame.
    pub offences: u64,
    /// Connections that were closed because their client did not read what it was sent.
    pub overflows: u64,
}

/// A replica's socket for clients: it accepts those that are admitted, within the limits, and moves frames both ways.
///
/// Cloning gives another handle on the same listener. When the last handle is dropped the connections are closed in
/// the background; [`ClientListener::shutdown`] does the same and waits.
#[derive(Clone)]
pub struct ClientListener {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    socket: Socket,
    tasks: TaskTracker,
    ended: CancellationToken,
    _end_on_drop: DropGuard,
}

/// What the connections have in common.
pub(super) struct Shared {
    pub(super) identity: Arc<SecretKey>,
    /// What a client's hello is expected to say, except for its session.
    pub(super) hello: Hello,
    pub(super) frame_bytes: usize,
    reply_bytes: usize,
    pub(super) table: Table,
    pub(super) gate: Gate,
    pub(super) offences: AtomicU64,
    overflows: AtomicU64,
}

impl ClientListener {
    /// Opens the socket and starts to accept. Must be called within a tokio runtime.
    ///
    /// The events are to be read all the time: when their queue is full, no client is read.
    ///
    /// # Errors
    /// [`BindError`] if the socket cannot be opened.
    pub fn bind(settings: ClientSettings) -> Result<(Self, ClientEvents), BindError> {
        let ClientSettings { identity, listen, cluster, admitted, limits } = settings;
        let tls = Identity::new(&identity)?.listen(Protocol::Client, admitted)?;
        let server = quic::server(Protocol::Client, tls, limits.segmentation_offload);
        let (socket, endpoint) =
            Socket::open(listen, quic::endpoint(&identity, Protocol::Client), Some(server), None)?;
        let shared = Arc::new(Shared {
            identity,
            hello: Hello { protocol: Protocol::Client, cluster, session: SessionId(0) },
            frame_bytes: limits.frame_bytes,
            reply_bytes: limits.reply_bytes,
            table: Table::new(limits),
            gate: Gate::new(limits.handshakes, limits.handshakes_unproven),
            offences: AtomicU64::new(0),
            overflows: AtomicU64::new(0),
        });
        let (sender, receiver) = inbox(limits.incoming);
        let (tasks, ended) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(accept(shared.clone(), limits, endpoint, sender, tasks.clone(), ended.clone()));
        let _end_on_drop = ended.clone().drop_guard();
        let inner = Inner { shared, socket, tasks, ended, _end_on_drop };
        Ok((Self { inner: Arc::new(inner) }, ClientEvents(receiver)))
    }

    /// Sends a frame on a connection. Never waits.
    ///
    /// If the connection's queue is full its client does not read, and the connection is closed. A frame to a
    /// connection that is gone, or above the limit, is dropped.
    pub fn send(&self, connection: ConnectionId, frame: Bytes) {
        let shared = &self.inner.shared;
        let Some(entry) = shared.table.get(connection) else { return };
        if frame.len() > shared.reply_bytes {
            tracing::error!(
                length = frame.len(),
                limit = shared.reply_bytes,
                "a frame above the limit was not sent"
            );
        } else if entry.outbox.put(frame).is_err() && shared.table.remove(connection).is_some() {
            shared.overflows.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%connection, client = %entry.client, "closing: the client does not read");
            Close::Overflow.apply(&entry.connection);
        }
    }

    /// Closes a connection. Its [`ClientEvent::Disconnected`] follows.
    pub fn close(&self, connection: ConnectionId) {
        if let Some(entry) = self.inner.shared.table.remove(connection) {
            Close::Requested.apply(&entry.connection);
        }
    }

    /// The listener's state.
    #[must_use]
    pub fn statistics(&self) -> ListenerStatistics {
        let shared = &self.inner.shared;
        ListenerStatistics {
            connections: shared.table.len(),
            refused: shared.gate.refused(),
            offences: shared.offences.load(Ordering::Relaxed),
            overflows: shared.overflows.load(Ordering::Relaxed),
        }
    }

    /// The address that the socket is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.socket.address()
    }

    /// Closes all connections, so that the clients know at once, ends all tasks and frees the port. The events end
    /// when they are drained.
    pub async fn shutdown(&self) {
        self.inner.ended.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.socket.close().await;
    }
}

async fn accept(
    shared: Arc<Shared>,
    limits: ClientLimits,
    endpoint: Endpoint,
    events: InboxSender<ClientEvent>,
    tasks: TaskTracker,
    ended: CancellationToken,
) {
    let most_tasks = limits.connections.saturating_mul(2).saturating_add(limits.handshakes);
    while let Some(Some(incoming)) = ended.run_until_cancelled(endpoint.accept()).await {
        // A full table refuses before any work is done; the limit itself is kept when the hello has come. A task
        // outlives its place in the table until its last event is taken, so tasks have a bound of their own.
        if shared.table.is_full() || tasks.len() > most_tasks {
            shared.gate.refuse(incoming);
            continue;
        }
        let Some((incoming, permit)) = shared.gate.admit(incoming) else { continue };
        let session = Session { shared: shared.clone(), events: events.clone(), ended: ended.clone() };
        tasks.spawn(session.run(incoming, permit));
    }
}
