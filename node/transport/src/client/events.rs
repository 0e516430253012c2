//! What a replica's socket for clients tells the replica.

use std::fmt;
use std::future::poll_fn;

use bytes::Bytes;

use pbft_messages::{ClientId, SessionId};

use crate::inbox::InboxReceiver;

/// One connection of a client. Never used again for another, as long as the replica runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

#[cfg(feature = "testing")]
impl ConnectionId {
    /// A connection that no listener has, for tests of those who tell connections apart.
    #[must_use]
    pub const fn numbered(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// Something that happened on a connection. The events of one connection come in this order: it connected, frames
/// came in, it disconnected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A client connected, and can be sent to.
    Connected {
        /// The connection.
        connection: ConnectionId,
        /// Whose key authenticated it.
        client: ClientId,
        /// The session that it serves, by the client's own word.
        session: SessionId,
    },
    /// A frame came in.
    Frame {
        /// The connection.
        connection: ConnectionId,
        /// Whose key authenticated it.
        client: ClientId,
        /// The session that it serves.
        session: SessionId,
        /// The bytes that the client sent.
        frame: Bytes,
    },
    /// The connection is gone; frames sent to it are dropped from now on.
    Disconnected {
        /// The connection.
        connection: ConnectionId,
        /// Whose key authenticated it.
        client: ClientId,
        /// The session that it served.
        session: SessionId,
    },
}

/// The receiving end of a [`super::ClientListener`].
#[derive(Debug)]
pub struct ClientEvents(pub(super) InboxReceiver<ClientEvent>);

impl ClientEvents {
    /// Waits for the next event; `None` after the listener was shut down and all events are taken. Dropping the
    /// future loses no event.
    pub async fn recv(&mut self) -> Option<ClientEvent> {
        poll_fn(|context| self.0.poll(context)).await
    }

    /// Takes the next event if there is one.
    pub fn try_recv(&mut self) -> Option<ClientEvent> {
        self.0.try_take()
    }
}
