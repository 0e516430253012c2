//! NEW-VIEW (OSDI'99 §4.4; VC4 to VC6): the new primary opens its view, and everybody enters it.

use std::collections::{BTreeMap, BTreeSet};

use pbft_crypto::{Digest, Signed, Verified, mutant};
use pbft_messages::{
    Body, CarriedOver, Checkpoint, Conflict, ConflictingCertificates, NewView, PeerMessage, PrePrepare,
    Proven, ReplicaId, Sequence, StableCertificate, View, ViewChange,
};

use crate::durability::Awaited;
use crate::replica::{Replica, requests_in_log};
use crate::silence::Silence;
use crate::{Effect, Effects, Halt, Now, Record, Rejection, Report, ViewChangeReason};

impl Replica {
    /// Opens the pending view, if this replica is its primary, a quorum asks for it, and every body that it
    /// re-proposes above this replica's own checkpoint is held (VC4).
    pub(crate) fn try_new_view(&mut self, now: Now, effects: &mut Effects) {
        let Some(view) = self.view.pending.filter(|view| self.configuration.primary(*view) == self.me) else {
            return;
        };
        let quorum = self.configuration.quorum().get();
        let mut candidates: Vec<_> =
            self.view.view_changes.values().filter(|it| it.value().view == view).cloned().collect();
        while candidates.len() >= quorum {
            let chosen = &candidates[..quorum];
            let carried = match CarriedOver::from_view_changes(chosen.iter().map(Verified::value)) {
                Ok(carried) => carried,
                Err(ConflictingCertificates { view, sequence }) => {
                    return self.halt(Halt::ConflictingCertificates { view, sequence }, effects);
                }
            };
            // What O takes must be within this replica's log, so it goes on from O's checkpoint first.
            if let Some(certificate) = self.checkpoint_to_take(&carried) {
                self.on_stable(certificate, effects);
                if self.stopped {
                    return;
                }
            }
            let missing = self.missing_bodies(&carried, view);
            if missing.is_empty() {
                let view_changes = chosen.iter().map(|it| it.signed().clone()).collect();
                let headers = carried.pre_prepares(view).map(|header| self.sign(header).signed().clone());
                let new_view = NewView { view, view_changes, pre_prepares: headers.collect() };
                let opened_by = chosen.iter().map(|it| (it.signer(), it.clone())).collect();
                return self.enter_view(self.sign(new_view), opened_by, carried, now, effects);
            }
            for wanted in &missing {
                // Asked of everybody: whoever holds the certificate should hold the body (D1).
                if self.wanted.insert(*wanted) {
                    effects.broadcast(PeerMessage::FetchBody(wanted.0));
                }
            }
            // A certificate whose body nobody else keeps must not hold the view up for ever: any quorum will do.
            candidates.retain(|it| !shows_one_of(it.value(), &missing));
        }
    }

    /// The bodies that O takes above this replica's checkpoint and that are not held.
    fn missing_bodies(&self, carried: &CarriedOver, view: View) -> BTreeSet<(Digest, Sequence)> {
        let low = self.stable_when_written();
        carried
            .pre_prepares(view)
            .filter(|header| header.sequence > low && !self.holds_body(header))
            .map(|header| (header.digest, header.sequence))
            .collect()
    }

    /// The checkpoint that O starts from, if it is above this replica's.
    fn checkpoint_to_take(&self, carried: &CarriedOver) -> Option<Proven<StableCertificate>> {
        let newer =
            carried.stable.as_ref().filter(|it| it.statement.sequence > self.stable_when_written())?;
        // It was checked as part of the VIEW-CHANGEs.
        Proven::new(newer.clone(), &self.configuration).ok()
    }

    fn holds_body(&self, header: &PrePrepare) -> bool {
        let slot = self.log.get(header.sequence);
        header.digest == Body::null_digest() || slot.is_some_and(|slot| slot.body(&header.digest).is_some())
    }

    /// A NEW-VIEW that is good in every part (VC5). It suffices also for a replica that had not asked for the view.
    pub(crate) fn on_new_view(
        &mut self,
        from: ReplicaId,
        new_view: Verified<NewView>,
        now: Now,
        effects: &mut Effects,
    ) {
        let view = new_view.value().view;
        let missed = self.view.missed.as_ref().map(|it| it.value().view);
        if view == self.view.active || Some(view) == missed {
            return self.compare_new_views(&new_view, now, effects);
        }
        // A replayed quorum never moves the view back (fault 6).
        let is_past = |highest: View| view < highest && !mutant!("view-moves-back");
        if is_past(missed.unwrap_or(self.view.active)) {
            return self.reject(from, Rejection::OldView, effects);
        }
        let opened_by = self.view_changes_in(new_view.value());
        for view_change in opened_by.values() {
            self.compare_view_changes(view_change, now, effects);
            self.compare_new_view_change(view_change, now, effects);
        }
        if is_past(self.highest_view()) {
            self.view.missed = Some(new_view);
            return self.reject(from, Rejection::OldView, effects);
        }
        // What has been verified can be read.
        if let Ok(carried) = new_view.value().carried_over() {
            self.enter_view(new_view, opened_by, carried, now, effects);
        }
    }

    /// Compares a NEW-VIEW with the one that is held of its view.
    fn compare_new_views(&mut self, new_view: &Verified<NewView>, now: Now, effects: &mut Effects) {
        let held = [&self.view.new_view, &self.view.missed];
        let conflict = held.into_iter().flatten().find_map(|held| Conflict::between(held, new_view));
        // The first one convicts; only what is new in it is looked at further.
        if conflict.is_some_and(|conflict| self.accuse(conflict, now, effects)) {
            for view_change in self.view_changes_in(new_view.value()).values() {
                self.compare_view_changes(view_change, now, effects);
            }
        }
    }

