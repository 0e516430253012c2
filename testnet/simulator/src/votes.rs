//! Which COMMITs have reached each replica: it acts on no batch that a quorum has not committed (I6).

use std::collections::{BTreeSet, HashMap};

use pbft_crypto::Digest;
use pbft_messages::{Commit, Message, ReplicaId, Sequence, View};

use crate::InstanceId;

/// A run of an instance: what an earlier one had heard is forgotten.
type Run = (InstanceId, u64);

/// The voters that each run knows of.
#[derive(Default)]
pub(crate) struct Votes(HashMap<(Run, Sequence, View, Digest), BTreeSet<ReplicaId>>);

impl Votes {
    /// An instance receives a message that it believes.
    pub(crate) fn hears(&mut self, at: Run, message: &Message) {
        match message {
            Message::Commit(vote) => self.count(at, vote.value(), [vote.signer()]),
            Message::Committed(certificate, _) => {
                let certificate = certificate.get();
                let voters = certificate.signatures.iter().map(|(voter, _)| *voter);
                self.count(at, &certificate.statement, voters);
            }
            _ => {}
        }
    }

    /// An instance sends a COMMIT: it has voted itself.
    pub(crate) fn says(&mut self, at: Run, me: ReplicaId, vote: &Commit) {
        self.count(at, vote, [me]);
    }

    /// How many replicas have committed a batch as far as a run knows.
    pub(crate) fn committed(&self, at: Run, vote: &Commit) -> usize {
        self.0.get(&(at, vote.sequence, vote.view, vote.digest)).map_or(0, BTreeSet::len)
    }

    fn count(&mut self, at: Run, vote: &Commit, voters: impl IntoIterator<Item = ReplicaId>) {
        self.0.entry((at, vote.sequence, vote.view, vote.digest)).or_default().extend(voters);
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::Domain;

    use super::*;

    #[test]
    fn each_voter_counts_once_and_for_what_it_voted_for() {
        let digest = |name: &[u8]| Digest::of(Domain::Batch, name);
        let vote = |name| Commit { view: View(1), sequence: Sequence(2), digest: digest(name) };
        let [me, later, other] = [(0, 1), (0, 2), (1, 1)].map(|(at, run)| (InstanceId(at), run));
        let mut votes = Votes::default();
        votes.count(me, &vote(b"a"), [1, 1, 2].map(ReplicaId));
        votes.count(me, &vote(b"b"), [ReplicaId(3)]);
        let count = |votes: &Votes, at, name| votes.committed(at, &vote(name));
        assert_eq!(count(&votes, me, b"a"), 2, "it has not voted itself");
        votes.says(me, ReplicaId(0), &vote(b"a"));
        assert_eq!([me, later, other].map(|at| count(&votes, at, b"a")), [3, 0, 0]);
        assert_eq!(count(&votes, me, b"b"), 1);
    }
}
