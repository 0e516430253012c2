//! The bounds that an owner of a socket sets, with defaults that suit a cluster of some ten replicas.

use std::time::Duration;

/// The bound of one queue: whichever of the two is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// The most frames that wait.
    pub frames: usize,
    /// The most bytes that wait, all frames together. One frame is always let in, whatever its size.
    pub bytes: usize,
}

/// The bounds of one lane of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// The largest frame in bytes, sent or received. A peer that announces a larger one is cut.
    pub frame_bytes: usize,
    /// Frames that wait to be sent. When the bound is reached, new ones are dropped and counted.
    pub outgoing: QueueLimits,
    /// Frames that were received and wait for the caller. When the bound is reached, the stream is not read, and
    /// QUIC's flow control holds the sender back.
    pub incoming: QueueLimits,
}

/// When a peer's offences cut it off (R3).
///
/// A peer has a budget of `burst` offences, which recovers by one each `recovery`. When half of it is gone, the peer's
/// frames are read with a delay; when all of it is gone, the connection is closed and none is made for `cooling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffenceLimits {
    /// The offences that a peer may commit at once.
    pub burst: u32,
    /// The time in which one offence is forgiven.
    pub recovery: Duration,
    /// How long a peer that used up its budget stays cut off.
    pub cooling: Duration,
}

/// The bounds of a replica's links to other replicas; each holds for every peer by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// The lane of consensus messages.
    pub votes: LaneLimits,
    /// The lane of request bodies, state and other bulk.
    pub bulk: LaneLimits,
    /// When offences cut a peer off.
    pub offences: OffenceLimits,
    /// Whether the kernel may cut large buffers into datagrams (GSO). It saves much work; turn it off for network
    /// cards and inspection tools that mishandle it.
    pub segmentation_offload: bool,
}

/// The bounds of a replica's socket for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// The largest frame in bytes that a client may send. A client that announces a larger one is cut.
    pub frame_bytes: usize,
    /// The largest frame in bytes that is sent to a client.
    pub reply_bytes: usize,
    /// The bytes of one client's frames that may be on their way in, on all its connections together: announced, and
    /// not yet among those that wait. A client that lets frames stall holds up itself only. All clients together
    /// hold at most this much each, and at most one frame a connection. A frame larger than this waits for all of
    /// it.
    pub partial_bytes: usize,
    /// The most connections, all clients together.
    pub connections: usize,
    /// The most connections of one client, that is, of one key. Each session has a connection of its own.
    pub connections_per_client: usize,
    /// The most handshakes under way. Attempts beyond it are refused.
    pub handshakes: usize,
    /// From how many handshakes under way a newcomer must first prove that it receives at its address, which costs
    /// it a round trip and costs the replica no state.
    pub handshakes_unproven: usize,
    /// Complete frames of all clients that wait for the caller. At the bound, no client's stream is read on.
    pub incoming: QueueLimits,
    /// Frames that wait to be sent on one connection. A connection that exceeds it is closed: its client does not
    /// read.
    pub outgoing: QueueLimits,
    /// The bytes of frames that wait to be sent to one client, on all its connections together; never less than one
    /// connection may have. The connection that exceeds it is closed.
    pub outgoing_bytes_per_client: usize,
    /// As in [`PeerLimits`].
    pub segmentation_offload: bool,
}

/// The bounds of a client's links to replicas; each holds for every link by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// The largest frame in bytes, in either direction.
    pub frame_bytes: usize,
    /// Frames that wait to be sent. When the bound is reached, new ones are dropped and counted.
    pub outgoing: QueueLimits,
    /// The most events that wait for the caller; frames are among them.
    pub events: usize,
    /// The most bytes of frames that wait for the caller. One frame is always let in, whatever its size, and one more
    /// may be on its way in. At the bound the stream is not read.
    pub event_bytes: usize,
    /// As in [`PeerLimits`].
    pub segmentation_offload: bool,
}

// Sizes are written in these.
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            votes: LaneLimits {
                // A NEW-VIEW carries certificates for a whole window; a vote has a few hundred bytes.
                frame_bytes: 4 * MIB,
                outgoing: QueueLimits { frames: 8192, bytes: 16 * MIB },
                incoming: QueueLimits { frames: 1024, bytes: 8 * MIB },
            },
            bulk: LaneLimits {
                frame_bytes: 16 * MIB,
                outgoing: QueueLimits { frames: 512, bytes: 64 * MIB },
                incoming: QueueLimits { frames: 64, bytes: 32 * MIB },
            },
            offences: OffenceLimits {
                burst: 32,
                recovery: Duration::from_secs(1),
                cooling: Duration::from_secs(10),
            },
            segmentation_offload: true,
        }
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            frame_bytes: MIB,
            reply_bytes: 8 * MIB,
            partial_bytes: 4 * MIB,
            connections: 1024,
            connections_per_client: 128,
            handshakes: 128,
            handshakes_unproven: 32,
            incoming: QueueLimits { frames: 4096, bytes: 32 * MIB },
            outgoing: QueueLimits { frames: 1024, bytes: 8 * MIB },
            outgoing_bytes_per_client: 64 * MIB,
            segmentation_offload: true,
        }
    }
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            frame_bytes: MIB,
            outgoing: QueueLimits { frames: 1024, bytes: 8 * MIB },
            events: 256,
            event_bytes: 16 * MIB,
            segmentation_offload: true,
        }
    }
}

/// The largest piece of a frame that is handed to QUIC at once. Buffers for sending are accounted by piece, and a
/// piece is released only when all of it is acknowledged, so pieces stay well below the windows.
pub(crate) const PIECE: usize = 64 * KIB;
