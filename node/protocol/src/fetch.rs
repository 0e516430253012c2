//! Bodies that are needed and not held are fetched by their digest (N3, VC6).

use std::sync::Arc;

use pbft_crypto::Digest;
use pbft_messages::{Body, PeerMessage, ReplicaId};

use crate::log::Slot;
use crate::replica::Replica;
use crate::{Effects, Now, Rejection};

/// The most bodies asked for at a time.
const ASKED: usize = 64;

/// How many slots above the last executed one a stalled replica fetches bodies for.
const SIGHTED: usize = 64;

impl Replica {
    /// Asks one replica for the bodies that are wanted.
    pub(crate) fn fetch_wanted(&self, from: ReplicaId, effects: &mut Effects) {
        if from != self.me {
            for (digest, _) in self.wanted.iter().take(ASKED) {
                effects.send(from, PeerMessage::FetchBody(*digest));
            }
        }
    }

    /// A stalled replica wants the bodies of proposals that it knows of only by others' PREPAREs.
    pub(crate) fn want_sighted_bodies(&mut self) {
        let lacking = |slot: &Slot| slot.accepted.is_none() && slot.sighted.is_some();
        let slots = self.log.above(self.last_executed.max(self.stable_sequence())).take(SIGHTED);
        let sequences: Vec<_> =
            slots.filter(|(_, slot)| lacking(slot)).map(|(sequence, _)| sequence).collect();
        let lacks = |slot: &Slot, digest| slot.body(&digest).is_none() && slot.refused != Some(digest);
        for sequence in sequences {
            match self.sighted(sequence).map(|header| header.value().digest) {
                Some(digest) if self.log.get(sequence).is_some_and(|slot| lacks(slot, digest)) => {
                    self.wanted.insert((digest, sequence));
                }
                Some(_) => {}
                // No proposal after all: the next one that comes beside a PREPARE may be.
                None => self.log.slot(sequence).sighted = None,
            }
        }
    }

    /// Wants the bodies of decided batches that are yet to be executed.
    pub(crate) fn want_decided_bodies(&mut self) {
        for (sequence, slot) in self.log.above(self.last_executed) {
            if let Some(certificate) = slot.committed.as_ref().filter(|_| slot.decided().is_none()) {
                self.wanted.insert((certificate.get().statement.digest, sequence));
            }
        }
    }

    pub(crate) fn on_fetch_body(&mut self, from: ReplicaId, digest: Digest, effects: &mut Effects) {
        if !self.status.may_ask(from) {
            return;
        }
        if let Some(body) = self.log.body(&digest) {
            self.status.gave(from, body.operation_bytes());
            effects.send(from, PeerMessage::Body(body));
        }
    }

    /// A body: its digest is its own, so what was asked for is what came.
    pub(crate) fn on_body(&mut self, from: ReplicaId, body: Arc<Body>, now: Now, effects: &mut Effects) {
        // A client's batch may stand at several places, after a view change.
        let places: Vec<_> = self.wanted.extract_if(.., |(digest, _)| *digest == body.digest()).collect();
        if places.is_empty() {
            return self.reject(from, Rejection::Unasked, effects);
        }
        for (_, sequence) in places {
            self.log.slot(sequence).keep(Arc::clone(&body));
            self.note_decided_body(sequence, effects);
            self.try_accept(sequence, now, effects);
            self.try_prepare(sequence, effects);
            self.try_prepared(sequence, now, effects);
        }
        self.try_new_view(now, effects);
    }
}
