use pbft_crypto::Digest;
use pbft_messages::{Outcome, ReplicaId, Reply, RequestNumber, Sequence, WeakQuorum};

/// The answers to one request, one a replica, until f+1 of them agree (N5).
#[derive(Debug)]
pub(super) struct Votes {
    /// The request's own digest: an answer to anything else is no answer.
    digest: Digest,
    /// Each replica's latest answer. At most n entries, mostly f+1: a list is quicker than a map.
    answers: Vec<(ReplicaId, Sequence, Outcome)>,
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
        let answer = (from, reply.sequence, reply.outcome.clone());
        match self.answers.iter_mut().find(|(replica, ..)| *replica == from) {
            Some(earlier) => *earlier = answer,
            None => self.answers.push(answer),
        }
        let same = |(_, sequence, outcome): &&(ReplicaId, Sequence, Outcome)| {
            *sequence == reply.sequence && *outcome == reply.outcome
        };
        let votes = self.answers.iter().filter(same).count();
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
