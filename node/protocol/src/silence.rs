//! Silent primaries (VC10): a primary from which nothing comes at all is left before the timer of a request ends.
//!
//! Every replica sends a STATUS each status interval, by a timer, whatever else it does. So a primary that says nothing for
//! most of the view timeout T is dead or cut off, and a backup for which something waits need not wait out the T that
//! a primary which lives is given.
//!
//! **Whose word counts.** Whatever comes verified over the primary's own link, since a word of its that others pass on may
//! be old; and the execution of a batch, since in this view nothing is decided but what it proposed, however that came
//! here. A primary is silent only after it was heard in this view: to one that was not, because this replica or that link
//! has just started, T applies.
//!
//! **For how long.** Silence is counted in rounds of this replica's own statuses. Only those count until which f+1 others
//! were heard since the last that does: they are there if no more than f are dead with the primary, and a replica that
//! hears fewer may be cut off itself, and would leave a view that goes on without it. So a pause of its own is one round at
//! most, and as it ends nobody is blamed before what came meanwhile was read, unless all the others were heard just
//! before it. 2/3 of the view's timeout in rounds (so that the round in which it ends, and the change, fit into the
//! timeout), but at least four of them (STATUSes may be lost), must have passed without a word, and what waits must have
//! waited for T/4: so a primary that was unreachable while nobody wanted anything has time to answer.
//!
//! **What it is not.** A primary that says STATUS and proposes nothing is not silent: the timer of N8 is for it. Nor does
//! an idle cluster change its view. As ever, f+1 replicas must agree before others follow (VC1), and the view's
//! timeout doubles without progress (VC7), and this patience with it.

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_messages::{Parameters, ReplicaId, WeakQuorum};

use crate::replica::Replica;
use crate::vigilance::rounds;
use crate::{Effects, Now, ViewChangeReason};

/// The fewest rounds of silence.
const LEAST: u64 = 4;

/// The part of the view timeout for which something must have waited.
const LONG_WAIT: u32 = 4;

/// How long the primary has been silent.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// The rounds that count since that of its last word; `None` before its first in this view.
    rounds: Option<u64>,
    /// Whether it has spoken in this round.
    spoke: bool,
    /// The others that were heard since the last round that counts.
    others: BTreeSet<ReplicaId>,
}

impl Silence {
    /// The primary has said something.
    fn broken(&mut self) {
        (self.rounds, self.spoke) = (Some(0), true);
        self.others.clear();
    }

    /// Another has said something. That matters once the primary has been silent for a while.
    fn another_spoke(&mut self, replica: ReplicaId) {
        if self.rounds.is_some() && !self.spoke {
            self.others.insert(replica);
        }
    }

    /// Ends a round, in which something was executed or not; gives the number of rounds of silence until here, 0 unless
    /// this is one of them.
    fn end_round(&mut self, executed: bool, enough: WeakQuorum) -> u64 {
        if executed && self.rounds.is_some() {
            self.broken();
        }
        let silent = !std::mem::take(&mut self.spoke) && enough.reached(self.others.len());
        let rounds = self.rounds.as_mut().filter(|_| silent);
        rounds.map_or(0, |rounds| {
            self.others.clear();
            *rounds += 1;
            *rounds
        })
    }
}

/// How many rounds of silence are too many in a view with such a timeout.
fn patience(timeout: Duration, parameters: &Parameters) -> u64 {
    rounds(timeout / 3 * 2, parameters).max(LEAST)
}

impl Replica {
    /// Notes that something came from another replica.
    pub(crate) fn heard(&mut self, from: ReplicaId) {
        if from == self.primary() {
            self.silence.broken();
        } else {
            self.silence.another_spoke(from);
        }
    }

