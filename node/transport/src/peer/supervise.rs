//! One task a peer, which makes or awaits connections and runs one at a time.

use std::time::Instant;

use bytes::Bytes;
use quinn::{Connection, Endpoint};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::state::Peer;
use super::{PeerEvent, link};
use crate::backoff::{Backoff, PROVEN};
use crate::close::Close;
use crate::dial::Target;
use crate::inbox::InboxSender;

pub(super) struct Supervisor {
    pub(super) peer: std::sync::Arc<Peer>,
    pub(super) inboxes: [InboxSender<Bytes>; 2],
    /// Connections that the peer made, after the hello. None come from a peer that this replica dials.
    pub(super) arrived: mpsc::Receiver<Connection>,
    pub(super) events: mpsc::Sender<PeerEvent>,
    pub(super) ended: CancellationToken,
}

impl Supervisor {
    /// Keeps a connection to a peer with a higher id.
    pub(super) async fn dial(mut self, target: Target, endpoint: Endpoint) {
        let ended = self.ended.clone();
        ended.run_until_cancelled_owned(async move { self.keep_dialing(&target, &endpoint).await }).await;
    }

    async fn keep_dialing(&mut self, target: &Target, endpoint: &Endpoint) {
        let mut backoff = Backoff::default();
        loop {
            if let Some(rest) = self.peer.budget.cooling(Instant::now()) {
                sleep(rest).await;
            }
            match target.dial(endpoint).await {
                Ok((connection, _, _)) => {
                    self.peer.dialed(None);
                    let since = Instant::now();
                    self.run(connection).await;
                    if since.elapsed() >= PROVEN {
                        backoff.reset();
                    }
                }
                Err(error) => {
                    tracing::debug!(peer = %self.peer.id, address = %target.address, %error, "dialing failed");
                    if self.peer.dialed(Some(error.clone())) {
                        self.report(PeerEvent::Failed(self.peer.id, error)).await;
                    }
                }
            }
            sleep(backoff.after_failure()).await;
        }
    }

    /// Runs what a peer with a lower id dials. A new connection takes the old one's place: the peer has lost the old
    /// one, by a restart or otherwise, or it would not dial.
    pub(super) async fn await_connections(mut self) {
        let ended = self.ended.clone();
        ended
            .run_until_cancelled_owned(async move {
                let mut next = self.arrived.recv().await;
                while let Some(connection) = next {
                    next = match self.run(connection).await {
                        Some(replacement) => Some(replacement),
                        None => self.arrived.recv().await,
                    };
                }
            })
            .await;
    }

    /// Runs a connection until it ends, and gives the one that took its place, if that was the reason.
    async fn run(&mut self, connection: Connection) -> Option<Connection> {
        self.peer.connected(connection.clone());
        let mut streams = link::start(&self.peer, &self.inboxes, &connection);
        // What is declared last is dropped first: the connection is closed before its streams are dropped.
        let up = UpLink { peer: &self.peer, connection: &connection };
        tracing::info!(peer = %self.peer.id, address = %connection.remote_address(), "connected");
        self.report(PeerEvent::Connected(self.peer.id)).await;
        let replacement = tokio::select! {
            reason = connection.closed() => {
                tracing::info!(peer = %self.peer.id, %reason, "disconnected");
                None
            }
            Some(replacement) = self.arrived.recv() => {
                tracing::info!(peer = %self.peer.id, "connected anew");
                Close::Replaced.apply(&connection);
                Some(replacement)
            }
            Some(end) = streams.join_next() => {
                // A task that panicked ends the link like one that lost its stream; the panic was reported.
                let offence = end.as_ref().is_ok_and(link::StreamEnd::is_offence);
                if let Ok(end) = end {
                    tracing::info!(peer = %self.peer.id, %end, offence, "disconnecting");
                }
                if offence {
                    self.peer.offence();
                    Close::Offence.apply(&connection);
                }
                None
            }
        };
        drop(up);
        drop(streams);
        self.report(PeerEvent::Disconnected(self.peer.id)).await;
        replacement
    }

    async fn report(&self, event: PeerEvent) {
        // A caller that dropped the receiver wants no events.
        let _ = self.events.send(event).await;
    }
}

/// A link that is up; it goes down when this is dropped, also by cancellation.
struct UpLink<'a> {
    peer: &'a Peer,
    connection: &'a Connection,
}

impl Drop for UpLink<'_> {
    fn drop(&mut self) {
        self.peer.disconnected();
        // The first close of a connection counts, so this is for what had no better reason.
        Close::Shutdown.apply(self.connection);
    }
}
