//! A client's submission: answered again, waiting, passed on (N8).

use std::time::Duration;

use pbft_crypto::Verified;
use pbft_messages::{Parameters, PeerMessage, ReplicaId, Reply, Submission};

use crate::pace::Part;
use crate::replica::Replica;
use crate::waiting::{Admission, Load};
use crate::{Effect, Effects, Now, Rejection, Report};

/// How many waiting submissions are passed on again at a time.
const FORWARDED: usize = 64;

impl Replica {
    /// A submission from its client.
    pub(crate) fn on_submission(
        &mut self,
        submission: Verified<Submission>,
        now: Now,
        effects: &mut Effects,
    ) {
        if self.answer_again(&submission, effects) {
            return;
        }
        let parameters = self.parameters();
        let requests = self.pace.limit(self.part(), parameters);
        let limit = Load { requests, bytes: parameters.waiting_bytes };
        match self.waiting.insert(&submission, limit, self.patience.at(now.instant)) {
            // The primary has it by now, as a rule, and a round tells.
            Admission::New if self.holds_back() => {}
            Admission::New => self.forward_held(Duration::ZERO, now, effects),
            // The client asks again: perhaps the primary has not heard of it.
            Admission::Known => {
                let again = self.waiting.repeat(submission.value(), submission.signer()).cloned();
                again.into_iter().for_each(|submission| self.forward(&submission, effects));
            }
            Admission::Full => {
                let (client, value) = (submission.signer(), submission.value());
                let first = value.requests().next().map(|request| request.number).unwrap_or_default();
                self.pace.shed();
                effects.report(Report::Shed);
                effects.push(Effect::Busy { client, session: value.session(), first });
            }
        }
    }

    /// A submission that a backup passes to this primary. It is not shed for the pace's sake: what another replica has
    /// taken on, it times (N8).
    pub(crate) fn on_forward(
        &mut self,
        from: ReplicaId,
        submission: Verified<Submission>,
        now: Now,
        effects: &mut Effects,
    ) {
        if !self.is_primary() {
            return self.reject(from, Rejection::Unasked, effects);
        }
        if !self.answer_again(&submission, effects) {
            let Parameters { waiting_requests, waiting_bytes, .. } = *self.parameters();
            let limit = Load { requests: waiting_requests, bytes: waiting_bytes };
            let (n, since) = (self.configuration.n(), self.patience.at(now.instant));
            // What all backups may have taken on has room here (N8), of each client too.
            self.waiting.insert_forwarded(&submission, limit, n, since);
        }
    }

    /// This replica's part in its view, which tells how much may wait here.
    pub(crate) fn part(&self) -> Part {
        if self.is_primary() { Part::Primary } else { Part::Backup { of: self.configuration.n() } }
    }

    /// Passes a submission to the primary.
    fn forward(&self, submission: &Verified<Submission>, effects: &mut Effects) {
        if !self.is_primary() && self.view.pending.is_none() {
            effects.send(self.primary(), PeerMessage::Forward(submission.signed().clone()));
        }
    }

    /// Passes to the primary what has waited for so long and was not passed on yet.
    pub(crate) fn forward_held(&mut self, hold: Duration, now: Now, effects: &mut Effects) {
        if self.is_primary() || self.view.pending.is_some() {
            return;
        }
        let due = |since| self.patience.waited(since, now.instant) >= hold;
        for submission in self.waiting.pass_on(due) {
            self.forward(&submission, effects);
        }
    }

    /// Whether what comes from clients is passed on only if it waits for a while: so a client that sends to all replicas at
    /// once costs no more messages than that, if the primary does its work. Not where the primary would hear of it late, nor
    /// when this replica lets in less than it is asked for, and what it holds keeps others out.
    fn holds_back(&self) -> bool {
        let Parameters { status_interval, view_timeout, .. } = *self.parameters();
        // It is passed on at the end of a round, half of one after it came.
        status_interval * 3 / 2 <= view_timeout / 4 && !self.pace.sheds()
    }

    /// Passes what waits to a new primary: all of it, or the oldest and the rest at the end of a round.
    pub(crate) fn forward_to_new_primary(&mut self, now: Now, effects: &mut Effects) {
        if self.holds_back() {
            self.forward_waiting(effects);
        } else {
            self.forward_held(Duration::ZERO, now, effects);
        }
    }

    /// Passes the oldest waiting submissions to the primary, which may not have them: it is new, or they were lost.
    pub(crate) fn forward_waiting(&self, effects: &mut Effects) {
        for submission in self.waiting.submissions().take(FORWARDED) {
            self.forward(submission, effects);
        }
    }

