//! The primary's part of the normal case: batches are formed and proposed (N2, N6, N7).

use std::sync::Arc;

use pbft_messages::{Body, Parameters, PeerMessage, PrePrepare, Sequence};

use crate::log::Slot;
use crate::replica::Replica;
use crate::{Effects, Instant, Now, Report};

impl Replica {
    /// Proposes as long as the pipeline has room: with nothing in flight, whatever waits goes at once; else what comes
    /// fills the next batch, for a while (N7).
    pub(crate) fn try_propose(&mut self, now: Now, effects: &mut Effects) {
        while self.may_propose() {
            if self.waiting.has_unproposed() {
                if !self.is_worth_a_batch(now) {
                    return;
                }
                let submissions = self.waiting.next_batch(self.configuration.parameters());
                if submissions.is_empty() {
                    return;
                }
                self.propose(Body::new(now.wall, &submissions), effects);
            } else if self.deadline_reached(now) || self.owes_a_batch() {
                self.propose(Body::new(now.wall, []), effects);
            } else {
                return;
            }
        }
    }

    pub(crate) fn may_propose(&self) -> bool {
        self.is_primary()
            && self.may_vote()
            // What a checkpoint covers was decided while this replica was away, in a later view: it leads nobody.
            && self.next_sequence > self.stable_sequence()
            && self.next_sequence <= self.high()
            && self.own_in_flight() < self.parameters().pipeline
    }

    /// Whether what waits goes now. A batch costs each replica signatures and a write, whatever its size; so while
    /// others are in flight one waits until it is full, or has waited for long. So under load batches grow.
    fn is_worth_a_batch(&self, now: Now) -> bool {
        let Parameters { batch_requests, batch_bytes, .. } = *self.parameters();
        let waits = self.waiting.unproposed();
        self.own_in_flight() == 0
            || waits.requests >= batch_requests
            || waits.bytes >= batch_bytes
            || self.held_until().is_some_and(|end| end <= now.instant)
    }

    /// Until when what waits may be held back for a batch to fill: for a time in which few batches would cost much, and
    /// far from one after which backups would wait no longer.
    pub(crate) fn held_until(&self) -> Option<Instant> {
        let Parameters { status_interval, view_timeout, .. } = *self.parameters();
        let longest = status_interval.min(view_timeout) / 10;
        self.waiting.oldest_unproposed().map(|since| self.patience.end(since, longest))
    }

    /// How many batches below `end` are in flight here: those that are proposed and not decided, and those of this view
    /// that are decided and next to be executed. So a service that is slower than agreement fills the pipeline as slow
    /// agreement does. What is decided and waits here for others or for state does not count, nor does what earlier views
    /// left to execute: a primary that lags may lead all the same (VC6).
    pub(crate) fn in_flight(&self, end: Sequence, is_proposed: impl Fn(&Slot) -> bool) -> u64 {
        let mut next = self.last_executed.next();
        let slots = self.log.above(self.last_executed.max(self.stable_sequence()));
        let counts = slots.take_while(|(sequence, _)| *sequence < end).filter(|(sequence, slot)| {
            let decided = slot.committed.is_some();
            let is_next = decided && *sequence == next;
            if is_next {
                next = next.next();
            }
            is_next && *sequence > self.view.max_s || !decided && is_proposed(slot)
        });
        counts.count() as u64
    }

    /// However far above its proposals others fill its log, a primary looks at no more than those.
    fn own_in_flight(&self) -> u64 {
        self.in_flight(self.next_sequence, |_| true)
    }

    /// Whether nothing is in flight, the service waits to be told the time, and that time has come: an empty batch tells
    /// it (N6).
    fn deadline_reached(&self, now: Now) -> bool {
        let idle = self.next_sequence == self.last_executed.next();
        idle && self.deadline.is_some_and(|deadline| deadline.at <= now.wall)
    }

