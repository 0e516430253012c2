//! Recovery (D8): a replica that has lost what it voted for rejoins under its old key, and the others help it.
//!
//! # Why nothing that it signs contradicts its earlier life
//!
//! While it recovers it signs nothing. Let Q others have answered its nonce, so after the loss; h and v are the highest
//! sequence executed and the highest view (asked for, else active) that they name. The recovering replica is one of the
//! f, so any quorum of its earlier life shares at least f+1 *others* with the answerers, of which at most f−1 are
//! faulty: a correct one at least. An answerer that is itself recovering would not have answered, and one that has
//! recovered since knows bounds of its own that are no lower.
//!
//! * **Sequences.** It voted at most at its old stable checkpoint + L. A quorum had executed through that checkpoint,
//!   so h is no lower: all old votes are at or below h + L. It votes again only above a stable checkpoint that has
//!   reached h + L; its VIEW-CHANGE shows that checkpoint, and lacks no certificate for which it ever sent COMMIT.
//! * **Views.** A correct replica asks for p only if a quorum is in p−1 or asks for p−1 or more (VC1, VC7: joining
//!   f+1 others, one of whom is correct, goes back to the first correct one that asked). So v is at least p−1, and
//!   all old VIEW-CHANGEs, NEW-VIEWs and votes are in views up to v+1. It asks for v+2, or for the view after any of
//!   its own VIEW-CHANGEs that somebody still holds: that of an earlier recovery was for a view above what a quorum
//!   had come near.
//!
//! # Why it votes again
//!
//! It waits in a view change for v+2. That view need not come while nothing is wrong: then Q others vote, and nobody
//! misses this replica. As soon as they are fewer than Q, requests wait, so each of them asks for the next view; this
//! replica's VIEW-CHANGE counts as one for that view *or higher*, so VC7's timer runs, and they reach v+2 after at
//! most two time-outs. It counts as one replica in VC1, so alone it moves nobody. If the others have come to
//! v+2 or more meanwhile, it has followed their NEW-VIEWs and votes at once, in a view that it never signed for.
//!
//! Where nobody asks for anything, the next replica to recover is the one who waits: for empty batches. One that is
//! proposed and not decided makes backups leave the view as a waiting request does (VC1). No backup can abuse that, for
//! only a proposal of the primary itself runs this timer. For the same reason a primary that proposes no empty batch is
//! not blamed: an idle cluster whose primary is faulty too recovers nobody until a client asks for something.
//!
//! The primary of the active view cannot ask for another view while it recovers. Those that hear from itself that it
//! recovers leave its view, as they do when it asks for another (VC1): an idle cluster would wait for ever.

use std::collections::BTreeMap;

use pbft_crypto::Verified;
use pbft_messages::{
    Checkpoint, PeerMessage, RecoveryAnswer, RecoveryNonce, ReplicaId, Sequence, ShownView, Status,
    VIEWS_ABOVE_SHOWN, View,
};

use crate::durability::Awaited;
use crate::replica::Replica;
use crate::{Effect, Effects, Now, Record, Rejection, Report, ViewChangeReason};

/// How many windows of empty batches one recovering replica may cause at once; after that, one batch a status. A
/// recovery needs fewer than three.
const WINDOWS: u64 = 4;

/// For how many statuses a replica that was answered is not answered again: an answer may be large.
const ANSWERED_FOR: u64 = 10;

/// How far the view that a recovered replica asks for is above the highest that others know: it may have asked for
/// the next one.
const VIEWS_ABOVE_KNOWN: u64 = 2;

/// What the store of a replica that has lost its votes holds, to recover. `nonce` must never have been used before.
#[must_use]
pub fn recovery_records(nonce: RecoveryNonce) -> Vec<Record> {
    vec![Record::View(View(0), None), Record::Recovery(Some(nonce))]
}

/// How far a recovery has come.
#[derive(Debug)]
pub(crate) enum Recovery {
    /// The others are asked.
    Asking { nonce: RecoveryNonce, answers: BTreeMap<ReplicaId, Goal> },
    /// Q have answered; the stable checkpoint is yet to come.
    Waiting(Goal),
    /// The end is being written. What is written after it may already be prepared.
    Ending,
}

/// Where this replica may vote again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// In this view or a higher one.
    view: View,
    /// Above a stable checkpoint here or higher.
    sequence: Sequence,
}

/// What recovering replicas are given, each so much at a time (R3).
#[derive(Debug, Default)]
pub(crate) struct Courtesy {
    /// Who was answered, and for how many statuses more it is not answered again.
    answered: BTreeMap<ReplicaId, u64>,
    /// Which stable checkpoint each waits for.
    wanted: BTreeMap<ReplicaId, Sequence>,
    /// How many empty batches were proposed for each, less one for each status since.
    proposed: BTreeMap<ReplicaId, u64>,
}

