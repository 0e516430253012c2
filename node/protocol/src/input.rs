//! What happens to a replica.

use std::collections::BTreeSet;

use bytes::Bytes;

use pbft_crypto::{Digest, Verified};
use pbft_messages::{ClientId, Message, Read, ReplicaId, Sequence, SessionId, Submission, Timestamp};

use crate::{AuditId, Timer, WriteId};

/// One event. The driver hands them in one by one, with the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A verified message from another replica: `from` is the identity at the other end of the link.
    Message {
        /// The sender.
        from: ReplicaId,
        /// What it sent.
        message: Message,
    },
    /// A verified submission that came from a client itself.
    Submission(Verified<Submission>),
    /// An unordered read (N5). The channel authenticates the client.
    Read {
        /// Whose.
        client: ClientId,
        /// The session of the connection that it came on, where its answer goes.
        session: SessionId,
        /// What is asked.
        read: Read,
    },
    /// A timer that was set has expired.
    Timer(Timer),
    /// All writes up to and including this one are durable; the effects inside it have been released.
    Durable(WriteId),
    /// The execution of [`crate::Effect::Execute`] is done.
    Executed {
        /// The batch's sequence.
        sequence: Sequence,
        /// The service's result for each operation, in order.
        results: Vec<Bytes>,
        /// When the service wants to be told the time next, if at all (N6).
        next_deadline: Option<Timestamp>,
    },
    /// The snapshot of [`crate::Effect::Snapshot`] is durable.
    SnapshotTaken {
        /// The checkpoint's sequence.
        sequence: Sequence,
        /// The Merkle root of the snapshot's chunks.
        root: Digest,
    },
    /// Which chunks of [`crate::Effect::Gather`] are not held.
    Gathering {
        /// The checkpoint's sequence.
        sequence: Sequence,
        /// Their places in the snapshot.
        missing: BTreeSet<u64>,
    },
    /// The chunk of [`crate::Effect::KeepChunk`] is durable.
    ChunkKept {
        /// The checkpoint's sequence.
        sequence: Sequence,
        /// The chunk's place in the snapshot.
        index: u64,
    },
    /// The snapshot of [`crate::Effect::Install`] is durable, and the service runs on it.
    Installed {
        /// The checkpoint's sequence.
        sequence: Sequence,
        /// Its first [`crate::ledger_chunks`] chunks.
        ledger: Vec<Bytes>,
        /// See [`Input::Executed`].
        next_deadline: Option<Timestamp>,
    },
    /// Somebody wants to know the root of the executed state, as [`crate::Effect::Audit`].
    Audit(AuditId),
    /// The replica is about to stop in good order: write what makes abstention unnecessary (D2).
    Shutdown,
}
