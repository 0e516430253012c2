//! STATUS (C4): each replica tells periodically where it stands, and the others hand over exactly what it lacks.

use std::collections::BTreeMap;

use pbft_crypto::mutant;
use pbft_messages::{PeerMessage, ReplicaId, Sequence, SlotProgress, Status};

use crate::log::Slot;
use crate::replica::Replica;
use crate::{Effects, Instant, Now};

/// About how many bytes of bodies are handed over at a time.
const BYTES: usize = 2 << 20;

/// Every so many statuses, what may have been lost without a trace is sent again: the own VIEW-CHANGE, and waiting
/// submissions.
const RESEND_EVERY: u64 = 5;

/// How often a replica is helped in a round, however often it asks (R3): more than once, for it may have restarted.
const HELPED: u32 = 3;

/// How many bodies a replica may ask for in a round, and about how many bytes of them it is given (R3). It asks again
/// for what it still wants.
const ASKED: u32 = 256;
const GIVEN: usize = 8 << 20;

/// The rounds of statuses.
#[derive(Debug)]
pub(crate) struct StatusRound {
    number: u64,
    next: Instant,
    /// `last_executed` at the last round.
    last_executed: Sequence,
    /// What each replica was helped with since the last round.
    helped: BTreeMap<ReplicaId, Helped>,
}

/// What a replica was helped with.
#[derive(Debug, Default)]
struct Helped {
    statuses: u32,
    questions: u32,
    body_bytes: usize,
}

impl StatusRound {
    /// The first round comes at once.
    pub(crate) fn starting_at(now: Instant) -> Self {
        Self { number: 0, next: now, last_executed: Sequence(0), helped: BTreeMap::new() }
    }

    /// Whether a replica that asks for a body is to be answered.
    pub(crate) fn may_ask(&mut self, from: ReplicaId) -> bool {
        let helped = self.helped.entry(from).or_default();
        helped.questions += 1;
        helped.questions <= ASKED && helped.body_bytes < GIVEN
    }

    /// Notes that a replica was given a body that it asked for.
    pub(crate) fn gave(&mut self, to: ReplicaId, bytes: usize) {
        self.helped.entry(to).or_default().body_bytes += bytes;
    }

    /// When the next status is due.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }
}

impl Replica {
    pub(crate) fn on_status_timer(&mut self, now: Now, effects: &mut Effects) {
        let oldest = self.waiting.oldest().map(|since| self.patience.waited(since, now.instant));
        let part = self.part();
        self.pace.end_round(oldest.unwrap_or_default(), part, now.instant, self.configuration.parameters());
        self.waiting.end_round();
        let stalled = self.status.last_executed == self.last_executed && !mutant!("idle-asks-nobody");
        let number = self.status.number;
        self.status = StatusRound {
            number: number + 1,
            next: now.instant.plus(self.parameters().status_interval),
            last_executed: self.last_executed,
            helped: BTreeMap::new(),
        };
        self.courtesy.end_round();
        self.tick_recovery(effects);
        let helper = self.other_replica(number);
        effects.broadcast(PeerMessage::Status(self.own_status(stalled.then_some(helper))));
        if stalled {
            self.want_sighted_bodies();
        }
        self.fetch_wanted(helper, effects);
        self.tick_transfer(effects);
        self.watch_primary(stalled, now, effects);
        self.listen(stalled, now, effects);
        self.forward_held(self.parameters().status_interval / 2, now, effects);
        if number.is_multiple_of(RESEND_EVERY) {
            match (&self.view.own_view_change, self.view.pending) {
                // The same bytes, until the view moves (VC7, fault 21).
                (Some(own), Some(_)) if !mutant!("view-change-sent-once") => {
                    effects.broadcast(PeerMessage::ViewChange(own.clone()))
                }
                _ if stalled || self.waits_long(now) => self.forward_waiting(effects),
                _ => {}
            }
        }
    }

    /// Whether a request has waited so long that the primary may not have kept it, whatever else is executed.
    fn waits_long(&self, now: Now) -> bool {
        let waited = self.waiting.oldest().map(|since| self.patience.waited(since, now.instant));
        waited.is_some_and(|waited| waited > self.parameters().view_timeout / 4)
    }

    /// One of the other replicas, another one each time.
    pub(crate) fn other_replica(&self, number: u64) -> ReplicaId {
        let n = self.configuration.n() as u64;
        let distance = 1 + number % (n - 1);
        // Both are below n, which fits.
        ReplicaId(((u64::from(self.me.0) + distance) % n) as u16)
    }

