//! PRE-PREPARE (OSDI'99 §4.2; N2): a backup accepts the primary's proposal.

use std::sync::Arc;

use pbft_crypto::{Signed, Verified, mutant};
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
            // The primary has signed it all the same, so another one at its place contradicts it (section E). That
            // changes nothing about a second proposal that would be good: a correct primary makes none, and one that
            // does has just been deposed by the proof (VC1).
            self.remember(&header);
            return self.reject(from, reason, effects);
        }
        let may_accept = self.may_vote() && sequence <= self.high();
        let since = self.patience.at(now.instant);
        let slot = self.log.slot(sequence);
        // Whatever body came under its header before, this one is good.
        slot.refused = None;
        if slot.accepted.is_some() {
            // The body of a proposal accepted by its header alone, as those of O are.
            self.wanted.remove(&(header.value().digest, sequence));
        } else if may_accept {
            slot.accept(header, &body, since);
        } else if !self.remember(&header) {
            return;
        }
        // Above H there is room for so many bytes only; a stalled replica fetches what it could not keep (R1).
        let accepted = self.log.slot(sequence).accepted.is_some();
        let (high, room) = (self.high(), self.parameters().waiting_bytes);
        if !accepted && sequence > high && self.log.body_bytes_above(high) + body.memory_bytes() > room {
            return;
        }
        self.log.slot(sequence).keep(body);
        self.try_prepare(sequence, effects);
        self.try_prepared(sequence, now, effects);
    }

    /// The header of a proposal whose body is refused by whoever verifies it. It is remembered, so that another one at its
    /// place is proof; its body is not asked for, which would cost more to judge here.
    pub(crate) fn on_refused_proposal(
        &mut self,
        header: &Verified<PrePrepare>,
        now: Now,
        effects: &mut Effects,
    ) {
        let PrePrepare { view, sequence, digest } = *header.value();
        if view == self.view.active && self.out_of_log(sequence).is_none() {
            self.compare_proposals(header, now, effects);
            self.remember(header);
            // Anybody may put another body under the header of a good proposal.
            let slot = self.log.slot(sequence);
            if slot.body(&digest).is_none() {
                slot.refused = Some(digest);
            }
        }
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
        let digest = header.value().digest;
        let Some(body) = slot.body(&digest).filter(|_| slot.refused != Some(digest)) else { return };
        if self.proposal_rejection(&header, &body, now).is_some() {
            return;
        }
        // The body may have been fetched by its digest alone, so its submissions are checked here: once, if they are bad.
        let good = body.check_fresh(&self.configuration).is_ok();
        let since = self.patience.at(now.instant);
        let slot = self.log.slot(sequence);
        if good {
            slot.accept(header, &body, since);
            self.try_prepare(sequence, effects);
        } else {
            slot.refused = Some(digest);
        }
    }

    /// The proposal of the active view sighted at a place, if it is what it should be.
    pub(crate) fn sighted(&self, sequence: Sequence) -> Option<Verified<PrePrepare>> {
        self.log.get(sequence)?.sighted.clone()?.verify(&self.configuration).ok()
    }

    /// Keeps a proposal of the active view that is not accepted, or not yet, to compare others with it. Of several at
    /// a place the first is kept; says whether this is it.
    fn remember(&mut self, header: &Verified<PrePrepare>) -> bool {
        let PrePrepare { sequence, .. } = *header.value();
        // What came beside a PREPARE may be no proposal at all.
        let sighted = self.sighted(sequence);
        let slot = self.log.slot(sequence);
        if slot.accepted.is_none() && sighted.is_none() {
            slot.sighted = Some(header.signed().clone());
        }
        sighted.is_none_or(|sighted| sighted.value() == header.value())
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

    /// Notes the proposal that came beside a PREPARE. It is verified only when it says something else than what is held,
    /// which shows a primary that lies to both halves (N3).
    pub(crate) fn sight_proposal(
        &mut self,
        sequence: Sequence,
        header: Signed<PrePrepare>,
        now: Now,
        effects: &mut Effects,
    ) {
        if mutant!("header-beside-prepare-ignored") {
            return;
        }
        let slot = self.log.slot(sequence);
        let held = slot.accepted.as_ref().map(Verified::signed).or(slot.sighted.as_ref());
        if held.is_some_and(|held| held.payload() != header.payload()) {
            if let Ok(header) = header.verify(&self.configuration) {
                self.compare_proposals(&header, now, effects);
                self.remember(&header);
            }
            return;
        }
        // The same may be held under a signature that a liar made up, which must not keep the primary's own away.
        let news = slot.accepted.is_none() && slot.sighted.as_ref() != Some(&header);
        if news && self.sighted(sequence).is_none() {
            self.log.slot(sequence).sighted = Some(header);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pbft_crypto::Digest;
    use pbft_messages::{EvidenceKind, Parameters, PeerMessage, Prepare, Proven, View};

    use super::*;
    use crate::Effect;
    use crate::testing::{Bench, LIAR};

    /// Has the primary propose, at sequence 1, a batch of so many bytes whose time is so far ahead of this replica's
    /// clock.
    fn propose_ahead(bench: &mut Bench, ahead: Duration, bytes: usize) {
        let wall = bench.now.wall;
        bench.now.wall.0 += ahead.as_nanos() as u64;
        let body = bench.body(1, bytes);
        bench.now.wall = wall;
        let header = PrePrepare { view: View(0), sequence: Sequence(1), digest: body.digest() };
        let header = bench.sign(LIAR, header);
        bench.message(LIAR, Message::Proposal(header, body));
    }

    fn prepares(bench: &Bench) -> usize {
        let prepare = |it: &&Effect| matches!(it, Effect::Broadcast(PeerMessage::Prepare(..)));
        bench.effects.iter().filter(prepare).count()
    }

    /// Section E, N6: a proposal that is refused for its time is a signed statement like any other.
    #[test]
    fn a_refused_proposal_and_another_at_its_place_are_proof() {
        let bound = Parameters::default().clock_bound;
        for second in [Duration::ZERO, bound * 2] {
            let mut bench = Bench::new(Parameters::default());
            propose_ahead(&mut bench, bound * 2, 10);
            assert!(bench.replica.evidence.is_empty());
            propose_ahead(&mut bench, second, 20);
            let accused: Vec<_> = bench.replica.evidence.keys().map(|it| (it.accused, it.kind)).collect();
            assert_eq!(accused, [(LIAR, EvidenceKind::PrePrepare)], "{second:?}");
            // The proof deposes the primary before its second proposal is judged.
            assert_eq!(bench.replica.view.pending, Some(View(1)));
            let slot = bench.replica.log.get(Sequence(1)).expect("the first is remembered there");
            assert!(slot.accepted.is_none());
            assert_eq!(prepares(&bench), 0);
        }
    }

    /// The same proposal comes again once the clocks agree: that it was refused before stands in nobody's way.
    #[test]
    fn a_refused_proposal_is_accepted_once_its_time_is_fresh() {
        let bound = Parameters::default().clock_bound;
        let mut bench = Bench::new(Parameters::default());
        propose_ahead(&mut bench, bound * 2, 10);
        assert_eq!(prepares(&bench), 0);
        bench.now.wall.0 += bound.as_nanos() as u64;
        propose_ahead(&mut bench, bound, 10);
        assert!(bench.replica.evidence.is_empty());
        assert_eq!(prepares(&bench), 1);
    }

    /// Section E: a header whose body is bad is a signed statement too; whichever comes first, and a good proposal of the
    /// same digest is accepted.
    #[test]
    fn a_proposal_with_a_bad_body_and_another_are_proof() {
        for reversed in [false, true] {
            let mut bench = Bench::new(Parameters::default());
            let bad = PrePrepare { view: View(0), sequence: Sequence(1), digest: crate::testing::digest(1) };
            let bad = Message::RefusedProposal(bench.sign(LIAR, bad));
            if reversed {
                bench.propose(LIAR, 0, 1, 10);
                bench.message(LIAR, bad);
            } else {
                bench.message(LIAR, bad.clone());
                bench.message(LIAR, bad);
                assert_eq!(bench.accused(), []);
                bench.propose(LIAR, 0, 1, 10);
            }
            assert_eq!(bench.accused(), [(0, EvidenceKind::PrePrepare, 0, 1)]);
        }
        let mut bench = Bench::new(Parameters::default());
        let body = bench.body(1, 10);
        let header = PrePrepare { view: View(0), sequence: Sequence(1), digest: body.digest() };
        let header = bench.sign(LIAR, header);
        bench.message(LIAR, Message::RefusedProposal(header));
        bench.propose(LIAR, 0, 1, 10);
        assert_eq!((bench.accused(), prepares(&bench)), (vec![], 1));
    }

    /// A vote for a batch at sequence 1, beside the primary's signature or one that is made up.
    fn vote(bench: &Bench, from: u16, digest: Digest, is_good: bool) -> Message {
        let (view, sequence) = (View(0), Sequence(1));
        let vote = bench.sign(ReplicaId(from), Prepare { view, sequence, digest });
        let header = bench.sign(LIAR, PrePrepare { view, sequence, digest });
        let made_up = *vote.signed().signature();
        Message::Prepare(vote, if is_good { *header.signed().signature() } else { made_up })
    }

    /// Section E, N3: of two liars the backup is quick to put garbage where the primary's signature belongs.
    #[test]
    fn a_made_up_signature_keeps_the_primarys_own_away_from_nobody() {
        let mut bench = Bench::new(Parameters::default());
        let batch = bench.body(1, 10).digest();
        for (from, is_good) in [(2, false), (1, true)] {
            let vote = vote(&bench, from, batch, is_good);
            bench.message(ReplicaId(from), vote);
        }
        // Enough have prepared, so the body is all that is lacking.
        assert_eq!(bench.replica.wanted, [(batch, Sequence(1))].into());
        // A signature that is made up takes the place of no good one.
        let again = vote(&bench, 2, batch, false);
        bench.message(ReplicaId(2), again);
        bench.propose(LIAR, 0, 1, 20);
        assert_eq!(bench.accused(), [(0, EvidenceKind::PrePrepare, 0, 1)]);
    }

    /// Whoever verifies proposals has judged the body: to fetch it, and judge it here, would take this replica's own
    /// time. But a certificate shows that others found it good.
    #[test]
    fn a_refused_body_is_not_asked_for_unless_enough_have_prepared_it() {
        let mut bench = Bench::new(Parameters::default());
        let batch = bench.body(1, 10).digest();
        let header = PrePrepare { view: View(0), sequence: Sequence(1), digest: batch };
        let header = bench.sign(LIAR, header);
        bench.message(LIAR, Message::RefusedProposal(header));
        let votes = [1, 2].map(|from| (ReplicaId(from), vote(&bench, from, batch, true)));
        for (from, vote) in votes {
            bench.next_round();
            assert_eq!(bench.replica.wanted, [].into());
            bench.message(from, vote);
        }
        assert_eq!(bench.replica.wanted, [(batch, Sequence(1))].into());
    }

    /// It came by its digest, for others' PREPAREs told of it.
    #[test]
    fn a_bad_body_that_was_fetched_is_judged_once() {
        let mut bench = Bench::new(Parameters::default());
        let twice = [bench.submission(1, 10), bench.submission(1, 10)];
        let body = Arc::new(Body::new(bench.now.wall, &twice));
        let told = vote(&bench, 2, body.digest(), true);
        bench.message(ReplicaId(2), told);
        bench.next_round();
        bench.message(LIAR, Message::Body(Arc::clone(&body)));
        let slot = bench.replica.log.get(Sequence(1)).expect("it was sighted there");
        assert_eq!((slot.refused, slot.accepted.as_ref()), (Some(body.digest()), None));
    }

    /// Another body under the header of a proposal, from anybody, does nothing to the one that is held or comes.
    #[test]
    fn a_good_body_is_accepted_whatever_else_came_under_its_header() {
        let parameters = Parameters { checkpoint_interval: 4, window: 8, ..Parameters::default() };
        for held in [false, true] {
            let mut bench = Bench::new(parameters.clone());
            let body = bench.body(1, 10);
            // Above H.
            let header = PrePrepare { view: View(0), sequence: Sequence(9), digest: body.digest() };
            let header = bench.sign(LIAR, header);
            let mut messages =
                [Message::RefusedProposal(header.clone()), Message::Proposal(header, Arc::clone(&body))];
            if held {
                messages.reverse();
            }
            for message in messages {
                bench.message(LIAR, message);
            }
            assert_eq!(prepares(&bench), 0);
            let certificate = Proven::new(bench.stable(4), &bench.configuration).expect("it is good");
            bench.message(ReplicaId(1), Message::Stable(certificate));
            assert_eq!(prepares(&bench), 1, "held: {held}");
        }
    }

    /// What is refused far and wide is remembered within the log only.
    #[test]
    fn refused_proposals_are_remembered_within_the_log() {
        let parameters = Parameters { checkpoint_interval: 4, window: 8, ..Parameters::default() };
        let mut bench = Bench::new(parameters);
        bench.now.wall.0 += Duration::from_secs(3600).as_nanos() as u64;
        let stale = bench.body(1, 10);
        bench.now.wall.0 += Duration::from_secs(3600).as_nanos() as u64;
        for sequence in 1..=100 {
            let header = PrePrepare { view: View(0), sequence: Sequence(sequence), digest: stale.digest() };
            let header = bench.sign(LIAR, header);
            bench.message(LIAR, Message::Proposal(header, stale.clone()));
        }
        assert_eq!((bench.replica.log.len(), bench.replica.log.highest()), (16, Sequence(16)));
        assert!(bench.replica.log.above(Sequence(0)).all(|(_, slot)| slot.sighted.is_some()));
        assert_eq!(bench.replica.log.body_bytes_above(Sequence(0)), 0, "no body is kept");
    }
}
