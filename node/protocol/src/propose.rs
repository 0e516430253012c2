//! The primary's part of the normal case: batches are formed and proposed (N2, N6, N7).

use std::sync::Arc;

use pbft_messages::{Body, Parameters, PeerMessage, PrePrepare};

use crate::log::Slot;
use crate::replica::Replica;
use crate::{Effects, Instant, Now, Report};

impl Replica {
    /// Proposes as long as the pipeline has room: with nothing in flight, whatever waits goes at once; else what comes
    /// fills the next batch, until that is worth its cost (N7).
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
            && self.next_sequence <= self.high()
            && self.in_flight() < self.parameters().pipeline
    }

    /// Whether what waits goes now. A batch costs each replica signatures and a write, whatever its size; so while
    /// others are in flight one waits until it is full, or holds twice as much as those do, or has waited for long. So
    /// under load batches grow, and agreement on one goes on while the next one fills.
    fn is_worth_a_batch(&self, now: Now) -> bool {
        let Parameters { batch_requests, batch_bytes, .. } = *self.parameters();
        let in_flight = self.undecided().filter_map(|slot| slot.accepted_body());
        let in_flight: usize = in_flight.map(Body::requests).sum();
        let waits = self.waiting.unproposed();
        waits.requests >= (2 * in_flight).min(batch_requests)
            || waits.bytes >= batch_bytes
            || self.held_until().is_some_and(|end| end <= now.instant)
    }

    /// Until when what waits may be held back for a batch to fill: for a time in which few batches would cost much.
    pub(crate) fn held_until(&self) -> Option<Instant> {
        let longest = self.parameters().status_interval / 10;
        self.waiting.oldest_unproposed().map(|since| self.patience.end(since, longest))
    }

    /// How many proposals of this primary are not decided.
    fn in_flight(&self) -> u64 {
        self.undecided().count() as u64
    }

    /// The proposals of this primary that are not decided. Those that are decided and wait here for state do not count:
    /// a primary that lags may lead all the same (VC6).
    fn undecided(&self) -> impl Iterator<Item = &Slot> {
        let slots = self.log.above(self.last_executed.max(self.stable_sequence()));
        let proposed = slots.take_while(|(sequence, _)| *sequence < self.next_sequence);
        proposed.map(|(_, slot)| slot).filter(|slot| slot.committed.is_none())
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