    fn own_status(&self, asks: Option<ReplicaId>) -> Status {
        let view = self.view.active;
        let known = self.log.highest().0.saturating_sub(self.last_executed.0).min(Status::MOST_SLOTS as u64);
        let progress = |distance| {
            let slot = self.log.get(self.last_executed.plus(distance));
            slot.map_or(SlotProgress::Unproposed, |slot| slot.progress(view))
        };
        Status {
            view,
            pending: self.view.pending,
            stable: self.stable_sequence(),
            last_executed: self.last_executed,
            asks,
            slots: if asks.is_some() { (1..=known).map(progress).collect() } else { vec![] },
            recovering: self.recovering(),
            proven: self.proven(),
        }
    }

    /// Another replica's standing: it is handed what it lacks and this replica has.
    pub(crate) fn on_status(&mut self, from: ReplicaId, status: &Status, now: Now, effects: &mut Effects) {
        self.note_recovering(from, status, now, effects);
        let helped = self.status.helped.entry(from).or_default();
        if helped.statuses == HELPED {
            return;
        }
        helped.statuses += 1;
        let (number, is_first) = (self.status.number, helped.statuses == 1);
        let asked = status.asks == Some(self.me);
        // Who opened the view answers whoever was asked: until everybody is in it, a bare quorum decides nothing.
        let tells = self.view.durable && (asked || is_first && self.is_primary());
        let newer = self.view.new_view.as_ref().filter(|it| it.value().view > status.view);
        if let Some(new_view) = newer.filter(|_| tells && status.asks.is_some()) {
            effects.send(from, PeerMessage::NewView(new_view.signed().clone()));
        }
        // The primary of the pending view may lack a VIEW-CHANGE only; to wait for what is sent again to everybody takes
        // longer than the view has (VC7).
        let opens =
            self.view.pending.filter(|it| self.configuration.primary(*it) == from && status.view < *it);
        if let (Some(own), Some(_)) = (&self.view.own_view_change, opens.filter(|_| is_first)) {
            effects.send(from, PeerMessage::ViewChange(own.clone()));
        }
        if let Some(certificate) =
            self.stable.as_ref().filter(|it| it.get().statement.sequence > status.stable)
            && !mutant!("stable-kept-to-oneself")
        {
            effects.send(from, PeerMessage::Stable(certificate.get().clone()));
        }
        // A full window whose checkpoints' votes were lost stops everything, timers included.
        let own = self.checkpoints.range(status.stable.next()..).filter_map(|(_, votes)| votes.of(self.me));
        for vote in own.filter(|_| status.asks.is_some()) {
            effects.send(from, PeerMessage::Checkpoint(vote.signed().clone()));
        }
        if status.asks.is_some() {
            self.help(from, status, effects);
        }
        // Everybody tells the same, and it may be large: each tells one at a time, in turn, and once a round.
        if self.other_replica(number) == from && is_first {
            self.hand_over_evidence(from, &status.proven, effects);
        }
    }

    /// Sends again this replica's own votes above what the other has executed and, if it is the one asked, proposals,
    /// certificates and bodies.
    fn help(&self, to: ReplicaId, status: &Status, effects: &mut Effects) {
        let asked = status.asks == Some(self.me);
        let same_view = status.view == self.view.active && status.pending.is_none() && self.may_vote();
        let mut bytes = 0;
        for (sequence, slot) in self.log.above(status.last_executed).take(Status::MOST_SLOTS) {
            let distance = (sequence.0 - status.last_executed.0 - 1) as usize;
            let progress = status.slots.get(distance).copied().unwrap_or(SlotProgress::Unproposed);
            if progress == SlotProgress::Committed || bytes > BYTES {
                continue;
            }
            let decided = slot.decided().filter(|_| asked && !mutant!("decided-kept-to-oneself"));
            if let Some((certificate, body)) = decided {
                bytes += body.operation_bytes();
                effects.send(to, PeerMessage::Committed(certificate.get().clone(), body));
            } else if same_view && self.is_reserved(sequence) {
                bytes += self.help_to_agree(to, slot, progress, asked, effects);
            }
        }
    }

