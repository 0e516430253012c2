//! What clients sign: the opening of a session, or a run of consecutive requests (N1).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use pbft_crypto::{Digest, Domain, Hasher, Malformed};

use crate::statement::{ensure, statement};
use crate::{ClientId, Configuration, RequestNumber, SessionId};

/// A client's signed unit: ordered as a whole, executed and answered request by request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Submission {
    /// Opens a session. It counts as request 0 of the session.
    Open {
        /// The new session; above every one that the client opened.
        session: SessionId,
    },
    /// 1 to 64 consecutive requests of one session.
    Requests {
        /// The session.
        session: SessionId,
        /// The number of the first request, at least 1.
        first: RequestNumber,
        /// The operations, for the service to read.
        operations: Vec<Bytes>,
    },
}

statement!(Submission, signer: ClientId, kind: 1, policy: Batched, validate: Submission::check);

/// One request of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its number in the session; 0 opens the session.
    pub number: RequestNumber,
    /// The operation; empty for an opening.
    pub operation: &'a Bytes,
}

/// What names a request: its place in a client's session. The operation is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The client.
    pub client: ClientId,
    /// Its session.
    pub session: SessionId,
    /// The number in the session.
    pub number: RequestNumber,
}

impl RequestId {
    /// The digest of a request: what replies and the client table bind a result to. It does not depend on how
    /// requests were gathered into submissions.
    #[must_use]
    pub fn digest(&self, operation: &[u8]) -> Digest {
        Hasher::new(Domain::Request)
            .bytes(&self.client.0)
            .number(self.session.0)
            .number(self.number.0)
            .bytes(operation)
            .finish()
    }
}

impl Submission {
    /// The most requests of one submission.
    pub const MAXIMUM_REQUESTS: usize = 64;

    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        match self {
            Self::Open { session } | Self::Requests { session, .. } => *session,
        }
    }

    /// The requests, in order; an opening is one request with number 0 and no operation.
    pub fn requests(&self) -> impl ExactSizeIterator<Item = Request<'_>> {
        static NONE: [Bytes; 1] = [Bytes::new()];
        let (first, operations) = match self {
            Self::Open { .. } => (0, &NONE[..]),
            Self::Requests { first, operations, .. } => (first.0, &operations[..]),
        };
        operations.iter().enumerate().map(move |(index, operation)| Request {
            number: RequestNumber(first.saturating_add(index as u64)),
            operation,
        })
    }

    /// The names of the requests, for a submission of `client`.
    pub fn ids(&self, client: ClientId) -> impl ExactSizeIterator<Item = RequestId> {
        let session = self.session();
        self.requests().map(move |request| RequestId { client, session, number: request.number })
    }

    /// The bytes of all operations together.
    #[must_use]
    pub fn operation_bytes(&self) -> usize {
        self.requests().map(|request| request.operation.len()).sum()
    }

    fn check(&self, _: ClientId, configuration: &Configuration) -> Result<(), Malformed> {
        let Self::Requests { first, operations, .. } = self else { return Ok(()) };
        let count = operations.len();
        ensure((1..=Self::MAXIMUM_REQUESTS).contains(&count), || {
            format!("a submission of {count} requests")
        })?;
        ensure(first.0 >= 1, || "request number 0 is the opening's".into())?;
        ensure(first.0.checked_add(count as u64).is_some(), || "request numbers overflow".into())?;
        let parameters = configuration.parameters();
        let largest = operations.iter().map(Bytes::len).max().unwrap_or(0);
        ensure(largest <= parameters.operation_bytes, || {
            format!("an operation of {largest} bytes exceeds the limit of {}", parameters.operation_bytes)
        })?;
        let total = self.operation_bytes();
        ensure(total <= parameters.batch_bytes, || {
            format!("a submission of {total} bytes exceeds the limit of {}", parameters.batch_bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Rejected, Verified};

    use super::*;
    use crate::testing::{client, client_key, configuration};

    fn verify(submission: Submission) -> Result<Verified<Submission>, Rejected> {
        let configuration = configuration(4);
        let signed = Verified::sign(submission, client(), &client_key(), configuration.scope());
        signed.signed().clone().verify(&configuration)
    }

    fn requests(first: u64, operations: Vec<Bytes>) -> Submission {
        Submission::Requests { session: SessionId(1), first: RequestNumber(first), operations }
    }

    #[test]
    fn limits_are_checked() {
        let operation = Bytes::from_static(b"x");
        assert!(verify(Submission::Open { session: SessionId(1) }).is_ok());
        assert!(verify(requests(1, vec![operation.clone(); 64])).is_ok());
        for bad in [
            requests(1, vec![]),
            requests(1, vec![operation.clone(); 65]),
            requests(0, vec![operation.clone()]),
            requests(u64::MAX, vec![operation]),
            requests(1, vec![Bytes::from(vec![0; (1 << 20) + (64 << 10) + 1])]),
        ] {
            assert!(matches!(verify(bad), Err(Rejected::Malformed(_))));
        }
    }

    #[test]
    fn requests_are_numbered() {
        let submission = requests(7, vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")]);
        let numbers: Vec<_> = submission.ids(client()).map(|id| id.number.0).collect();
        assert_eq!(numbers, [7, 8]);
        let open = Submission::Open { session: SessionId(3) };
        assert_eq!(open.ids(client()).map(|id| id.number.0).collect::<Vec<_>>(), [0]);
    }
}