impl Courtesy {
    /// Another status interval begins.
    pub(crate) fn end_round(&mut self) {
        for counters in [&mut self.answered, &mut self.proposed] {
            counters.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
        }
    }

    fn note(&mut self, from: ReplicaId, recovering: Option<Sequence>) {
        match recovering {
            Some(sequence) => drop(self.wanted.insert(from, sequence)),
            None => drop(self.wanted.remove(&from)),
        }
    }

    /// Who waits for a batch at `next`, and may cause one more. One that does not know yet what it waits for may cause
    /// one a status: a batch that is decided helps the others to show where they are, and one that is not moves the
    /// view to one that they can show.
    fn waiting_for(&self, next: Sequence, limit: u64) -> Option<ReplicaId> {
        let may = |(replica, wanted): &(&ReplicaId, &Sequence)| {
            let (waits, limit) = match **wanted {
                Sequence(0) => (true, 1),
                wanted => (next <= wanted, limit),
            };
            waits && self.proposed.get(replica).is_none_or(|proposed| *proposed < limit)
        };
        self.wanted.iter().find(may).map(|(replica, _)| *replica)
    }
}

impl Replica {
    /// Whether this replica votes nothing of any kind (D8).
    pub(crate) fn keeps_silent(&self) -> bool {
        matches!(self.recovery, Some(Recovery::Asking { .. } | Recovery::Waiting(_)))
    }

    /// The stable checkpoint that this replica waits for, if it recovers; 0 while it does not know which.
    pub(crate) fn recovering(&self) -> Option<Sequence> {
        match &self.recovery {
            Some(Recovery::Asking { .. }) => Some(Sequence(0)),
            Some(Recovery::Waiting(goal)) => Some(goal.sequence),
            Some(Recovery::Ending) | None => None,
        }
    }

    /// Takes up a recovery, from the start or where a restart interrupted it: nothing was signed since, so the same
    /// nonce is still good.
    pub(crate) fn start_recovery(&mut self, nonce: RecoveryNonce, effects: &mut Effects) {
        self.recovery = Some(Recovery::Asking { nonce, answers: BTreeMap::new() });
        effects.report(Report::RecoveryStarted);
    }

    /// Asks those who have not answered.
    pub(crate) fn tick_recovery(&self, effects: &mut Effects) {
        let Some(Recovery::Asking { nonce, answers }) = &self.recovery else { return };
        for replica in self.configuration.replicas() {
            if replica != self.me && !answers.contains_key(&replica) {
                effects.send(replica, PeerMessage::AskRecovery(*nonce));
            }
        }
    }

    /// Another replica recovers, and asks.
    pub(crate) fn on_ask_recovery(&mut self, from: ReplicaId, nonce: RecoveryNonce, effects: &mut Effects) {
        // Who recovers does not know what it knew.
        if self.recovery.is_some() || self.courtesy.answered.contains_key(&from) {
            return;
        }
        if let Some(answer) = self.recovery_answer(from, nonce) {
            self.courtesy.answered.insert(from, ANSWERED_FOR);
            effects.send(from, PeerMessage::RecoveryAnswer(self.sign(answer).signed().clone()));
        }
    }

    /// What this replica knows. `None` if it cannot show it now: what it lacks will come (C4), and a lower bound than
    /// the true one would be wrong.
    fn recovery_answer(&self, asker: ReplicaId, nonce: RecoveryNonce) -> Option<RecoveryAnswer> {
        let view = self.highest_view();
        if self.last_executed > self.high() {
            return None;
        }
        Some(RecoveryAnswer {
            asker,
            nonce,
            view,
            shown: self.show(view)?,
            last_executed: self.last_executed,
            stable: self.stable.as_ref().map(|certificate| certificate.get().clone()),
            view_change: self.view.view_changes.get(&asker).map(|held| held.signed().clone()),
        })
    }

    /// What shows that the cluster has come near `view`.
    fn show(&self, view: View) -> Option<ShownView> {
        let near = |shown: View| view.0 <= shown.0.saturating_add(VIEWS_ABOVE_SHOWN);
        if near(View(0)) {
            return Some(ShownView::Genesis);
        }
        // What is this replica's own leaves when it is durable (D3).
        let opened = self.view.new_view.as_ref().filter(|it| self.view.durable && near(it.value().view));
        if let Some(new_view) = opened {
            return Some(ShownView::Opened(new_view.signed().clone()));
        }
        let own_is_durable = self.view.own_view_change.is_some();
        let weak = self.configuration.weak_quorum().get();
        let asking = self.view.view_changes.values();
        let asking = asking.filter(|it| near(it.value().view) && (it.signer() != self.me || own_is_durable));
        let asking: Vec<_> = asking.take(weak).map(|it| it.signed().clone()).collect();
        (asking.len() == weak).then_some(ShownView::AskedFor(asking))
    }

