//! Contradictions with what certificates hold (section E): each vote in one is a signed statement like any other, and is
//! compared with what is kept of its signer at that place. A liar may be heard by one replica alone, and be part of what
//! the others hand it.

use pbft_crypto::Verified;
use pbft_messages::{
    Checkpoint, Commit, Conflict, Prepare, PreparedCertificate, StableCertificate, ViewChange,
};

use crate::replica::Replica;
use crate::{Effects, Now};

impl Replica {
    /// Compares a prepared certificate of the active view, at a place within the log.
    pub(crate) fn compare_prepared(
        &mut self,
        certificate: &PreparedCertificate,
        now: Now,
        effects: &mut Effects,
    ) {
        let sequence = certificate.proposal().sequence;
        let votes = self.log.get(sequence).into_iter().flat_map(|slot| slot.prepares.iter());
        let conflicts =
            votes.filter_map(|vote| certificate.prepares.conflict_with(vote, &self.configuration));
        for conflict in conflicts.collect::<Vec<_>>() {
            self.accuse(conflict, now, effects);
        }
        self.sight_proposal(sequence, certificate.header.clone(), now, effects);
    }

    /// Compares a PREPARE of the active view with the certificate that is held.
    pub(crate) fn compare_prepare(&mut self, vote: &Verified<Prepare>, now: Now, effects: &mut Effects) {
        let held = self.log.get(vote.value().sequence).and_then(|slot| slot.prepared.as_ref());
        let conflict = held.and_then(|it| it.get().prepares.conflict_with(vote, &self.configuration));
        if let Some(conflict) = conflict {
            self.accuse(conflict, now, effects);
        }
    }

    /// Compares a stable certificate with the votes that are kept.
    pub(crate) fn compare_stable(
        &mut self,
        certificate: &StableCertificate,
        now: Now,
        effects: &mut Effects,
    ) {
        let votes = self.checkpoints.get(&certificate.statement.sequence);
        let votes = votes.into_iter().flat_map(|votes| votes.iter());
        let conflicts = votes.filter_map(|vote| certificate.conflict_with(vote, &self.configuration));
        for conflict in conflicts.collect::<Vec<_>>() {
            self.accuse(conflict, now, effects);
        }
    }

    /// Compares a vote for a checkpoint with the last stable certificate.
    pub(crate) fn compare_checkpoint(
        &mut self,
        vote: &Verified<Checkpoint>,
        now: Now,
        effects: &mut Effects,
    ) {
        let stable = self.stable.as_ref();
        if let Some(conflict) = stable.and_then(|it| it.get().conflict_with(vote, &self.configuration)) {
            self.accuse(conflict, now, effects);
        }
    }

    /// The contradiction between a COMMIT and what is known of its signer at that place: alone, in the active view or the
    /// last before, or in the certificate that decided.
    pub(crate) fn conflict_with_commits(&self, commit: &Verified<Commit>) -> Option<Conflict<Commit>> {
        let (slot, signer) = (self.log.get(commit.value().sequence)?, commit.signer());
        let mut heard = [slot.commits.of(signer), slot.former_commit_of(signer)].into_iter().flatten();
        let decided = || slot.committed.as_ref()?.get().conflict_with(commit, &self.configuration);
        heard.find_map(|heard| Conflict::between(heard, commit)).or_else(decided)
    }

