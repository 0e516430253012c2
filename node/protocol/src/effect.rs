//! What a replica wants done. Effects are plain values: a driver carries them out in order.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use pbft_crypto::Digest;
use pbft_messages::{
    Chunk, ClientId, PartId, PeerMessage, Proven, Read, ReadAnswer, ReadOutcome, ReplicaId, Reply,
    RequestNumber, Sequence, SessionId, StableCertificate, Timestamp,
};

use crate::{Halt, Instant, Record, Report, Timer};

/// The number of a write. They grow by one, and become durable in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(pub u64);

/// The number of an audit, chosen by whoever asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditId(pub u64);

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a message to one replica. It may be lost.
    Send {
        /// To whom.
        to: ReplicaId,
        /// What.
        message: PeerMessage,
    },
    /// Send a message to every other replica. It may be lost.
    Broadcast(PeerMessage),
    /// Write records, together with all notes before them, in one atomic durable write; then carry out `then`; then
    /// report [`crate::Input::Durable`]. Writes become durable in order; one fsync may cover several. If the write
    /// fails, the replica stops without carrying out `then` (D7).
    Persist {
        /// The write's number.
        id: WriteId,
        /// What to write; a record replaces the one with the same key.
        records: Vec<Record>,
        /// What must wait for the write.
        then: Vec<Effect>,
    },
    /// Write records with the next [`Effect::Persist`], or when there is time; nothing waits for them.
    Note(Vec<Record>),
    /// Nothing of the log at or below `through` is needed any more, nor any snapshot below it but those of `keep`,
    /// which other replicas are fetching. A later collection that does not name them forgets them too.
    Collect {
        /// The last sequence to forget.
        through: Sequence,
        /// Older snapshots to keep.
        keep: BTreeSet<Sequence>,
    },
    /// Set a timer, or stop it.
    SetTimer {
        /// Which.
        timer: Timer,
        /// When it expires; `None` stops it.
        at: Option<Instant>,
    },
    /// Let the service execute a batch, then report [`crate::Input::Executed`].
    Execute(Execution),
    /// Take a snapshot of the service's state after all executions before, put `ledger` before its chunks, make it
    /// durable, then report [`crate::Input::SnapshotTaken`]. Executions go on meanwhile.
    Snapshot {
        /// The checkpoint's sequence.
        sequence: Sequence,
        /// The first chunks of the snapshot: the replica's own part of the state.
        ledger: Vec<Bytes>,
    },
    /// Compute the root of the state after all executions before, as for a snapshot, and tell whoever asked.
    Audit {
        /// Whom to tell.
        id: AuditId,
        /// After which sequence this is the state.
        sequence: Sequence,
        /// As in [`Effect::Snapshot`].
        ledger: Vec<Bytes>,
    },
    /// Send a part of a stored snapshot to a replica, or [`PeerMessage::NoSnapshot`].
    ServePart {
        /// To whom.
        to: ReplicaId,
        /// Which.
        id: PartId,
    },
    /// Find out which of these chunks are held, in snapshots or from earlier gatherings, and keep those; forget those
    /// that only an earlier gathering needs. Then report [`crate::Input::Gathering`].
    Gather {
        /// The checkpoint's sequence.
        sequence: Sequence,
        /// The digests of its snapshot's chunks, in order.
        leaves: Arc<[Digest]>,
    },
    /// Make a chunk of the gathering durable, then report [`crate::Input::ChunkKept`]. Its digest is right.
    KeepChunk(Chunk),
    /// Every chunk of the gathering is kept: make it a durable snapshot, let the service restore from it, then report
    /// [`crate::Input::Installed`].
    Install(Proven<StableCertificate>),
    /// Answer a client, on whatever connections serve that session.
    Reply {
        /// The client.
        client: ClientId,
        /// Its session.
        session: SessionId,
        /// The answers.
        replies: Vec<Reply>,
    },
    /// Tell a client that its submission was not taken.
    Busy {
        /// The client.
        client: ClientId,
        /// Its session.
        session: SessionId,
        /// The first request of the submission.
        first: RequestNumber,
    },
    /// Ask the service as it stands after all executions before, or later, and carry out [`Query::answered`]; or
    /// [`Query::refused`] if there is too much to do. Nothing waits for it (fault 36).
    Query(Query),
    /// Answer a client's unordered read, on whatever connections serve that session.
    AnswerRead {
        /// The client.
        client: ClientId,
        /// The session of the connection that the read came on.
        session: SessionId,
        /// The answer.
        answer: ReadAnswer,
    },
    /// Something worth knowing happened: the one source of logs, metrics, transcripts and checks.
    Report(Report),
    /// Stop for good: going on would not be safe.
    Halt(Halt),
}

/// A batch for the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Its place.
    pub sequence: Sequence,
    /// The agreed time; null batches have none (N6).
    pub time: Option<Timestamp>,
    /// The operations to execute, in order: only those that the client table found new.
    pub operations: Vec<Operation>,
}

/// One operation of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Whose.
    pub client: ClientId,
    /// In which session.
    pub session: SessionId,
    /// The operation, for the service to read.
    pub operation: Bytes,
}

/// An unordered read for the service (N5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Whose.
    pub client: ClientId,
    /// The session of the connection that it came on.
    pub session: SessionId,
    /// Everything up to here is executed before it.
    pub sequence: Sequence,
    /// What is asked.
    pub read: Read,
}

impl Query {
    /// The service has answered it.
    #[must_use]
    pub fn answered(&self, result: Bytes) -> Effect {
        self.answer(ReadOutcome::Result { sequence: self.sequence, result })
    }

    /// It is not answered here: the client is to ask otherwise.
    #[must_use]
    pub fn refused(&self) -> Effect {
        self.answer(ReadOutcome::Refused)
    }

    fn answer(&self, outcome: ReadOutcome) -> Effect {
        let answer = ReadAnswer { id: self.read.id, outcome };
        Effect::AnswerRead { client: self.client, session: self.session, answer }
    }
}

/// Effects in order, as one input gives rise to them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects(Vec<Effect>);

impl Effects {
    /// No effects.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    pub(crate) fn send(&mut self, to: ReplicaId, message: PeerMessage) {
        self.push(Effect::Send { to, message });
    }

    pub(crate) fn broadcast(&mut self, message: PeerMessage) {
        self.push(Effect::Broadcast(message));
    }

    pub(crate) fn report(&mut self, report: Report) {
        self.push(Effect::Report(report));
    }
}

impl IntoIterator for Effects {
    type Item = Effect;
    type IntoIter = std::vec::IntoIter<Effect>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl From<Effects> for Vec<Effect> {
    fn from(effects: Effects) -> Self {
        effects.0
    }
}

impl From<Vec<Effect>> for Effects {
    fn from(effects: Vec<Effect>) -> Self {
        Self(effects)
    }
}
