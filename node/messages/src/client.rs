//! What clients and replicas say to each other.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use pbft_crypto::{Digest, Malformed, Signed};

use crate::statement::ensure;
use crate::{Configuration, RequestNumber, Sequence, SessionId, Submission, View};

/// A client's message to a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientMessage {
    /// Order and execute this.
    Submit(Signed<Submission>),
    /// Answer this without ordering it (N5). It bears no signature: the channel authenticates the client, and nothing
    /// is passed on to other replicas.
    Read(Read),
}

/// Names an unordered read among those of one connection. Chosen by the client, which uses none twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReadId(pub u64);

/// An unordered read (N5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// What the answer names.
    pub id: ReadId,
    /// What to ask the service; at most [`Parameters::operation_bytes`](crate::Parameters::operation_bytes).
    pub operation: Bytes,
}

impl Read {
    /// Checks the bounds that a submission's operations have too.
    ///
    /// # Errors
    /// [`Malformed`] if the operation is too large.
    pub fn check(&self, configuration: &Configuration) -> Result<(), Malformed> {
        let (bytes, limit) = (self.operation.len(), configuration.parameters().operation_bytes);
        ensure(bytes <= limit, || format!("a read of {bytes} bytes exceeds the limit of {limit}"))
    }
}

/// A replica's message to a client. The channel authenticates it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaMessage {
    /// Answers to requests of one session.
    Replies(Vec<Reply>),
    /// The replica has too much to do and has not taken these requests; try again later (N8).
    Busy {
        /// The session.
        session: SessionId,
        /// The first request of the submission that was not taken; 0 for an opening.
        first: RequestNumber,
    },
    /// What came of an unordered read.
    Read(ReadAnswer),
}

/// What came of an unordered read at one replica. A client believes a result that Q replicas gave (N5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAnswer {
    /// The read.
    pub id: ReadId,
    /// What came of it.
    pub outcome: ReadOutcome,
}

/// What came of an unordered read at one replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadOutcome {
    /// The service answered it.
    Result {
        /// Everything up to here had been executed. Replicas may differ in it: it is outside the comparison.
        sequence: Sequence,
        /// The service's result.
        result: Bytes,
    },
    /// This replica cannot answer it soon: it lags behind, or has too much to do.
    Refused,
}

/// The answer to one request. A client believes it when f+1 replicas gave the same digest, sequence and outcome
/// (N5); the view is outside the comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The replica's view: a hint where to send the next request, believed when f+1 replicas report it.
    pub view: View,
    /// The session.
    pub session: SessionId,
    /// The request's number; 0 for an opening.
    pub number: RequestNumber,
    /// The request's digest.
    pub digest: Digest,
    /// Where in the total order the request was executed, or refused.
    pub sequence: Sequence,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The session is open.
    Opened,
    /// The operation was executed, once; this is the service's result.
    Executed(Bytes),
    /// The request was ordered and executed nothing.
    Refused(Refusal),
}

/// Why an ordered request executed nothing. Every correct replica judges alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The session is not open: it never was, or a newer session of the client has evicted it.
    #[error("the session is not open, or has expired")]
    SessionExpired,
    /// The number is below the window: it was executed long ago and its reply is no longer kept.
    #[error("the request is too old: its reply is no longer kept")]
    TooOld,
    /// It was executed, and its result is no longer kept, since the client's later results took the room.
    #[error("the request was executed, and its result is no longer kept")]
    ResultDropped,
    /// The number is beyond the window: too many requests before it are unanswered.
    #[error("the request is too far ahead of the first unanswered one")]
    BeyondWindow,
    /// The number was executed with another operation.
    #[error("this request number was already used for another operation")]
    DifferentRequest,
}