    /// Compares what a VIEW-CHANGE shows, which may be a whole window.
    pub(crate) fn compare_shown(&mut self, view_change: &ViewChange, now: Now, effects: &mut Effects) {
        if let Some(certificate) = &view_change.stable {
            self.compare_stable(certificate, now, effects);
        }
        for certificate in &view_change.prepared {
            let Prepare { view, sequence, .. } = *certificate.proposal();
            if view == self.view.active && self.log.get(sequence).is_some() {
                self.compare_prepared(certificate, now, effects);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{EvidenceKind, Message, Parameters, PrePrepare, Proven, ReplicaId, Sequence, View};

    use super::*;
    use crate::testing::{Bench, digest};
    use crate::{Input, WriteId};

    /// What the liar says, handed over in both orders: a vote of its own, and a certificate that its other vote is part
    /// of.
    #[track_caller]
    fn compares(what: impl Fn(&Bench) -> [(u16, Message); 2], accused: (u16, EvidenceKind, u64, u64)) {
        for reversed in [false, true] {
            let mut bench =
                Bench::new(Parameters { checkpoint_interval: 4, window: 8, ..Parameters::default() });
            let mut messages = what(&bench);
            if reversed {
                messages.reverse();
            }
            let [first, second] = messages;
            bench.message(ReplicaId(first.0), first.1);
            assert_eq!(bench.accused(), []);
            bench.message(ReplicaId(second.0), second.1);
            assert_eq!(bench.accused(), [accused], "reversed: {reversed}");
        }
    }

    fn prepare(bench: &Bench, from: u16, name: u64) -> Message {
        let (view, sequence, digest) = (View(0), Sequence(1), digest(name));
        let header = bench.sign(ReplicaId(0), PrePrepare { view, sequence, digest });
        let vote = bench.sign(ReplicaId(from), Prepare { view, sequence, digest });
        Message::Prepare(vote, *header.signed().signature())
    }

    #[test]
    fn prepares_in_a_certificate_are_compared() {
        let handed = |bench: &Bench| {
            let body = bench.body(1, 10);
            let certificate = bench.prepared_batch(0, 1, body.digest());
            Message::Prepared(Proven::new(certificate, &bench.configuration).unwrap(), body)
        };
        // Nobody's signature is beside the vote: the primary is not to be accused here.
        let vote = |bench: &Bench| {
            let value = Prepare { view: View(0), sequence: Sequence(1), digest: digest(2) };
            let vote = bench.sign(ReplicaId(1), value);
            let signature = *vote.signed().signature();
            Message::Prepare(vote, signature)
        };
        compares(|it| [(1, vote(it)), (2, handed(it))], (1, EvidenceKind::Prepare, 0, 1));
    }

    #[test]
    fn the_proposal_in_a_certificate_is_compared() {
        let handed = |bench: &Bench| {
            let body = bench.body(1, 10);
            let certificate = bench.prepared_batch(0, 1, body.digest());
            Message::Prepared(Proven::new(certificate, &bench.configuration).unwrap(), body)
        };
        // r3 is this replica, which has not voted: nobody else contradicts itself.
        compares(|it| [(3, prepare(it, 3, 2)), (2, handed(it))], (0, EvidenceKind::PrePrepare, 0, 1));
    }

    #[test]
    fn commits_in_a_certificate_are_compared() {
        let handed = |bench: &Bench| {
            let body = bench.body(1, 10);
            let mut votes = pbft_messages::VoteSet::default();
            for replica in [0, 1, 2].map(ReplicaId) {
                let value = Commit { view: View(0), sequence: Sequence(1), digest: body.digest() };
                votes.insert(bench.sign(replica, value)).unwrap();
            }
            Message::Committed(votes.quorum(bench.configuration.quorum()).unwrap(), body)
        };
        let other = |bench: &Bench| Message::Commit(bench.commit(1, 0, 1, 2));
        compares(|it| [(1, other(it)), (2, handed(it))], (1, EvidenceKind::Commit, 0, 1));
    }

    #[test]
    fn votes_in_a_stable_certificate_are_compared() {
        let handed =
            |bench: &Bench| Message::Stable(Proven::new(bench.stable(4), &bench.configuration).unwrap());
        let other = |bench: &Bench| {
            let vote = Checkpoint { sequence: Sequence(4), root: digest(2) };
            Message::Checkpoint(bench.sign(ReplicaId(1), vote))
        };
        compares(|it| [(1, other(it)), (2, handed(it))], (1, EvidenceKind::Checkpoint, 0, 4));
    }

    /// Formed here or handed over: the disk takes its time, and the liar says the other thing meanwhile.
    #[test]
    fn votes_that_come_while_a_stable_certificate_is_written_are_compared() {
        for handed_over in [false, true] {
            let mut bench =
                Bench::new(Parameters { checkpoint_interval: 4, window: 8, ..Parameters::default() });
            bench.disk_stands_still = true;
            let certificate = bench.stable(4);
            if handed_over {
                let certificate = Proven::new(certificate, &bench.configuration).unwrap();
                bench.message(ReplicaId(1), Message::Stable(certificate));
            } else {
                for from in [0, 1, 2].map(ReplicaId) {
                    let vote = bench.sign(from, certificate.statement.clone());
                    bench.message(from, Message::Checkpoint(vote));
                }
            }
            let vote = Checkpoint { sequence: Sequence(4), root: digest(2) };
            bench.message(ReplicaId(1), Message::Checkpoint(bench.sign(ReplicaId(1), vote)));
            // The next one goes to the disk before the first is there.
            let next = Proven::new(bench.stable(8), &bench.configuration).unwrap();
            bench.message(ReplicaId(2), Message::Stable(next));
            assert_eq!(bench.replica.stable_sequence(), Sequence(0));
            bench.input(Input::Durable(WriteId(u64::MAX)));
            assert_eq!(bench.replica.stable_sequence(), Sequence(8));
            assert_eq!(bench.accused(), [(1, EvidenceKind::Checkpoint, 0, 4)], "handed over: {handed_over}");
        }
    }

    #[test]
    fn what_a_view_change_shows_is_compared() {
        let mut bench = Bench::new(Parameters { checkpoint_interval: 4, window: 8, ..Parameters::default() });
        let vote = Checkpoint { sequence: Sequence(4), root: digest(2) };
        bench.message(ReplicaId(2), Message::Checkpoint(bench.sign(ReplicaId(2), vote)));
        bench.message(ReplicaId(1), {
            let value = Prepare { view: View(0), sequence: Sequence(5), digest: digest(2) };
            let vote = bench.sign(ReplicaId(1), value);
            let signature = *vote.signed().signature();
            Message::Prepare(vote, signature)
        });
        let value = ViewChange {
            view: View(1),
            stable: Some(bench.stable(4)),
            prepared: vec![bench.prepared(0, 5, 1)],
        };
        bench.message(ReplicaId(2), Message::ViewChange(bench.sign(ReplicaId(2), value)));
        assert_eq!(bench.accused(), [(1, EvidenceKind::Prepare, 0, 5), (2, EvidenceKind::Checkpoint, 0, 4)]);
    }
}
