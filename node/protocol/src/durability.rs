//! What waits for the disk (section D), and the reservation that lets PRE-PREPARE and PREPARE leave without a
//! write of their own (D2).

use std::collections::VecDeque;

use pbft_crypto::{Signed, Verified, mutant};
use pbft_messages::{Commit, PeerMessage, Proven, Sequence, StableCertificate, View, ViewChange};

use crate::replica::Replica;
use crate::{CleanShutdown, Effect, Effects, Now, Record, WriteId};

/// The writes under way.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    last: WriteId,
    awaiting: VecDeque<(WriteId, Awaited)>,
    /// Up to where votes of the active view are reserved once all issued writes are durable.
    reserved: Sequence,
    /// Up to where they are durably reserved.
    reserved_durably: Sequence,
    /// The highest stable checkpoint that was written since the start.
    stable: Sequence,
}

/// What this replica does once a write is durable, besides the effects inside the write.
#[derive(Debug)]
pub(crate) enum Awaited {
    /// A prepared certificate is durable: this replica's COMMIT counts (D1).
    Prepared(Verified<Commit>),
    /// This replica's VIEW-CHANGE is durable: it may be sent again (D3).
    ViewChange(Signed<ViewChange>),
    /// Entering the view is durable, with the checkpoint that it starts from (D3).
    ViewEntered(View, Option<Proven<StableCertificate>>),
    /// A stable certificate is durable: h moves (C1).
    Stable(Proven<StableCertificate>),
    /// The root of a snapshot is durable: this replica's CHECKPOINT counts (C1).
    Snapshot(Sequence),
    /// This replica has recovered (D8).
    Recovered,
    /// The view's reservation reaches further.
    Reservation(View, Sequence),
}

impl Replica {
    /// Issues a durable write.
    pub(crate) fn persist(
        &mut self,
        records: Vec<Record>,
        then: Vec<Effect>,
        awaited: impl IntoIterator<Item = Awaited>,
        effects: &mut Effects,
    ) {
        let id = WriteId(self.writes.last.0 + 1);
        self.writes.last = id;
        self.writes.awaiting.extend(awaited.into_iter().map(|awaited| (id, awaited)));
        effects.push(Effect::Persist { id, records, then });
    }

    pub(crate) fn on_durable(&mut self, id: WriteId, now: Now, effects: &mut Effects) {
        while let Some((_, awaited)) = self.writes.awaiting.pop_front_if(|(write, _)| *write <= id) {
            match awaited {
                Awaited::Reservation(view, through) => {
                    if view == self.view.active {
                        self.writes.reserved_durably = through;
                    }
                }
                // A replica that has stopped votes no more, whatever becomes durable.
                _ if self.stopped => {}
                Awaited::Prepared(commit) => self.on_prepared_durable(commit, effects),
                Awaited::ViewChange(signed) => self.view.own_view_change = Some(signed),
                Awaited::ViewEntered(view, stable) => self.on_view_entry_durable(view, stable, now, effects),
                Awaited::Stable(certificate) => self.on_stable_durable(certificate, now, effects),
                Awaited::Snapshot(sequence) => self.on_snapshot_durable(sequence, now, effects),
                Awaited::Recovered => self.on_recovered(now, effects),
            }
        }
    }

    /// Broadcasts a PRE-PREPARE or PREPARE of the active view once a durable reservation covers it. The
    /// reservation is written ahead, by one checkpoint interval, so that it seldom has to wait.
    pub(crate) fn broadcast_reserved(
        &mut self,
        sequence: Sequence,
        message: PeerMessage,
        effects: &mut Effects,
    ) {
        let stride = self.parameters().checkpoint_interval;
        if self.is_reserved(sequence) {
            effects.broadcast(message);
            if sequence.plus(stride / 2) <= self.writes.reserved {
                return;
            }
            self.reserve(sequence.plus(stride), vec![], effects);
        } else {
            // Writes become durable in order, so a reservation that was issued before is covered by this write.
            self.reserve(sequence.plus(stride), vec![Effect::Broadcast(message)], effects);
        }
    }

    /// The highest stable checkpoint whose certificate is durable, or on its way to the disk: h when all that was
    /// issued is durable.
    #[must_use]
    pub fn stable_when_written(&self) -> Sequence {
        self.stable_sequence().max(self.writes.stable)
    }

    /// Whether the certificate of a stable checkpoint is still to be written; the caller writes it. One below another
    /// whose write is under way must not take its place: h would fall with a restart (C1).
    pub(crate) fn stable_to_write(&mut self, sequence: Sequence) -> bool {
        let newer = sequence > self.stable_when_written() || mutant!("stable-record-falls");
        if newer {
            self.writes.stable = sequence;
            self.forget_passed_over();
        }
        newer
    }

    /// Whether a place is above the log and covered by a checkpoint that is still being written: a view that goes on from
    /// there has no use for it.
    pub(crate) fn is_passed_over(&self, sequence: Sequence) -> bool {
        sequence > self.log_end() && sequence <= self.stable_when_written()
    }

    /// Forgets what views were to carry over from checkpoints below the one that is written now. However many views
    /// begin, or are about to, while a disk is slow, there is one window of it (R1).
    fn forget_passed_over(&mut self) {
        let (end, covered) = (self.log_end(), self.stable_when_written());
        self.log.forget(end, covered);
        self.wanted.retain(|(_, sequence)| *sequence <= end || *sequence > covered);
    }

    fn reserve(&mut self, through: Sequence, then: Vec<Effect>, effects: &mut Effects) {
        let (records, awaited) = self.reservation(through);
        self.persist(records, then, awaited, effects);
    }

    /// The record of a reservation in the active view, which never falls, and what to do when it is durable.
    pub(crate) fn reservation(&mut self, through: Sequence) -> (Vec<Record>, Option<Awaited>) {
        if through <= self.writes.reserved {
            return (vec![], None);
        }
        self.writes.reserved = through;
        let view = self.view.active;
        (vec![Record::Reservation(view, through)], Some(Awaited::Reservation(view, through)))
    }

    /// Whether votes at this place may leave without waiting.
    pub(crate) fn is_reserved(&self, sequence: Sequence) -> bool {
        sequence <= self.writes.reserved_durably
    }

    /// Starts the reservations of a new view.
    pub(crate) fn restart_reservation(&mut self) {
        (self.writes.reserved, self.writes.reserved_durably) = (Sequence(0), Sequence(0));
    }

    /// Takes over the reservation that the store held at boot.
    pub(crate) fn restore_reservation(&mut self, through: Sequence) {
        (self.writes.reserved, self.writes.reserved_durably) = (through, through);
    }

    /// Writes what this replica voted on in its view, so that it need not abstain when it starts again (D2).
    pub(crate) fn on_shutdown(&mut self, effects: &mut Effects) {
        self.stopped = true;
        // Who abstains does not know all that it voted for, and must go on abstaining (fault 13).
        let abstains = self.view.abstains_through > self.view.max_s.max(self.stable_sequence());
        if !self.view.durable || abstains || self.recovery.is_some() {
            return;
        }
        let accepted = self
            .log
            .above(self.stable_sequence())
            .filter_map(|(_, slot)| slot.accepted.as_ref().map(|header| header.signed().clone()))
            .collect();
        let shutdown = CleanShutdown { view: self.view.active, accepted };
        self.persist(vec![Record::Shutdown(Some(shutdown))], vec![], None, effects);
    }
}
