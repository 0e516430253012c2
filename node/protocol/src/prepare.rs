//! PREPARE (OSDI'99 §4.2; N3): backups vouch for the primary's proposal, and enough of them make it prepared.

use std::sync::Arc;

use pbft_crypto::{Signature, Verified, mutant};
use pbft_messages::{
    Body, Commit, Message, PeerMessage, PrePrepare, Prepare, PreparedCertificate, Proven, ReplicaId, Sequence,
};

use crate::durability::Awaited;
use crate::replica::Replica;
use crate::{Effect, Effects, Halt, Now, Record, Rejection, Report};

impl Replica {
    /// A backup's vote, with the primary's signature under the proposal that it is for.
    pub(crate) fn on_prepare(
        &mut self,
        from: ReplicaId,
        vote: Verified<Prepare>,
        signature: Signature,
        now: Now,
        effects: &mut Effects,
    ) {
        let Prepare { view, sequence, .. } = *vote.value();
        if view > self.view.active {
            return self.ahead.keep(from, view, Message::Prepare(vote, signature));
        }
        if view < self.view.active {
            return self.reject(from, Rejection::OldView, effects);
        }
        if let Some(reason) = self.out_of_log(sequence) {
            return self.reject(from, reason, effects);
        }
        self.compare_prepare(&vote, now, effects);
        let header = PrePrepare::voted_for(vote.value(), signature, &self.configuration);
        if let Err(conflict) = self.log.slot(sequence).prepares.insert(vote) {
            self.accuse(*conflict, now, effects);
        }
        self.sight_proposal(sequence, header, now, effects);
        self.try_prepared(sequence, now, effects);
    }

    /// Sends this backup's PREPARE once the proposal is accepted and its body in hand (N3).
    pub(crate) fn try_prepare(&mut self, sequence: Sequence, effects: &mut Effects) {
        if self.is_primary()
            || !self.may_vote()
            || sequence <= self.stable_sequence()
            || sequence > self.high()
        {
            return;
        }
        let Some(slot) = self.log.get(sequence) else { return };
        let Some(header) = slot.accepted.clone() else { return };
        let PrePrepare { view, digest, .. } = *header.value();
        if slot.prepares.of(self.me).is_some() || slot.body(&digest).is_none() || self.abstains(sequence) {
            return;
        }
        let vote = self.sign(Prepare { view, sequence, digest });
        let message = PeerMessage::Prepare(vote.signed().clone(), *header.signed().signature());
        // There is no own vote here yet, so there is nothing to conflict with.
        let _ = self.log.slot(sequence).prepares.insert(vote);
        self.broadcast_reserved(sequence, message, effects);
    }

    /// Whether this replica may have voted otherwise at this place before it stopped (D2, fault 13).
    fn abstains(&self, sequence: Sequence) -> bool {
        let own_vote_is_known = || {
            let slot = self.log.get(sequence);
            let certificate = slot.and_then(|slot| slot.prepared_in(self.view.active));
            certificate.is_some_and(|certificate| certificate.get().holds_prepare_of(self.me))
        };
        let restarted = sequence <= self.view.abstains_through && !mutant!("votes-forgotten");
        restarted && sequence > self.view.max_s && !own_vote_is_known()
    }

    /// Forms the prepared certificate once the votes and the body are there.
    pub(crate) fn try_prepared(&mut self, sequence: Sequence, now: Now, effects: &mut Effects) {
        let (view, quorum) = (self.view.active, self.configuration.quorum());
        let Some(slot) = self.log.get(sequence).filter(|slot| slot.prepared_in(view).is_none()) else {
            return;
        };
        if slot.prepares.len() < quorum.prepares() {
            return;
        }
        let Some(header) = slot.accepted.clone().or_else(|| self.sighted(sequence)) else { return };
        let Some(certificate) = Proven::prepared(&header, &slot.prepares, quorum) else { return };
        let digest = header.value().digest;
        if slot.body(&digest).is_some() || mutant!("commit-without-body") {
            self.take_prepared(certificate, now, effects);
        } else {
            // No COMMIT without the body: a certificate whose body nobody kept helps nobody (fault 32).
            self.wanted.insert((digest, sequence));
        }
    }

    /// A certificate from a replica that saw this one lacks it (C4).
    pub(crate) fn on_prepared(
        &mut self,
        from: ReplicaId,
        certificate: Proven<PreparedCertificate>,
        body: Arc<Body>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Prepare { view, sequence, .. } = *certificate.get().proposal();
        if view != self.view.active {
            return self.reject(from, Rejection::OldView, effects);
        }
        if let Some(reason) = self.out_of_log(sequence) {
            return self.reject(from, reason, effects);
        }
        self.compare_prepared(certificate.get(), now, effects);
        self.log.slot(sequence).keep(body);
        self.take_prepared(certificate, now, effects);
    }

    /// Makes a certificate of the active view durable, with its body; the COMMIT leaves with that write (D1). A
    /// replica need not have PREPAREd for this (C4).
    fn take_prepared(&mut self, certificate: Proven<PreparedCertificate>, now: Now, effects: &mut Effects) {
        let Prepare { view, sequence, digest } = *certificate.get().proposal();
        if !self.may_vote() || sequence <= self.stable_sequence() || sequence > self.high() {
            return;
        }
        let slot = self.log.slot(sequence);
        if let Some(held) = slot.prepared_in(view) {
            if held.get().proposal().digest != digest {
                self.halt(Halt::ConflictingCertificates { view, sequence }, effects);
            }
            return;
        }
        let mut records = vec![Record::Prepared(certificate.get().clone())];
        records.extend(slot.body_to_store(&digest).map(|body| Record::Body(sequence, body)));
        if slot.accepted.is_none() {
            // It was checked as part of the certificate.
            slot.accepted = certificate.get().header.clone().verify(&self.configuration).ok();
        }
        slot.prepared = Some(certificate);
        slot.due_since = slot.committed.is_none().then_some(self.patience.at(now.instant));
        effects.report(Report::Prepared { view, sequence, digest });
        let commit = self.sign(Commit { view, sequence, digest });
        let mut then = vec![Effect::Broadcast(PeerMessage::Commit(commit.signed().clone()))];
        if mutant!("commit-before-durable") {
            then.drain(..).for_each(|commit| effects.push(commit));
        }
        if mutant!("body-written-apart") {
            self.persist(records.drain(..1).collect(), std::mem::take(&mut then), None, effects);
        }
        self.persist(records, then, [Awaited::Prepared(commit)], effects);
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Parameters, View};

    use super::*;
    use crate::testing::Bench;

    /// D3: what is certified in a view that this replica has left is no matter for its COMMIT.
    #[test]
    fn no_commit_leaves_in_a_view_that_was_left() {
        for leaves in [false, true] {
            let mut bench = Bench::new(Parameters::default());
            for from in [1, 2].into_iter().filter(|_| leaves) {
                let asks = bench.bare_view_change(from, 1);
                bench.message(ReplicaId(from), Message::ViewChange(asks));
            }
            assert_eq!(bench.replica.view.pending, leaves.then_some(View(1)));
            let body = bench.body(1, 10);
            let certificate = bench.prepared_batch(0, 1, body.digest());
            let certificate = Proven::new(certificate, &bench.configuration).expect("it is good");
            bench.message(ReplicaId(1), Message::Prepared(certificate, body));
            let commit = |it: &Effect| matches!(it, Effect::Broadcast(PeerMessage::Commit(_)));
            assert_eq!(bench.effects.iter().any(commit), !leaves);
        }
    }
}
