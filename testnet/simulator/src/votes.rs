//! Which COMMITs have reached each replica: it acts on no batch that a quorum has not committed (I6).

use std::collections::{BTreeSet, HashMap};

use pbft_crypto::Digest;
use pbft_messages::{Commit, Message, ReplicaId, Sequence, View};

use crate::InstanceId;

/// The voters that each instance knows of.
#[derive(Default)]
pub(crate) struct Votes(HashMap<(InstanceId, Sequence, View, Digest), BTreeSet<ReplicaId>>);

impl Votes {
    /// An instance receives a message that it believes.
    pub(crate) fn hears(&mut self, at: InstanceId, message: &Message) {
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

    /// How many replicas have committed a batch as far as an instance knows, itself counted.
    pub(crate) fn committed(&self, at: InstanceId, me: ReplicaId, vote: &Commit) -> usize {
        let others = self.0.get(&(at, vote.sequence, vote.view, vote.digest));
        1 + others.map_or(0, |others| others.iter().filter(|voter| **voter != me).count())
    }

    fn count(&mut self, at: InstanceId, vote: &Commit, voters: impl IntoIterator<Item = ReplicaId>) {
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
        let [me, other] = [0, 1].map(InstanceId);
        let mut votes = Votes::default();
        votes.count(me, &vote(b"a"), [0, 1, 1, 2].map(ReplicaId));
        votes.count(me, &vote(b"b"), [ReplicaId(3)]);
        let committed = |at, name| votes.committed(at, ReplicaId(0), &vote(name));
        assert_eq!([committed(me, b"a"), committed(me, b"b"), committed(other, b"a")], [3, 2, 1]);
    }
}