    /// Judges the primary at the end of a round; `stalled` tells whether nothing was executed in it.
    pub(crate) fn listen(&mut self, stalled: bool, now: Now, effects: &mut Effects) {
        let silent = self.silence.end_round(!stalled, self.configuration.weak_quorum());
        let timeout = self.view.timeout;
        if silent < patience(timeout, self.parameters()) || self.is_primary() {
            return;
        }
        let waited = self.oldest_waiting().map(|since| self.patience.waited(since, now.instant));
        if waited.is_some_and(|waited| waited > timeout / LONG_WAIT) {
            self.start_view_change(self.view.active.next(), ViewChangeReason::SilentPrimary, now, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Message, Sequence};

    use super::*;
    use crate::testing::{Bench, LIAR, ME, status};
    use crate::{Effect, Input, Report, Timer};

    const MS: Duration = Duration::from_millis(1);
    const PRIMARY: ReplicaId = LIAR;

    fn parameters() -> Parameters {
        Parameters { view_timeout: MS * 1000, status_interval: MS * 100, ..Parameters::default() }
    }

    /// Ends a round that took so long, and in which the other backups were heard; says whether the primary is left for its
    /// silence.
    fn leaves(bench: &mut Bench, after: Duration) -> bool {
        for backup in [1, 2] {
            says(bench, ReplicaId(backup));
        }
        ends_round(bench, after)
    }

    /// Ends a round that took so long; says whether the primary is left for its silence.
    fn ends_round(bench: &mut Bench, after: Duration) -> bool {
        bench.now.instant = bench.now.instant.plus(after);
        bench.effects.clear();
        bench.input(Input::Timer(Timer::Status));
        let reason = ViewChangeReason::SilentPrimary;
        bench.effects.iter().any(
            |it| matches!(it, Effect::Report(Report::ViewChange { reason: given, .. }) if *given == reason),
        )
    }

    /// After how many rounds the primary is left, if it is within twenty.
    fn rounds_until_left(bench: &mut Bench) -> Option<usize> {
        (1..=20).find(|_| leaves(bench, MS * 100))
    }

    fn says(bench: &mut Bench, who: ReplicaId) {
        bench.message(who, Message::Status(status(None)));
    }

    /// A backup that has just heard its primary.
    fn backup() -> Bench {
        let mut bench = Bench::new(parameters());
        says(&mut bench, PRIMARY);
        bench
    }

    /// One for which a request waits besides.
    fn burdened() -> Bench {
        let mut bench = backup();
        bench.input(Input::Submission(bench.submission(1, 10)));
        bench
    }

    #[test]
    fn a_silent_primary_is_left_after_two_thirds_of_the_timeout() {
        // Seven rounds, and that in which it spoke last.
        assert_eq!(rounds_until_left(&mut burdened()), Some(8));
        let mut bench = burdened();
        assert!((0..9).all(|_| {
            says(&mut bench, PRIMARY);
            !leaves(&mut bench, MS * 100)
        }));
        assert_eq!(rounds_until_left(&mut bench), Some(7), "whatever it said before");
    }

    /// Who hears fewer than f+1 others may be cut off itself, and a liar may be the one that it hears.
    #[test]
    fn nobody_is_silent_because_everybody_is() {
        let mut bench = burdened();
        // The round of its last word, and six that count.
        assert!((0..7).all(|_| !leaves(&mut bench, MS * 100)));
        assert!(!ends_round(&mut bench, MS * 100), "nobody is heard");
        for _ in 0..5 {
            says(&mut bench, ReplicaId(1));
            assert!(!ends_round(&mut bench, MS * 100), "one of f+1 is");
        }
        says(&mut bench, ReplicaId(2));
        assert!(ends_round(&mut bench, MS * 100), "a lost word is none, and the rounds before still count");
    }

    #[test]
    fn nobody_is_left_who_is_not_needed() {
        let mut bench = backup();
        assert_eq!(rounds_until_left(&mut bench), None);
        bench.input(Input::Submission(bench.submission(1, 10)));
        assert_eq!(rounds_until_left(&mut bench), Some(3), "it has a quarter of the timeout to answer");
    }

    #[test]
    fn who_was_not_heard_in_this_view_is_not_silent() {
        let mut bench = Bench::new(parameters());
        bench.input(Input::Submission(bench.submission(1, 10)));
        assert_eq!(rounds_until_left(&mut bench), None, "a backup that has just started");
        let mut bench = burdened();
        for sender in [0, 1] {
            let view_change = bench.bare_view_change(sender, 3);
            bench.message(ReplicaId(sender), Message::ViewChange(view_change));
        }
        assert_eq!((bench.replica.primary(), rounds_until_left(&mut bench)), (ME, None));
    }

    /// A replica that was stopped for long has heard nobody meanwhile; what came is read before anybody is blamed.
    #[test]
    fn nobody_is_blamed_for_this_replicas_own_pause() {
        let mut bench = burdened();
        assert!((0..7).all(|_| !leaves(&mut bench, MS * 100)));
        assert!(!ends_round(&mut bench, Duration::from_secs(60)));
        says(&mut bench, PRIMARY);
        assert_eq!(rounds_until_left(&mut bench), Some(8));
    }

    #[test]
    fn whoever_lets_batches_be_executed_is_not_silent() {
        let mut bench = burdened();
        for _ in 0..99 {
            bench.replica.last_executed = bench.replica.last_executed.next();
            assert!(!leaves(&mut bench, MS * 100));
        }
        assert_eq!(bench.replica.last_executed, Sequence(99));
    }

    #[test]
    fn patience_follows_the_views_timeout_and_is_never_short() {
        let parameters = |status| Parameters { status_interval: MS * status, ..parameters() };
        for (timeout, status, rounds) in
            [(1000, 100, 7), (2000, 100, 14), (500, 100, 4), (300, 50, 4), (200, 100, 4), (10, 1, 7)]
        {
            assert_eq!(patience(MS * timeout, &parameters(status)), rounds, "{timeout} ms");
        }
        let mut bench = burdened();
        bench.replica.view.timeout *= 2;
        assert_eq!(rounds_until_left(&mut bench), Some(15));
    }
}
