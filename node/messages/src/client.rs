//! What clients and replicas say to each other.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use pbft_crypto::{Digest, Signed};

use crate::{RequestNumber, Sequence, SessionId, Submission, View};

/// A client's message to a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientMessage {
    /// Order and execute this.
    Submit(Signed<Submission>),
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