    /// Helps with a slot that is in agreement in the view that both are in; gives the size of what was handed over.
    fn help_to_agree(
        &self,
        to: ReplicaId,
        slot: &Slot,
        progress: SlotProgress,
        asked: bool,
        effects: &mut Effects,
    ) -> usize {
        let Some(header) = &slot.accepted else { return 0 };
        let body = slot.body(&header.value().digest);
        let mut bytes = 0;
        if progress <= SlotProgress::Proposed {
            if let Some(vote) = slot.prepares.of(self.me) {
                effects.send(to, PeerMessage::Prepare(vote.signed().clone(), *header.signed().signature()));
            }
            let certificate = slot.prepared_in(self.view.active).filter(|_| asked);
            if let (Some(certificate), Some(body)) = (certificate, &body) {
                bytes += body.operation_bytes();
                effects.send(to, PeerMessage::Prepared(certificate.get().clone(), body.clone()));
            }
        }
        // The primary hands its proposal over whoever was asked: nobody else's PREPARE brings it.
        if let Some(body) = body.filter(|_| progress == SlotProgress::Unproposed && self.is_primary()) {
            bytes += body.operation_bytes();
            effects.send(to, PeerMessage::Proposal(header.signed().clone(), body));
        }
        if let Some(vote) = slot.commits.of(self.me) {
            effects.send(to, PeerMessage::Commit(vote.signed().clone()));
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Commit, Message, Parameters, Proven, View, VoteSet};

    use super::*;
    use crate::testing::{Bench, ME, digest, status};
    use crate::{Input, Record};

    /// VC7: one lost VIEW-CHANGE must not cost the view that it asks for, nor be sent to everybody all the time.
    #[test]
    fn who_is_to_open_the_pending_view_is_given_the_view_change_again() {
        let mut bench = Bench::new(Parameters::default());
        for sender in [0, 2] {
            let view_change = bench.bare_view_change(sender, 1);
            bench.message(ReplicaId(sender), Message::ViewChange(view_change));
        }
        assert_eq!(bench.replica.view.pending, Some(View(1)));
        for (from, given) in [(0, 0), (1, 1), (1, 0), (2, 0)] {
            bench.effects.clear();
            bench.message(ReplicaId(from), Message::Status(status(None)));
            let again = bench.sent().into_iter().filter(|it| matches!(it, PeerMessage::ViewChange(_)));
            assert_eq!(again.count(), given, "r{from}, once a round");
        }
    }

    /// C4: a lost NEW-VIEW is handed over by who opened the view, whoever was asked.
    #[test]
    fn who_opened_the_view_hands_the_new_view_over() {
        let mut bench = Bench::new(Parameters::default());
        for sender in [0, 1] {
            let view_change = bench.bare_view_change(sender, 3);
            bench.message(ReplicaId(sender), Message::ViewChange(view_change));
        }
        assert_eq!((bench.replica.view.active, bench.replica.primary()), (View(3), ME));
        for (asks, given) in [(None, 0), (Some(ReplicaId(0)), 1), (Some(ReplicaId(0)), 0), (Some(ME), 1)] {
            if given == 1 {
                bench.next_round();
            }
            bench.effects.clear();
            bench.message(ReplicaId(1), Message::Status(status(asks)));
            let again = bench.sent().into_iter().filter(|it| matches!(it, PeerMessage::NewView(_)));
            assert_eq!(again.count(), given, "{asks:?}");
        }
    }

    /// C4: of what it asks for a replica is handed all that it lacks.
    #[test]
    fn who_lacks_something_is_handed_it() {
        let parameters = Parameters::default;
        let plain = Bench::new(parameters());
        let [decided, agreed] = [1, 2].map(|number| plain.body(number, 10));
        let prepared = plain.prepared_batch(0, 2, agreed.digest());
        let commit = Commit { view: View(0), sequence: Sequence(1), digest: decided.digest() };
        let mut votes = VoteSet::default();
        for voter in [0, 1, 2] {
            votes.insert(plain.sign(ReplicaId(voter), commit.clone())).expect("a first vote");
        }
        let committed = votes.quorum(plain.configuration.quorum()).expect("enough votes");
        let records = [
            Record::Reservation(View(0), Sequence(9)),
            Record::Prepared(prepared.clone()),
            Record::Body(Sequence(2), agreed.clone()),
            Record::Committed(committed.get().clone()),
            Record::Body(Sequence(1), decided.clone()),
        ];
        let mut bench = Bench::starting_with(parameters(), records).expect("they fit together");
        let handed = |bench: &mut Bench, status: Status| {
            bench.effects.clear();
            bench.message(ReplicaId(1), Message::Status(status));
            bench.sent()
        };
        let slots = vec![SlotProgress::Unproposed; 2];
        let sent = handed(&mut bench, Status { slots, ..status(Some(ME)) });
        let [first, second, third] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(*first, PeerMessage::Committed(committed.get().clone(), decided));
        assert_eq!(*second, PeerMessage::Prepared(prepared, agreed));
        assert!(matches!(third, PeerMessage::Commit(_)), "{third:?}");

        bench.input(Input::SnapshotTaken { sequence: Sequence(128), root: digest(1) });
        let sent = handed(&mut bench, status(Some(ReplicaId(0))));
        assert!(sent.iter().any(|it| matches!(it, PeerMessage::Checkpoint(_))), "{sent:?}");
        let stable = bench.stable(256);
        let certificate = Proven::new(stable.clone(), &bench.configuration).expect("it is good");
        bench.message(ReplicaId(2), Message::Stable(certificate));
        let sent = handed(&mut bench, status(None));
        assert!(sent.contains(&PeerMessage::Stable(stable)), "{sent:?}");
    }
}