    /// Sends the kept replies if every request of the submission was executed; says whether.
    fn answer_again(&self, submission: &Verified<Submission>, effects: &mut Effects) -> bool {
        let (client, value) = (submission.signer(), submission.value());
        let session = value.session();
        let replies: Option<Vec<_>> = value
            .ids(client)
            .zip(value.requests())
            .map(|(id, request)| {
                let (digest, sequence, outcome) = self.ledger.answer(id, request.operation)?;
                Some(Reply { view: self.view.active, session, number: id.number, digest, sequence, outcome })
            })
            .collect();
        match replies {
            Some(replies) => {
                effects.push(Effect::Reply { client, session, replies });
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pbft_messages::View;

    use super::*;
    use crate::testing::Bench;
    use crate::{Input, Timer, ViewChangeReason};

    const MS: Duration = Duration::from_millis(1);

    /// A backup, and the submissions that it has passed on since last asked. Its rounds end each 100 ms.
    struct Backup(Bench);

    impl Backup {
        fn new() -> Self {
            Self::of(Parameters { view_timeout: MS * 1000, ..Parameters::default() })
        }

        fn of(parameters: Parameters) -> Self {
            let mut bench = Bench::new(Parameters { status_interval: MS * 100, ..parameters });
            bench.next_round();
            Self(bench)
        }

        fn asked(&mut self, number: u64, bytes: usize) {
            let submission = self.0.submission(number, bytes);
            self.0.input(Input::Submission(submission));
        }

        /// Lets time pass; which requests were passed on.
        fn after(&mut self, wait: Duration) -> Vec<u64> {
            self.0.now.instant = self.0.now.instant.plus(wait);
            self.0.input(Input::Timer(Timer::Status));
            let (primary, effects) = (self.0.replica.primary(), self.0.effects.drain(..));
            let numbers = effects.filter_map(|effect| match effect {
                Effect::Send { to, message: PeerMessage::Forward(it) } if to == primary => match it.peek() {
                    Ok(Submission::Requests { first, .. }) => Some(first.0),
                    _ => None,
                },
                _ => None,
            });
            numbers.collect()
        }
    }

    /// N8: whoever sends to all replicas at once costs the primary no frames, if it does its work.
    #[test]
    fn a_request_is_passed_on_once_and_only_if_it_still_waits_after_a_while() {
        let mut backup = Backup::new();
        assert_eq!(backup.after(MS * 60), []);
        backup.asked(1, 10);
        assert_eq!(backup.after(MS * 40), [], "the primary may have it, and needs a while");
        assert_eq!(backup.after(MS * 20), []);
        backup.asked(2, 10);
        assert_eq!(backup.after(MS * 60), []);
        backup.asked(3, 10);
        assert_eq!(backup.after(MS * 20), [1, 2]);
        assert_eq!(backup.after(MS * 100), [3]);
        assert_eq!(backup.after(MS * 100), []);
    }

    #[test]
    fn a_request_that_its_client_repeats_is_passed_on_at_once() {
        let mut backup = Backup::new();
        backup.asked(1, 10);
        assert_eq!(backup.after(MS), []);
        backup.asked(1, 10);
        assert_eq!(backup.after(MS), [1]);
    }

    /// R1: each copy is a frame and a signature to check at the primary.
    #[test]
    fn what_a_client_repeats_is_passed_on_once_a_round() {
        let mut backup = Backup::new();
        for _ in 0..1000 {
            backup.asked(1, 10);
        }
        assert_eq!(backup.after(MS), [1]);
        backup.after(MS * 100);
        backup.asked(1, 10);
        assert_eq!(backup.after(MS), [1], "in another round");
    }

    /// What came while the view was changing, and what an earlier primary was told, is passed on to the new one.
    #[test]
    fn a_new_primary_is_told_of_all_that_waits() {
        let mut backup = Backup::new();
        let many = 1..=120;
        backup.0.replica.pace.executed(10_000);
        backup.asked(1, 10);
        assert_eq!(backup.after(MS * 100), [1]);
        backup.0.replica.start_view_change(
            View(1),
            ViewChangeReason::RequestTimeout,
            backup.0.now,
            &mut Effects::new(),
        );
        for number in many.clone().skip(1) {
            backup.asked(number, 10);
        }
        assert_eq!(backup.after(MS * 100), [], "there is no primary");
        backup.0.enter(1, [0, 1, 2]);
        let mut told = backup.after(MS);
        told.extend(backup.after(MS * 100));
        told.sort_unstable();
        told.dedup();
        assert_eq!(told, many.collect::<Vec<_>>());
    }

    /// All of it at once, if the end of a round is near the end of the timer.
    #[test]
    fn a_new_primary_is_told_in_time() {
        let mut backup = Backup::of(Parameters { view_timeout: MS * 500, ..Parameters::default() });
        backup.0.replica.pace.executed(10_000);
        backup.after(MS * 100);
        (1..=100).for_each(|number| backup.asked(number, 10));
        backup.0.enter(1, [0, 1, 2]);
        assert_eq!(backup.after(Duration::ZERO), (1..=100).collect::<Vec<_>>());
    }

    /// N8: a backup that lets in less than it is asked for gets rid of what it holds as soon as it can.
    #[test]
    fn what_is_let_in_while_others_are_shed_is_passed_on_at_once() {
        let mut backup = Backup::new();
        backup.asked(1, 10);
        backup.0.replica.pace.shed();
        backup.asked(2, 10);
        assert_eq!(backup.after(MS), [1, 2]);
        backup.after(MS * 100);
        backup.asked(3, 10);
        assert_eq!(backup.after(MS), [3], "some were shed in the round before");
        backup.after(MS * 100);
        backup.asked(4, 10);
        assert_eq!(backup.after(MS), []);
    }

    /// Far from any timeout, that is.
    #[test]
    fn nothing_is_held_if_rounds_are_long() {
        let mut backup = Backup::of(Parameters { view_timeout: MS * 500, ..Parameters::default() });
        backup.asked(1, 10);
        assert_eq!(backup.after(MS), [1]);
    }
}
