//! PRE-PREPARE (OSDI'99 §4.2; N2): a backup accepts the primary's proposal.

use std::sync::Arc;

use pbft_crypto::{Signed, Verified};
use pbft_messages::{Body, Conflict, Message, PrePrepare, ReplicaId, Sequence};

use crate::replica::Replica;
use crate::{Effects, Now, Rejection};

impl Replica {
    /// A proposal that the primary of its view signed, with the body that its digest binds; the submissions'
    /// signatures are good.
    pub(crate) fn on_pre_prepare(
        &mut self,
        from: ReplicaId,
        header: Verified<PrePrepare>,
        body: Arc<Body>,
        now: Now,
        effects: &mut Effects,
    ) {
        let PrePrepare { view, sequence, .. } = *header.value();
        if view > self.view.active {
            if from == header.signer() {
                self.ahead.keep(from, view, Message::Proposal(header, body));
            }
            return;
        }
        if view < self.view.active {
            return self.reject(from, Rejection::OldView, effects);
        }
        if let Some(reason) = self.out_of_log(sequence) {
            return self.reject(from, reason, effects);
        }
        self.compare_proposals(&header, now, effects);
        if let Some(reason) = self.proposal_rejection(&header, &body, now) {
            return self.reject(from, reason, effects);
        }
        let may_accept = self.may_vote() && sequence <= self.high();
        let sighted_other = self.sighted(sequence).is_some_and(|sighted| sighted.value() != header.value());
        let slot = self.log.slot(sequence);
        match (&slot.accepted, &slot.sighted) {
            // The body of a proposal accepted by its header alone, as those of O are.
            (Some(_), _) => drop(self.wanted.remove(&(header.value().digest, sequence))),
            (None, _) if may_accept => slot.accept(header, &body, self.patience.at(now.instant)),
            // Of several proposals at a place that cannot be accepted yet, the first is kept; what came beside a
            // PREPARE may have been none.
            (None, Some(_)) if sighted_other => return,
            (None, _) => slot.sighted = Some(header.signed().clone()),
        }
        // Above H there is room for so many bytes only; a stalled replica fetches what it could not keep (R1).
        let accepted = slot.accepted.is_some();
        let (high, room) = (self.high(), self.parameters().waiting_bytes);
        if !accepted && sequence > high && self.log.body_bytes_above(high) + body.memory_bytes() > room {
            return;
        }
        self.log.slot(sequence).keep(body);
        self.try_prepare(sequence, effects);
        self.try_prepared(sequence, now, effects);
    }

    /// Why a proposal of the active view is not accepted (N2), once its signatures and its place are good.
    fn proposal_rejection(&self, header: &Verified<PrePrepare>, body: &Body, now: Now) -> Option<Rejection> {
        let PrePrepare { sequence, digest, .. } = *header.value();
        if let Some(accepted) = self.log.get(sequence).and_then(|slot| slot.accepted.as_ref()) {
            return (accepted.value().digest != digest).then_some(Rejection::OtherAccepted);
        }
        if sequence <= self.view.max_s {
            return Some(Rejection::NotInNewView);
        }
        // A null batch is what a NEW-VIEW fills gaps with; nobody proposes one afresh. Freshness is judged here,
        // on fresh proposals, and never on carried ones (fault 23).
        let fresh = body.time().is_some_and(|time| {
            u128::from(time.0.abs_diff(now.wall.0)) <= self.parameters().clock_bound.as_nanos()
        });
        (!fresh).then_some(Rejection::StaleTime)
    }

    /// Accepts a proposal that was sighted before it could be accepted, if it now can.
    pub(crate) fn try_accept(&mut self, sequence: Sequence, now: Now, effects: &mut Effects) {
        if !self.may_vote() || sequence <= self.stable_sequence() || sequence > self.high() {
            return;
        }
        let Some(slot) = self.log.get(sequence).filter(|slot| slot.accepted.is_none()) else { return };
        let Some(header) = self.sighted(sequence) else { return };
        let Some(body) = slot.body(&header.value().digest) else { return };
        // The body may have been fetched by its digest alone, so its submissions are checked here.
        let good = self.proposal_rejection(&header, &body, now).is_none()
            && body.check_fresh(&self.configuration).is_ok();
        if good {
            let since = self.patience.at(now.instant);
            self.log.slot(sequence).accept(header, &body, since);
            self.try_prepare(sequence, effects);
        }
    }

    /// The proposal of the active view sighted at a place, if it is what it should be.
    pub(crate) fn sighted(&self, sequence: Sequence) -> Option<Verified<PrePrepare>> {
        self.log.get(sequence)?.sighted.clone()?.verify(&self.configuration).ok()
    }

    /// Looks for a contradiction between a verified proposal and what was accepted or sighted at its place.
    fn compare_proposals(&mut self, header: &Verified<PrePrepare>, now: Now, effects: &mut Effects) {
        let sequence = header.value().sequence;
        let Some(slot) = self.log.get(sequence) else { return };
        let other = match (&slot.accepted, &slot.sighted) {
            (Some(accepted), _) => Some(accepted.clone()),
            (None, Some(sighted)) if sighted.payload() != header.signed().payload() => self.sighted(sequence),
            _ => None,
        };
        if let Some(conflict) = other.and_then(|other| Conflict::between(&other, header)) {
            self.accuse(conflict, now, effects);
        }
    }

    /// Notes the proposal that came beside a PREPARE. It is verified only when it differs from what is held, which
    /// shows a primary that lies to both halves (N3).
    pub(crate) fn sight_proposal(
        &mut self,
        sequence: Sequence,
        header: Signed<PrePrepare>,
        now: Now,
        effects: &mut Effects,
    ) {
        let slot = self.log.slot(sequence);
        let held = slot.accepted.as_ref().map(Verified::signed).or(slot.sighted.as_ref());
        if held.is_some_and(|held| held.payload() == header.payload()) {
            return;
        }
        if held.is_none() {
            slot.sighted = Some(header);
        } else if let Ok(header) = header.verify(&self.configuration) {
            self.compare_proposals(&header, now, effects);
            // What was held may have been no proposal at all.
            if self.sighted(sequence).is_none() {
                self.log.slot(sequence).sighted = Some(header.signed().clone());
            }
        }
    }
}