    /// The VIEW-CHANGEs in a NEW-VIEW that was checked.
    pub(crate) fn view_changes_in(&self, new_view: &NewView) -> BTreeMap<ReplicaId, Verified<ViewChange>> {
        let verify = |signed: &Signed<ViewChange>| signed.clone().verify(&self.configuration).ok();
        new_view.view_changes.iter().filter_map(verify).map(|it| (it.signer(), it)).collect()
    }

    /// Enters a view (VC6). Votes leave once that is durable (D3); see [`Replica::on_view_entry_durable`].
    fn enter_view(
        &mut self,
        new_view: Verified<NewView>,
        opened_by: BTreeMap<ReplicaId, Verified<ViewChange>>,
        carried: CarriedOver,
        now: Now,
        effects: &mut Effects,
    ) {
        let view = new_view.value().view;
        let checkpoint = self.checkpoint_to_take(&carried);
        if let Some(Checkpoint { sequence, root }) = checkpoint.as_ref().map(|it| it.get().statement.clone())
            && !self.agrees_with(sequence, root, effects)
        {
            return;
        }
        let checkpoint = checkpoint.filter(|it| self.stable_to_write(it.get().statement.sequence));
        if mutant!("executed-again") {
            self.last_executed = carried.min_s();
        }
        let max_s = carried.max_s();
        self.log.leave_view(&carried.digests.iter().copied().collect());
        self.restart_reservation();
        self.patience.restart(now.instant);
        self.vigilance.enter_view(self.configuration.parameters());
        self.silence = Silence::default();
        self.next_sequence = max_s.next();
        let it = &mut self.view;
        it.active = view;
        it.durable = false;
        it.pending = None;
        it.max_s = max_s;
        it.new_view = Some(new_view.clone());
        it.missed = None;
        let mut asked = std::mem::take(&mut it.view_changes);
        it.view_changes = asked.extract_if(.., |_, held| held.value().view > view).collect();
        asked.retain(|_, held| held.value().view == view);
        it.to_active = asked.into_iter().chain(opened_by).collect();
        it.abstains_through = Sequence(0);
        it.own_view_change = None;
        it.progressed = false;
        it.deadline = None;
        self.wanted.clear();
        for header in &new_view.value().pre_prepares {
            self.accept_carried(header, carried.min_s());
        }
        self.want_decided_bodies();
        let in_log = requests_in_log(&self.log, self.last_executed);
        self.waiting.restart_proposals(&in_log);
        self.waiting.restart_passing_on();

        let signed = new_view.signed().clone();
        let mut records = vec![Record::View(view, Some(signed.clone()))];
        records.extend(checkpoint.as_ref().map(|it| Record::Stable(it.get().clone())));
        let (reservation, reserved) = self.reservation(max_s.plus(self.parameters().checkpoint_interval));
        records.extend(reservation);
        let then = match self.is_primary() && !self.keeps_silent() {
            true => vec![Effect::Broadcast(PeerMessage::NewView(signed))],
            false => vec![],
        };
        let entered = Awaited::ViewEntered(view, checkpoint);
        self.persist(records, then, reserved.into_iter().chain([entered]), effects);
        self.fetch_wanted(self.primary(), effects);
    }

    /// Accepts a proposal of O above this replica's checkpoint. Its body may have to be fetched.
    pub(crate) fn accept_carried(&mut self, header: &Signed<PrePrepare>, min_s: Sequence) {
        // It was checked as part of the NEW-VIEW.
        let Ok(header) = header.clone().verify(&self.configuration) else { return };
        let PrePrepare { sequence, digest, .. } = *header.value();
        if sequence <= self.stable_sequence().max(min_s) || self.is_passed_over(sequence) {
            return;
        }
        let slot = self.log.slot(sequence);
        if mutant!("carried-batch-judged-afresh") {
            slot.sighted = Some(header.signed().clone());
        } else {
            slot.accepted = Some(header);
        }
        if slot.body(&digest).is_none() {
            self.wanted.insert((digest, sequence));
        }
    }

    /// Entering the view is durable: this replica votes on O, and goes on with what came meanwhile.
    pub(crate) fn on_view_entry_durable(
        &mut self,
        view: View,
        stable: Option<Proven<StableCertificate>>,
        now: Now,
        effects: &mut Effects,
    ) {
        if let Some(certificate) = stable {
            self.on_stable_durable(certificate, now, effects);
        }
        if view != self.view.active {
            return;
        }
        self.view.durable = true;
        let digests = self.view.new_view.iter().flat_map(|it| &it.value().pre_prepares);
        let digests: Vec<_> =
            digests.filter_map(|header| header.peek().ok()).map(|header| header.digest).collect();
        let null = digests.iter().filter(|digest| **digest == Body::null_digest()).count();
        effects.report(Report::ViewEntered {
            view,
            primary: self.primary(),
            carried_over: digests.len(),
            null,
        });
        self.revisit_slots(now, effects);
        self.forward_to_new_primary(now, effects);
        if self.view.view_changes.contains_key(&self.primary()) && self.view.pending.is_none() {
            self.start_view_change(view.next(), ViewChangeReason::PrimaryLeft, now, effects);
        }
        for (from, message) in self.ahead.take(view) {
            self.on_message(from, message, now, effects);
        }
    }
}

/// Whether a VIEW-CHANGE holds a certificate for one of these batches at its place.
fn shows_one_of(view_change: &ViewChange, batches: &BTreeSet<(Digest, Sequence)>) -> bool {
    let proposals = view_change.prepared.iter().map(|certificate| certificate.proposal());
    proposals.into_iter().any(|proposal| batches.contains(&(proposal.digest, proposal.sequence)))
}