    /// An answer whose bounds are shown.
    pub(crate) fn on_recovery_answer(
        &mut self,
        from: ReplicaId,
        answer: &Verified<RecoveryAnswer>,
        effects: &mut Effects,
    ) {
        let quorum = self.configuration.quorum();
        let Some(Recovery::Asking { nonce, answers }) = &mut self.recovery else { return };
        let RecoveryAnswer { view, last_executed, view_change, .. } = answer.value();
        if answer.value().asker != self.me || answer.value().nonce != *nonce {
            return self.reject(from, Rejection::Unasked, effects);
        }
        let own = view_change.as_ref().and_then(|signed| signed.peek().ok()).map(|it| it.view.next());
        let view = View(view.0.saturating_add(VIEWS_ABOVE_KNOWN)).max(own.unwrap_or_default());
        answers.entry(answer.signer()).or_insert(Goal { view, sequence: *last_executed });
        if !quorum.reached(answers.len()) {
            return;
        }
        let view = answers.values().map(|goal| goal.view).max().unwrap_or_default();
        let executed = answers.values().map(|goal| goal.sequence).max().unwrap_or_default();
        let parameters = self.configuration.parameters();
        let (interval, high) = (parameters.checkpoint_interval, executed.plus(parameters.window));
        let sequence = Sequence(high.0.checked_next_multiple_of(interval).unwrap_or(u64::MAX));
        self.recovery = Some(Recovery::Waiting(Goal { view, sequence }));
        effects.report(Report::RecoveryBounded { view, sequence });
    }

    /// Ends the recovery once a stable checkpoint above all that this replica may have signed is installed here. The
    /// end and the VIEW-CHANGE become durable together.
    pub(crate) fn try_end_recovery(&mut self, now: Now, effects: &mut Effects) {
        let Some(Recovery::Waiting(Goal { view, sequence })) = self.recovery else { return };
        let stable = self.stable_sequence();
        let reached = stable >= sequence && self.snapshots.range(sequence..=stable).next().is_some();
        if !reached {
            return;
        }
        self.recovery = Some(Recovery::Ending);
        let own = self.view.view_changes.get(&self.me).map(|held| held.value().view.next());
        let target = view.max(own.unwrap_or_default());
        let (mut records, mut then) = (vec![Record::Recovery(None)], vec![]);
        let mut awaited = vec![Awaited::Recovered];
        // Checkpoints above, for which it did not vote while it kept silent.
        for (&sequence, &root) in self.snapshots.range(stable.next()..) {
            let vote = self.sign(Checkpoint { sequence, root });
            then.push(Effect::Broadcast(PeerMessage::Checkpoint(vote.signed().clone())));
            awaited.push(Awaited::Snapshot(sequence));
        }
        let view_change = (self.view.active < target)
            .then(|| self.leave_view_for(target, ViewChangeReason::Recovered, effects));
        if let Some(view_change) = &view_change {
            let signed = view_change.signed();
            records.push(Record::ViewChange(signed.clone()));
            then.push(Effect::Broadcast(PeerMessage::ViewChange(signed.clone())));
            awaited.push(Awaited::ViewChange(signed.clone()));
        }
        self.persist(records, then, awaited, effects);
        if let Some(view_change) = view_change {
            self.on_view_change(view_change, now, effects);
        }
    }

    /// The end is durable: this replica votes in the view that it is in, if that is high enough, or waits for its own.
    pub(crate) fn on_recovered(&mut self, now: Now, effects: &mut Effects) {
        self.recovery = None;
        self.patience.restart(now.instant);
        effects.report(Report::Recovered { view: self.highest_view() });
        self.revisit_slots(now, effects);
    }

    /// Another replica says that it recovers, or that it does not.
    pub(crate) fn note_recovering(
        &mut self,
        from: ReplicaId,
        status: &Status,
        now: Now,
        effects: &mut Effects,
    ) {
        self.courtesy.note(from, status.recovering);
        // Its word is as good as its VIEW-CHANGE, which it cannot sign: it will propose nothing (VC1).
        if status.recovering.is_some() && from == self.primary() && self.view.pending.is_none() {
            self.start_view_change(self.view.active.next(), ViewChangeReason::PrimaryLeft, now, effects);
        }
    }

    /// Whether a recovering replica waits for a batch where this primary would propose next, and may cause one more.
    /// It is charged for it.
    pub(crate) fn owes_a_batch(&mut self) -> bool {
        let limit = WINDOWS * self.parameters().window;
        let Some(replica) = self.courtesy.waiting_for(self.next_sequence, limit) else { return false };
        *self.courtesy.proposed.entry(replica).or_default() += 1;
        true
    }
}
