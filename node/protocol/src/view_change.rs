//! VIEW-CHANGE (OSDI'99 §4.4; VC1 to VC3, VC7): leaving a view, and joining others that leave.

use std::collections::btree_map::Entry;
use std::time::Duration;

use pbft_crypto::{Verified, mutant};
use pbft_messages::{PeerMessage, View, ViewChange};

use crate::durability::Awaited;
use crate::replica::Replica;
use crate::{Effect, Effects, Now, Record, Report, ViewChangeReason};

impl Replica {
    /// The highest view that this replica is in or asks for.
    pub(crate) fn highest_view(&self) -> View {
        self.view.pending.unwrap_or(self.view.active)
    }

    /// Leaves the view for `target`: from here on this replica sends no vote in a lower view (D3).
    pub(crate) fn start_view_change(
        &mut self,
        target: View,
        reason: ViewChangeReason,
        now: Now,
        effects: &mut Effects,
    ) {
        if target <= self.highest_view() || self.keeps_silent() {
            return;
        }
        let view_change = self.leave_view_for(target, reason, effects);
        let signed = view_change.signed().clone();
        let then = vec![Effect::Broadcast(PeerMessage::ViewChange(signed.clone()))];
        if mutant!("view-change-before-durable") {
            effects.broadcast(PeerMessage::ViewChange(signed.clone()));
        }
        let awaited = Awaited::ViewChange(signed.clone());
        self.persist(vec![Record::ViewChange(signed)], then, [awaited], effects);
        self.on_view_change(view_change, now, effects);
    }

    /// Leaves the view for a higher one; gives the VIEW-CHANGE, which the caller makes durable.
    pub(crate) fn leave_view_for(
        &mut self,
        target: View,
        reason: ViewChangeReason,
        effects: &mut Effects,
    ) -> Verified<ViewChange> {
        if !std::mem::take(&mut self.view.progressed) {
            let cap = self.parameters().view_timeout_cap;
            self.view.timeout =
                (self.view.timeout * 2).min(if mutant!("backoff-uncapped") { Duration::MAX } else { cap });
        }
        self.view.pending = Some(target);
        self.view.deadline = None;
        // What the view that is left wanted, or the one asked for before, it wants no more.
        self.wanted.clear();
        self.want_decided_bodies();
        // Every certificate whose write was issued is in its slot, and this write comes after theirs, so no COMMIT
        // that is not shown here leaves later (D3).
        let low = self.stable_sequence();
        let prepared =
            self.log.above(low).filter_map(|(_, slot)| slot.prepared.as_ref().map(|it| it.get().clone()));
        let view_change = ViewChange {
            view: target,
            stable: self.stable.as_ref().map(|certificate| certificate.get().clone()),
            prepared: prepared.filter(|_| !mutant!("nothing-shown")).collect(),
        };
        self.view.own_view_change = None;
        effects.report(Report::ViewChange { view: target, reason });
        self.sign(view_change)
    }

    /// A VIEW-CHANGE that is good in every part (VC3), this replica's own included.
    pub(crate) fn on_view_change(
        &mut self,
        view_change: Verified<ViewChange>,
        now: Now,
        effects: &mut Effects,
    ) {
        let (sender, view) = (view_change.signer(), view_change.value().view);
        self.compare_view_changes(&view_change, now, effects);
        // Kept is the one of the highest view of each sender, never the latest to arrive (fault 2).
        let held = self.view.view_changes.get(&sender).map(|held| held.value().view);
        if view == self.view.active {
            if let Entry::Vacant(place) = self.view.to_active.entry(sender) {
                place.insert(view_change.clone());
                self.compare_new_view_change(&view_change, now, effects);
            }
            return;
        }
        if view <= held.unwrap_or(self.view.active) {
            return;
        }
        self.compare_new_view_change(&view_change, now, effects);
        self.view.view_changes.insert(sender, view_change);
        if sender == self.primary() && self.view.pending.is_none() {
            self.start_view_change(self.view.active.next(), ViewChangeReason::PrimaryLeft, now, effects);
        }
        if let Some(target) = self.joinable_view() {
            self.start_view_change(target, ViewChangeReason::Joined, now, effects);
        }
        self.try_start_deadline(now);
        self.try_new_view(now, effects);
    }

    /// The highest view above this replica's that f+1 replicas have reached or passed (VC1): at least one of them
    /// is correct.
    fn joinable_view(&self) -> Option<View> {
        let weak = self.configuration.weak_quorum().get();
        let mut views: Vec<_> = self.view.view_changes.values().map(|held| held.value().view).collect();
        views.sort_unstable_by(|left, right| right.cmp(left));
        views.get(weak - 1).copied().filter(|view| *view > self.highest_view())
    }

    /// Starts the timer of the pending view change once a quorum asks for its view or a higher one (VC7).
    fn try_start_deadline(&mut self, now: Now) {
        let Some(pending) = self.view.pending else { return };
        let asking = self.view.view_changes.values().filter(|held| held.value().view >= pending).count();
        let enough = self.configuration.quorum().reached(asking) || mutant!("view-change-timer-starts-alone");
        if self.view.deadline.is_none() && enough {
            self.view.deadline = Some(now.instant.plus(self.view.timeout));
        }
    }

    /// The pending view has not begun in time: on to the next one (VC7).
    pub(crate) fn on_view_change_timeout(&mut self, now: Now, effects: &mut Effects) {
        if let Some(pending) = self.view.pending {
            self.start_view_change(pending.next(), ViewChangeReason::ViewChangeTimeout, now, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Message, Parameters, ReplicaId};

    use super::*;
    use crate::testing::Bench;

    /// D3: nobody hears of it before it is durable.
    #[test]
    fn a_view_change_waits_for_its_write() {
        for stands_still in [true, false] {
            let mut bench = Bench::new(Parameters::default());
            bench.disk_stands_still = stands_still;
            for from in [1, 2] {
                let asks = bench.bare_view_change(from, 1);
                bench.message(ReplicaId(from), Message::ViewChange(asks));
            }
            assert_eq!(bench.replica.view.pending, Some(View(1)));
            let asks = |it: &Effect| matches!(it, Effect::Broadcast(PeerMessage::ViewChange(_)));
            assert_eq!(bench.effects.iter().any(asks), !stands_still);
        }
    }

    /// Lets one replica after the other ask for a view; gives after each whether this one asks for it too.
    fn asked_by(bench: &mut Bench, others: &[u16], view: u64) -> Vec<bool> {
        let asks = others.iter().map(|from| {
            let view_change = bench.bare_view_change(*from, view);
            bench.message(ReplicaId(*from), Message::ViewChange(view_change));
            bench.replica.view.pending == Some(View(view))
        });
        asks.collect()
    }

    /// VC1: one of f+1 is correct.
    #[test]
    fn f_plus_one_replicas_are_joined() {
        let mut bench = Bench::new(Parameters::default());
        assert_eq!(asked_by(&mut bench, &[1, 2], 5), [false, true]);
    }

    /// VC7: a replica that asks with few others waits for more of them, for however long.
    #[test]
    fn the_timer_of_a_view_change_starts_with_a_quorum() {
        let mut bench = Bench::new(Parameters::default());
        let reason = ViewChangeReason::RequestTimeout;
        bench.replica.start_view_change(View(5), reason, bench.now, &mut Effects::new());
        for (from, starts) in [(1, false), (2, true)] {
            asked_by(&mut bench, &[from], 5);
            assert_eq!(bench.replica.view.deadline.is_some(), starts, "r{from}");
        }
    }
}
