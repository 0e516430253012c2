use pbft_crypto::{Digest, Domain};
use pbft_messages::{Outcome, ReplicaId, Reply, RequestNumber, Sequence, WeakQuorum, codec};

/// The answers to one request, one a replica, until f+1 of them agree (N5).
#[derive(Debug)]
pub(super) struct Votes {
    /// The request's own digest: an answer to anything else is no answer.
    digest: Digest,
    /// Each replica's latest answer, by its digest: what liars make up takes no room (R1). At most n entries, mostly
    /// f+1: a list is quicker than a map.
    answers: Vec<(ReplicaId, Digest)>,
}

impl Votes {
    pub(super) fn new(digest: Digest) -> Self {
        Self { digest, answers: Vec::new() }
    }

    /// Counts a reply. `Some` when f+1 distinct replicas, so at least one correct one, now say the same.
    pub(super) fn insert(
        &mut self,
        from: ReplicaId,
        reply: &Reply,
        enough: WeakQuorum,
    ) -> Option<(Sequence, Outcome)> {
        if reply.digest != self.digest || !is_possible(reply.number, &reply.outcome) {
            return None;
        }
        let answer = Digest::of(Domain::Answer, &codec::encode(&(reply.sequence, &reply.outcome)));
        match self.answers.iter_mut().find(|(replica, _)| *replica == from) {
            Some((_, earlier)) => *earlier = answer,
            None => self.answers.push((from, answer)),
        }
        let votes = self.answers.iter().filter(|(_, other)| *other == answer).count();
        enough.reached(votes).then(|| (reply.sequence, reply.outcome.clone()))
    }
}

/// Only request 0 opens the session, and opening is all that it does.
fn is_possible(number: RequestNumber, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Opened => number.0 == 0,
        Outcome::Executed(_) => number.0 != 0,
        Outcome::Refused(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pbft_messages::{SessionId, View};

    use super::*;

    /// R1: an answer takes as much room as any other, however large it is.
    #[test]
    fn large_answers_take_no_room() {
        let digest = Digest::of(Domain::Request, b"asked");
        let mut votes = Votes::new(digest);
        let large = Bytes::from(vec![0; 8 << 20]);
        let reply = Reply {
            view: View(0),
            session: SessionId(1),
            number: RequestNumber(1),
            digest,
            sequence: Sequence(1),
            outcome: Outcome::Executed(large.clone()),
        };
        assert_eq!(votes.insert(ReplicaId(0), &reply, WeakQuorum::of(4)), None);
        drop(reply);
        assert!(large.is_unique(), "nobody else holds it");
    }
}