    fn propose(&mut self, body: Body, effects: &mut Effects) {
        let (view, sequence, digest) = (self.view.active, self.next_sequence, body.digest());
        self.next_sequence = sequence.next();
        let header = self.sign(PrePrepare { view, sequence, digest });
        let requests = body.requests();
        let body = Arc::new(body);
        let slot = self.log.slot(sequence);
        slot.accepted = Some(header.clone());
        slot.keep(Arc::clone(&body));
        effects.report(Report::Proposed { view, sequence, digest, requests });
        self.broadcast_reserved(sequence, PeerMessage::Proposal(header.signed().clone(), body), effects);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pbft_messages::{Commit, Message, PreparedCertificate, Proven, ReplicaId, View, ViewChange, VoteSet};

    use super::*;
    use crate::testing::{Bench, LIAR, ME};
    use crate::{Effect, Input, Timer};

    /// Lets the replica open view 3, which it leads, after VIEW-CHANGEs that show this.
    fn lead(bench: &mut Bench, prepared: &[PreparedCertificate]) {
        for from in [0, 1].map(ReplicaId) {
            let value = ViewChange { view: View(3), stable: None, prepared: prepared.to_vec() };
            bench.message(from, Message::ViewChange(bench.sign(from, value)));
        }
        assert_eq!((bench.replica.view.active, bench.replica.primary()), (View(3), ME));
    }

    /// Until when the replica waits to propose, as it last said, and what it has proposed since it was last asked.
    fn told(bench: &mut Bench) -> (Option<Instant>, Vec<Sequence>) {
        let set = bench.effects.iter().rev().find_map(|effect| match effect {
            Effect::SetTimer { timer: Timer::Deadline, at } => Some(*at),
            _ => None,
        });
        let proposed = bench.effects.drain(..).filter_map(|effect| match effect {
            Effect::Broadcast(PeerMessage::Proposal(header, _)) => Some(header.peek().unwrap().sequence),
            _ => None,
        });
        (set.flatten(), proposed.collect())
    }

    fn expire(bench: &mut Bench, at: Instant) {
        bench.now.instant = at;
        bench.input(Input::Timer(Timer::Deadline));
    }

    /// N7: a stable checkpoint above all that it proposed was decided in a later view.
    #[test]
    fn a_primary_that_was_left_proposes_nothing() {
        let mut bench = Bench::new(Parameters::default());
        lead(&mut bench, &[]);
        told(&mut bench);
        bench.message(LIAR, Message::Stable(Proven::new(bench.stable(128), &bench.configuration).unwrap()));
        assert_eq!(bench.replica.stable_sequence(), Sequence(128));
        bench.input(Input::Submission(bench.submission(1, 10)));
        assert_eq!(told(&mut bench), (None, vec![]));
    }

    /// N7: beside a batch in flight a request waits for others to fill the next one, for a short time and no longer.
    #[test]
    fn what_is_held_back_is_proposed_in_time() {
        for (status_interval, longest) in
            [(100, 10), (5000, 100)].map(|it| (it.0, Duration::from_millis(it.1)))
        {
            let status_interval = Duration::from_millis(status_interval);
            let mut bench = Bench::new(Parameters { status_interval, ..Parameters::default() });
            lead(&mut bench, &[]);
            told(&mut bench);
            bench.input(Input::Submission(bench.submission(1, 10)));
            assert_eq!(told(&mut bench), (None, vec![Sequence(1)]), "nothing was in flight");
            bench.input(Input::Submission(bench.submission(2, 10)));
            let end = bench.now.instant.plus(longest);
            assert_eq!(told(&mut bench), (Some(end), vec![]));
            expire(&mut bench, end);
            assert_eq!(told(&mut bench), (None, vec![Sequence(2)]));
        }
    }

    /// N7, VC6: so does what waited for another primary, beside what was carried over and may stay undecided.
    #[test]
    fn nothing_waits_for_ever_after_a_view_was_entered() {
        let mut bench = Bench::new(Parameters::default());
        let carried = bench.propose(LIAR, 0, 1, 10);
        bench.input(Input::Submission(bench.submission(2, 10)));
        bench.now.instant = bench.now.instant.plus(Duration::from_millis(700));
        let certificate = bench.prepared_batch(0, 1, carried.digest());
        lead(&mut bench, &[certificate]);
        let end = bench.now.instant.plus(Duration::from_millis(10));
        assert_eq!(told(&mut bench), (Some(end), vec![]));
        expire(&mut bench, end);
        assert_eq!(told(&mut bench), (None, vec![Sequence(2)]));
    }

    /// VC6: whatever earlier views left it to execute, a primary leads; what it lets be decided itself fills its pipeline.
    #[test]
    fn a_primary_with_a_backlog_of_execution_leads() {
        let mut bench = Bench::new(Parameters::default());
        let decide = |bench: &mut Bench, view: u64, sequence: u64, body: Arc<Body>| {
            let vote = Commit { view: View(view), sequence: Sequence(sequence), digest: body.digest() };
            let mut votes = VoteSet::default();
            for voter in [0, 1, 2].map(ReplicaId) {
                votes.insert(bench.sign(voter, vote.clone())).expect("a first vote");
            }
            let certificate = votes.quorum(bench.configuration.quorum()).expect("enough votes");
            bench.message(LIAR, Message::Committed(certificate, body));
        };
        let bodies: Vec<_> = (1..=10).map(|number| bench.body(number, 10)).collect();
        for (sequence, body) in (1..).zip(&bodies) {
            decide(&mut bench, 0, sequence, Arc::clone(body));
        }
        let prepared =
            (1..).zip(&bodies).map(|(sequence, it)| bench.prepared_batch(0, sequence, it.digest()));
        let prepared: Vec<_> = prepared.collect();
        lead(&mut bench, &prepared);
        assert_eq!((bench.replica.last_executed, bench.replica.view.max_s), (Sequence(0), Sequence(10)));
        for number in 11..=20 {
            told(&mut bench);
            let submission = bench.submission(number, 10);
            let body = Arc::new(Body::new(bench.now.wall, std::slice::from_ref(&submission)));
            bench.input(Input::Submission(submission));
            // Beside others it is held back.
            let later = bench.now.instant.plus(Duration::from_millis(10));
            expire(&mut bench, later);
            if number - 11 == Parameters::default().pipeline {
                assert_eq!(told(&mut bench).1, [], "as many are decided as fit, and not executed");
                return;
            }
            assert_eq!(told(&mut bench).1, [Sequence(number)]);
            decide(&mut bench, 3, number, body);
        }
        panic!("the pipeline has no end");
    }
}
