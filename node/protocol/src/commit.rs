//! COMMIT (OSDI'99 §4.2; N4): a quorum of them decides the batch.

use std::sync::Arc;

use pbft_crypto::Verified;
use pbft_messages::{Body, Commit, CommittedCertificate, Message, Proven, ReplicaId, Sequence};

use crate::replica::Replica;
use crate::{Effect, Effects, Halt, Now, Record, Rejection, Report};

impl Replica {
    /// A replica's second vote. It counts in a view change too: what a quorum committed is decided (N4).
    pub(crate) fn on_commit(
        &mut self,
        from: ReplicaId,
        vote: Verified<Commit>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Commit { view, sequence, .. } = *vote.value();
        if view > self.view.active {
            return self.ahead.keep(from, view, Message::Commit(vote));
        }
        self.compare_commit(&vote, now, effects);
        if view < self.view.active {
            return self.reject(from, Rejection::OldView, effects);
        }
        if let Some(reason) = self.out_of_log(sequence) {
            return self.reject(from, reason, effects);
        }
        // It has been compared with the first one.
        let _ = self.log.slot(sequence).commits.insert(vote);
        self.try_committed(sequence, effects);
    }

    /// This replica's certificate is durable, and its COMMIT has left: now it counts here too.
    pub(crate) fn on_prepared_durable(&mut self, commit: Verified<Commit>, effects: &mut Effects) {
        let Commit { view, sequence, .. } = *commit.value();
        if view != self.view.active {
            return;
        }
        if let Some(slot) = self.log.get_mut(sequence) {
            // A replica commits once to a place in a view, so there is no conflict with itself.
            let _ = slot.commits.insert(commit);
            self.try_committed(sequence, effects);
        }
    }

    /// Decides the batch once a quorum has committed to it.
    pub(crate) fn try_committed(&mut self, sequence: Sequence, effects: &mut Effects) {
        let quorum = self.configuration.quorum();
        let slot = self.log.get(sequence).filter(|slot| slot.committed.is_none());
        if let Some(certificate) = slot.and_then(|slot| slot.commits.quorum(quorum)) {
            self.take_committed(certificate, effects);
        }
    }

    /// A certificate from a replica that saw this one lacks it (C4).
    pub(crate) fn on_committed(
        &mut self,
        certificate: Proven<CommittedCertificate>,
        body: Arc<Body>,
        now: Now,
        effects: &mut Effects,
    ) {
        let sequence = certificate.get().statement.sequence;
        // Several replicas may hand it over, so one that is not needed is no offence.
        if self.out_of_log(sequence).is_some() {
            return;
        }
        self.compare_certified_commits(&certificate, now, effects);
        if sequence <= self.last_executed {
            return;
        }
        let slot = self.log.slot(sequence);
        slot.keep(body);
        let lacked_body = slot.committed.is_some();
        self.take_committed(certificate, effects);
        if lacked_body {
            self.note_decided_body(sequence, effects);
        }
    }

    /// Takes a batch as decided, in whatever view this replica is. It is noted for a restart (D4), without waiting.
    fn take_committed(&mut self, certificate: Proven<CommittedCertificate>, effects: &mut Effects) {
        let Commit { view, sequence, digest } = certificate.get().statement;
        let slot = self.log.slot(sequence);
        let prepared = slot.prepared_in(view).map(|held| held.get().proposal().digest);
        let decided = slot.committed.as_ref().map(|held| held.get().statement.digest);
        if prepared.into_iter().chain(decided).any(|held| held != digest) {
            return self.halt(Halt::ConflictingCertificates { view, sequence }, effects);
        }
        if decided.is_some() {
            return;
        }
        effects.push(Effect::Note(vec![Record::Committed(certificate.get().clone())]));
        slot.committed = Some(certificate);
        slot.due_since = None;
        effects.report(Report::Committed { view, sequence, digest });
        if slot.body(&digest).is_none() {
            self.wanted.insert((digest, sequence));
        }
        self.note_decided_body(sequence, effects);
    }

    /// Notes the body of a decided batch, unless its write was issued with a prepared certificate.
    pub(crate) fn note_decided_body(&mut self, sequence: Sequence, effects: &mut Effects) {
        let Some(slot) = self.log.get_mut(sequence) else { return };
        let Some(digest) = slot.committed.as_ref().map(|certificate| certificate.get().statement.digest)
        else {
            return;
        };
        if let Some(body) = slot.body_to_store(&digest) {
            self.wanted.remove(&(digest, sequence));
            effects.push(Effect::Note(vec![Record::Body(sequence, body)]));
        }
    }
}
