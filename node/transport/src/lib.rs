//! QUIC links between replicas, and between clients and replicas.
//!
//! The transport moves frames ([`bytes::Bytes`]) between parties that are known by their Ed25519 key, and knows
//! nothing of what a frame says. There are three ways in:
//!
//! * [`PeerNetwork`]: a replica's links to all other replicas, on a UDP socket of its own.
//! * [`ClientListener`]: where a replica accepts admitted clients, on another UDP socket, so that a flooding client
//!   has no queue and no buffer in common with agreement (R2).
//! * [`ClientEndpoint`]: a client's links to the replicas.
//!
//! # What it promises, and what it does not
//! A frame that arrives was sent by the party that it is attributed to, whole and once, after the frames sent before
//! it on the same lane and connection. A frame that is sent need **not** arrive: a full queue drops it, a lost
//! connection loses what was on its way. The protocol repeats what matters, so the transport never blocks a sender
//! and keeps no log.
//!
//! # Identity
//! Both sides of each connection prove an Ed25519 key in the TLS 1.3 handshake as a raw public key (RFC 7250); the
//! dialing side accepts one key, the listening side those that it was given. As QUIC tells the dialing side that it
//! is connected before the listening side has judged its key, a signed hello and its signed answer come first; they
//! also compare the format version and the cluster.
//!
//! # Bounds
//! Every queue is bounded in frames and in bytes by [`PeerLimits`], [`ClientLimits`] or [`LinkLimits`] (R1). Nothing
//! is allocated for a frame before its announced length has been compared with the limit (R4), and then only as its
//! bytes come in. A party that breaks a bound is counted, slowed and cut (R3).

mod backoff;
mod bind;
mod budget;
mod client;
mod close;
mod dial;
mod frame;
mod framing;
mod gate;
mod hello;
mod inbox;
mod limits;
mod outbox;
mod peer;
mod quic;
#[cfg(test)]
mod tests;
mod tls;

pub use bind::{BindError, SocketLayer};
pub use client::{
    ClientEndpoint, ClientEvent, ClientEvents, ClientListener, ClientSettings, ConnectionId, LinkEvent,
    LinkSender, ListenerStatistics,
};
pub use close::Refusal;
pub use dial::DialError;
pub use framing::{PartialBody, PartialLength};
pub use hello::VERSION;
pub use limits::{ClientLimits, LaneLimits, LinkLimits, OffenceLimits, PeerLimits, QueueLimits};
pub use peer::{
    Lane, LaneReceiver, LaneStatistics, PeerAddress, PeerEvent, PeerFrame, PeerNetwork, PeerReceivers,
    PeerSettings, PeerStatistics,
};
