//! What is ordered: batches, and their digests.

use std::fmt;
use std::sync::LazyLock;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use pbft_crypto::{Digest, Domain, Hasher, Malformed, Opened, Rejected, Signed, Verified, mutant};

use crate::{ClientId, Configuration, RequestId, Submission, Timestamp};

/// A batch as it travels. What is written borrows its submissions from the body.
#[derive(Serialize, Deserialize)]
enum Wire<S = Signed<Submission>> {
    Null,
    Ordered { time: Timestamp, submissions: Vec<S> },
}

/// The body of an ordered batch, together with the digest that binds it. There is no way to have one with a wrong
/// digest (fault 11): the digest is computed from the received bytes wherever a body is made or read.
///
/// The digest covers each submission's signed bytes, in order, and the proposed time.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    digest: Digest,
    requests: usize,
    content: Content,
}

/// What a body holds.
#[derive(Clone, PartialEq, Eq)]
enum Content {
    Null,
    Ordered { time: Timestamp, submissions: Vec<OrderedSubmission> },
}

/// A submission inside a body. Its signature was verified by whoever accepted the batch as a fresh proposal; in a
/// body that was fetched by digest, a certificate for the digest vouches for it.
#[derive(Clone, PartialEq, Eq)]
pub struct OrderedSubmission(Opened<Submission>);

impl OrderedSubmission {
    /// Whose submission it is.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.signed().claimed_signer()
    }

    /// The submission.
    #[must_use]
    pub fn submission(&self) -> &Submission {
        self.0.value()
    }

    fn signed(&self) -> &Signed<Submission> {
        self.0.signed()
    }
}

impl Body {
    /// The null batch, which fills a gap in a view change: no time, no submissions, a fixed digest.
    #[must_use]
    pub fn null() -> Self {
        Self { digest: Self::null_digest(), requests: 0, content: Content::Null }
    }

    /// The null batch's digest.
    #[must_use]
    pub fn null_digest() -> Digest {
        // Asked for with every look into the log.
        static NULL: LazyLock<Digest> = LazyLock::new(|| Digest::of(Domain::Batch, b"null"));
        *NULL
    }

