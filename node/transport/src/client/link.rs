//! One link of a client to a replica: dialed again whenever it is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use pbft_messages::ReplicaId;

use super::endpoint::Inner;
use super::waiting::{Abandoned, Waiting};
use crate::backoff::{Backoff, PROVEN};
use crate::close::{Close, Refusal};
use crate::dial::{DialError, Target};
use crate::frame::{FrameError, FrameReader, send_all};
use crate::limits::LinkLimits;
use crate::outbox::Outbox;

/// Something that happened on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The replica took the connection: the link is up.
    Connected,
    /// A frame came in.
    Frame(Bytes),
    /// The link is down, and is being dialed again. What was on its way is lost.
    Disconnected,
    /// The replica answered, and does not want this client. Attempts go on, in case that it is told otherwise.
    Refused(Refusal),
    /// An attempt to connect failed for another reason. Attempts go on.
    Unreachable(DialError),
}

/// The sending end of a link.
#[derive(Clone, Debug)]
pub struct LinkSender {
    shared: Arc<Shared>,
    _end_on_drop: Arc<DropGuard>,
    _endpoint: Arc<Inner>,
}

#[derive(Debug)]
struct Shared {
    outbox: Outbox,
    connection: Mutex<Option<Connection>>,
}

impl LinkSender {
    /// Sends a frame. Never waits; tells whether there was room.
    ///
    /// Frames that are sent while the link is down wait in the same bounded queue: a request stays worth sending
    /// until it is answered. If the queue is full, or the frame above the limit, it is dropped and counted.
    pub fn send(&self, frame: Bytes) -> bool {
        self.shared.outbox.put(frame).is_ok()
    }

    /// The frames that were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.outbox.dropped()
    }

    /// QUIC's estimate of the round-trip time, while the link is up.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared.connection().as_ref().map(Connection::rtt)
    }
}

impl Shared {
    fn connection(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A link's task.
pub(super) struct Link {
    replica: ReplicaId,
    target: Target,
    frame_bytes: usize,
    shared: Arc<Shared>,
    events: Waiting,
    ended: CancellationToken,
}

impl Link {
    /// A link, to be run, and its two ends. The sender keeps the endpoint open.
    pub(super) fn new(
        replica: ReplicaId,
        target: Target,
        limits: LinkLimits,
        ended: CancellationToken,
        endpoint: Arc<Inner>,
    ) -> (Self, LinkSender, mpsc::Receiver<LinkEvent>) {
        let outbox = Outbox::new(limits.frame_bytes, limits.outgoing, true);
        let shared = Arc::new(Shared { outbox, connection: Mutex::new(None) });
        let (events, receiver) = Waiting::new(limits.events, limits.event_bytes);
        let _end_on_drop = Arc::new(ended.clone().drop_guard());
        let sender = LinkSender { shared: shared.clone(), _end_on_drop, _endpoint: endpoint };
        let frame_bytes = limits.frame_bytes;
        (Self { replica, target, frame_bytes, shared, events, ended }, sender, receiver)
    }

    /// Keeps the link up until nobody wants it.
    pub(super) async fn run(self, endpoint: Endpoint) {
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = self.events.closed() => {}
            _ = self.keep_dialing(&endpoint) => {}
        }
    }

    async fn keep_dialing(&self, endpoint: &Endpoint) -> Result<(), Abandoned> {
        let mut backoff = Backoff::default();
        loop {
            match self.target.dial(endpoint).await {
                Ok((connection, send, receive)) => {
                    let since = Instant::now();
                    tracing::debug!(replica = %self.replica, "connected");
                    self.report(LinkEvent::Connected).await?;
                    self.serve(connection, send, receive).await;
                    self.report(LinkEvent::Disconnected).await?;
                    if since.elapsed() >= PROVEN {
                        backoff.reset();
                    }
                }
                Err(error) => {
                    tracing::debug!(replica = %self.replica, %error, "dialing failed");
                    self.report(match error {
                        DialError::Refused(refusal) => LinkEvent::Refused(refusal),
                        error => LinkEvent::Unreachable(error),
                    })
                    .await?;
                }
            }
            sleep(backoff.after_failure()).await;
        }
    }

    /// Moves frames both ways until the connection ends.
    async fn serve(&self, connection: Connection, mut send: SendStream, receive: RecvStream) {
        let up = UpLink::new(&self.shared, connection);
        tokio::select! {
            received = self.receive(receive) => {
                if let Err(error) = received {
                    tracing::debug!(replica = %self.replica, %error, "the stream ended");
                    if error.is_offence() {
                        Close::Offence.apply(&up.connection);
                    }
                }
            }
            sent = send_all(&mut send, &self.shared.outbox) => {
                tracing::debug!(replica = %self.replica, ?sent, "the stream ended");
            }
            reason = up.connection.closed() => {
                tracing::debug!(replica = %self.replica, %reason, "disconnected");
            }
        }
    }

    async fn receive(&self, stream: RecvStream) -> Result<(), FrameError> {
        let mut reader = FrameReader::new(stream, self.frame_bytes);
        loop {
            let length = reader.length().await?;
            let frame = reader.body(length).await?;
            if self.report(LinkEvent::Frame(frame)).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn report(&self, event: LinkEvent) -> Result<(), Abandoned> {
        self.events.put(event).await
    }
}

/// A link that is up; it goes down when this is dropped, also by cancellation.
struct UpLink<'a> {
    shared: &'a Shared,
    connection: Connection,
}

impl<'a> UpLink<'a> {
    fn new(shared: &'a Shared, connection: Connection) -> Self {
        *shared.connection() = Some(connection.clone());
        Self { shared, connection }
    }
}

impl Drop for UpLink<'_> {
    fn drop(&mut self) {
        *self.shared.connection() = None;
        // The first close of a connection counts, so this is for what had no better reason. It comes before the
        // streams are dropped, which would end them in order.
        Close::Requested.apply(&self.connection);
    }
}
