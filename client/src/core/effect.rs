//! What comes out of the core.

use bytes::Bytes;

use pbft_messages::{ClientMessage, Refusal, ReplicaId, RequestNumber, Sequence, Submission};

/// Names one call of [`Core::submit`](super::Core::submit) or [`Core::read`](super::Core::read), so that its answers find their caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the core wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this message to these replicas. It may be lost: the core sends it again, with the same bytes.
    Send {
        /// Whom to.
        to: Vec<ReplicaId>,
        /// What.
        message: ClientMessage,
    },
    /// The session is open; what was submitted before is being sent now.
    Opened {
        /// Where in the total order it was opened.
        sequence: Sequence,
    },
    /// The session could not be opened. Nothing was executed in it, and nothing will be.
    OpeningRefused(Refusal),
    /// A read goes the ordered way now, since the unordered one did not lead to an answer (N5).
    FellBack {
        /// The read.
        ticket: Ticket,
        /// Why.
        reason: FallBack,
    },
    /// One request of a submission, or a read, is answered, once and for all.
    Answered {
        /// The submission.
        ticket: Ticket,
        /// The request's place in it, from 0.
        index: usize,
        /// The request's number in the session; `None` if it was never given one, because it was never sent.
        number: Option<RequestNumber>,
        /// The answer.
        answer: Answer,
    },
}

/// Why an unordered read is ordered after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallBack {
    /// So many replicas differ or have refused that no quorum can agree: what was read is being written, or replicas
    /// lag behind, are busy or lie.
    Divided,
    /// Fewer than a quorum answered in time.
    Late,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A quorum answered an unordered read alike.
    Read {
        /// Everything up to here in the total order shows in the result; later things may.
        sequence: Sequence,
        /// The service's result.
        result: Bytes,
    },
    /// It was executed, once.
    Executed {
        /// Where in the total order.
        sequence: Sequence,
        /// The service's result.
        result: Bytes,
    },
    /// It was ordered and executed nothing. A core that is alone in using its session never meets this.
    Refused {
        /// Where in the total order.
        sequence: Sequence,
        /// Why.
        refusal: Refusal,
    },
    /// The session is no longer open: this or a newer session of the same client key took its place.
    Expired {
        /// Whether the request was sent. If so it may have been executed before the session expired, and its
        /// outcome is unknown; if not it has no effect.
        sent: bool,
    },
}

/// What [`Core::abandon`](super::Core::abandon) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandoned {
    /// The submission had not been sent and never will be: it has no effect.
    NeverSent,
    /// It was sent, and the core goes on sending it (its numbers hold the window up until they are answered):
    /// it may or may not take effect.
    Sent,
    /// It was an unordered read: it has no effect.
    Read,
    /// It is answered already, or unknown.
    Answered,
}

/// Why operations cannot be submitted. Nothing was signed or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// A submission has 1 to 64 requests.
    #[error("a submission has 1 to {maximum} operations, not {0}: split it", maximum = Submission::MAXIMUM_REQUESTS)]
    Count(usize),
    /// An operation is larger than the cluster allows.
    #[error("operation {index} has {bytes} bytes, and the cluster's limit is {limit} (operation_bytes)")]
    OperationTooLarge {
        /// Its place among the operations, from 0.
        index: usize,
        /// Its size.
        bytes: usize,
        /// The cluster's limit.
        limit: usize,
    },
    /// The operations together are larger than the cluster allows.
    #[error(
        "the operations have {bytes} bytes together, and the cluster's limit is {limit} (batch_bytes): split them"
    )]
    SubmissionTooLarge {
        /// Their size.
        bytes: usize,
        /// The cluster's limit.
        limit: usize,
    },
    /// The session was refused or has expired.
    #[error("the session is no longer open: open a new one")]
    SessionOver,
}