    /// A batch of verified submissions, as a primary proposes it.
    #[must_use]
    pub fn new<'a>(time: Timestamp, submissions: impl IntoIterator<Item = &'a Verified<Submission>>) -> Self {
        let submissions = submissions.into_iter().map(|it| OrderedSubmission(it.opened().clone()));
        Self::ordered(time, submissions.collect())
    }

    fn ordered(time: Timestamp, submissions: Vec<OrderedSubmission>) -> Self {
        let mut hasher =
            Hasher::new(Domain::Batch).bytes(b"ordered").number(time.0).number(submissions.len() as u64);
        for signed in submissions.iter().map(OrderedSubmission::signed) {
            if mutant!("body-not-bound") {
                break;
            }
            let digest = Hasher::new(Domain::Submission)
                .bytes(&signed.claimed_signer().0)
                .bytes(&signed.signature().to_bytes())
                .bytes(signed.payload())
                .finish();
            hasher = hasher.bytes(digest.as_bytes());
        }
        let requests = submissions.iter().map(|ordered| ordered.submission().requests().len()).sum();
        Self { digest: hasher.finish(), requests, content: Content::Ordered { time, submissions } }
    }

    /// The same submissions at another time, which is another batch; the null batch stays itself. Nothing needs to be
    /// verified anew, as no signature covers the time.
    #[must_use]
    pub fn with_time(&self, time: Timestamp) -> Self {
        match &self.content {
            Content::Null => Self::null(),
            Content::Ordered { submissions, .. } => Self::ordered(time, submissions.clone()),
        }
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The proposed time; null batches have none (N6).
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        match self.content {
            Content::Null => None,
            Content::Ordered { time, .. } => Some(time),
        }
    }

    /// The submissions, in order.
    #[must_use]
    pub fn submissions(&self) -> &[OrderedSubmission] {
        match &self.content {
            Content::Null => &[],
            Content::Ordered { submissions, .. } => submissions,
        }
    }

    /// How many requests there are.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// The names of all requests, in order.
    pub fn request_ids(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.submissions().iter().flat_map(|ordered| ordered.submission().ids(ordered.client()))
    }

    /// The operations' bytes together.
    #[must_use]
    pub fn operation_bytes(&self) -> usize {
        self.submissions().iter().map(|ordered| ordered.submission().operation_bytes()).sum()
    }

    /// About how many bytes of memory the body takes: each submission as it was received, and as it was read (R1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let of_submission = |ordered: &OrderedSubmission| {
            let requests = ordered.submission().requests().len() * size_of::<Bytes>();
            let read = ordered.submission().operation_bytes() + requests;
            ordered.signed().payload().len() + read + size_of::<OrderedSubmission>()
        };
        self.submissions().iter().map(of_submission).sum()
    }

    /// Checks what a *fresh* proposal's body must hold besides its time (N2): every submission's signature is an
    /// admitted client's, no request stands twice, and the batch keeps its limits.
    ///
    /// # Errors
    /// [`Rejected`], with the first thing wrong.
    pub fn check_fresh(&self, configuration: &Configuration) -> Result<(), Rejected> {
        let parameters = configuration.parameters();
        if self.requests > parameters.batch_requests || self.operation_bytes() > parameters.batch_bytes {
            return Err(Malformed("a batch exceeds its limits".into()).into());
        }
        let mut ids: Vec<_> = self.request_ids().collect();
        ids.sort_unstable();
        if !ids.is_sorted_by(|one, next| one < next) {
            return Err(Malformed("a request stands twice in one batch".into()).into());
        }
        if mutant!("request-unchecked") {
            return Ok(());
        }
        Opened::check_all(self.submissions().iter().map(|ordered| &ordered.0), configuration)
    }

    /// The encoded body, to store or send.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        crate::codec::encode(self).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Null => formatter.write_str("null batch"),
            Content::Ordered { .. } => {
                write!(formatter, "batch {:?} of {} requests", self.digest, self.requests)
            }
        }
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = match &self.content {
            Content::Null => Wire::Null,
            Content::Ordered { time, submissions } => Wire::Ordered {
                time: *time,
                submissions: submissions.iter().map(OrderedSubmission::signed).collect(),
            },
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match <Wire>::deserialize(deserializer)? {
            Wire::Null => Ok(Self::null()),
            Wire::Ordered { time, submissions } => {
                let submissions = submissions.into_iter().map(|it| it.open().map(OrderedSubmission));
                Ok(Self::ordered(time, submissions.collect::<Result<_, _>>().map_err(D::Error::custom)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{client, client_key, configuration};
    use crate::{RequestNumber, SessionId, codec};

    fn submission(number: u64) -> Verified<Submission> {
        let operations = vec![Bytes::from_static(b"put")];
        let value = Submission::Requests { session: SessionId(1), first: RequestNumber(number), operations };
        Verified::sign(value, client(), &client_key(), configuration(4).scope())
    }

    #[test]
    fn a_body_comes_back_with_its_digest() {
        for body in [
            Body::null(),
            Body::new(Timestamp(5), []),
            Body::new(Timestamp(5), &[submission(1), submission(2)]),
        ] {
            let read: Body = codec::decode(&body.encode()).unwrap();
            assert_eq!((read.digest(), &read), (body.digest(), &body));
        }
    }

    /// Fault 11: a digest stands for one body.
    #[test]
    fn fault_11_the_digest_binds_time_submissions_and_order() {
        let (a, b) = (submission(1), submission(2));
        let digests = [
            Body::null().digest(),
            Body::new(Timestamp(5), []).digest(),
            Body::new(Timestamp(5), [&a, &b]).digest(),
            Body::new(Timestamp(6), [&a, &b]).digest(),
            Body::new(Timestamp(5), [&b, &a]).digest(),
            Body::new(Timestamp(5), [&a]).digest(),
        ];
        assert_eq!(
            Body::new(Timestamp(6), [&a, &b]),
            Body::new(Timestamp(5), [&a, &b]).with_time(Timestamp(6))
        );
        assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
    }

    /// Fault 27: what one replica checks in a request, all check, whoever brings it: a request that is bad for some is
    /// bad for all.
    #[test]
    fn fault_27_a_fresh_body_has_no_request_twice_and_only_good_signatures() {
        let configuration = configuration(4);
        let (a, b) = (submission(1), submission(2));
        assert!(Body::new(Timestamp(5), [&a, &b]).check_fresh(&configuration).is_ok());
        assert!(Body::new(Timestamp(5), [&a, &a]).check_fresh(&configuration).is_err());
        let forged =
            Signed::<Submission>::from_parts(client(), b.signed().payload().clone(), *a.signed().signature());
        let forged = Wire::Ordered { time: Timestamp(5), submissions: vec![forged] };
        let body: Body = codec::decode(&codec::encode(&forged)).unwrap();
        assert!(matches!(body.check_fresh(&configuration), Err(Rejected::BadSignature(_))));
    }

    /// R1: a batch over its limits costs no work on each of its requests.
    #[test]
    fn limits_are_checked_before_all_else() {
        let configuration = configuration(4);
        let same = submission(1);
        let too_many = vec![&same; configuration.parameters().batch_requests + 1];
        let error = Body::new(Timestamp(5), too_many).check_fresh(&configuration).unwrap_err();
        assert_eq!(error, Malformed("a batch exceeds its limits".into()).into());
    }
}
