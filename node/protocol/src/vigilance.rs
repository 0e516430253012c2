//! Slow primaries (VC9): a primary that delays just under the timeout, or starves a client, is voted out.
//!
//! **What is measured.** Backups end a round with each status, and a span with each view timeout T. At the end of a
//! round a backup looks for how long the oldest of the requests that wait here has stood in no proposal: agreement
//! that is slow for everybody (disks, executions, a full window) is not the primary's and is not counted, and one
//! starved client is seen however well the others fare. Beside it stands the *pace*: the requests executed in a round,
//! in all rounds, and in those through which some request waited here. Clients ask everybody only after a while, so
//! with a good primary nothing waits at a backup at all.
//!
//! **The floor.** A span is slow if a request waited for a proposal
//! - for more than T/2: an honest primary proposes in the order of arrival, and N8 sheds what would wait for longer; or
//! - for more than T/4 while the primary's pipeline had room, and the pace was under a quarter of the best span of this
//!   view or of the last n views: then neither the load nor slow agreement made it wait. (The pace guards against
//!   moments in which the pipeline only seems to have room from here; the room, against costlier requests.) A cluster
//!   so slow that passing a request on and proposing it honestly takes T/4 fails the timer of N8, which covers three
//!   more steps of that length.
//!
//! A slow span weighs two, a good one takes one back, and six depose: three slow spans in a row, or two of three for
//! longer. A span without requests says nothing. So what a primary can do unnoticed is to delay by T/4, or for a third
//! of the time.
//!
//! **When it rests.** The first spans of a view are its grace: two, doubled with each view that VC9 ended without
//! improvement, capped like VC7's timeout. When n views in a row were slow, every replica has been tried: capacity was
//! lost, it is not withheld, and nobody is voted out until a span is good again. A replica that is behind, in a view
//! change or the primary itself judges nobody.

use std::collections::VecDeque;
use std::time::Duration;

use pbft_crypto::mutant;
use pbft_messages::Parameters;

use crate::replica::{Replica, requests_in_log};
use crate::{Effects, Instant, Now, ViewChangeReason};

/// No proposal may take longer, whatever the pace: a part of the view timeout.
const LONGEST_WAIT: u32 = 2;

/// No proposal may take longer while the pipeline has room and the pace is low: a part of the view timeout.
const LONG_WAIT: u32 = 4;

/// The floor of the pace: a part of the best of the last n views.
const FLOOR: u64 = 4;

/// How a slow span weighs against a good one, and the weight that deposes.
const SLOW: u32 = 2;
const GOOD: u32 = 1;
const DEPOSED: u32 = 6;

/// The grace at the start of a view, in spans.
const GRACE: u64 = 2;

/// What a backup knows about its primary's zeal.
#[derive(Debug)]
pub(crate) struct Vigilance {
    /// The number of replicas.
    n: usize,
    /// The best pace of each of the last n views before this one in which anything was achieved.
    achieved: VecDeque<Pace>,
    /// The best pace in this view.
    best: Pace,
    /// How many rounds of the view's grace are left.
    grace: u64,
    /// The weight of slow spans in this view.
    weight: u32,
    /// How many views in a row ended slow.
    fruitless: u32,
    /// The requests executed in this round.
    executed: u64,
    /// Whether the primary's pipeline had room at the end of the last round.
    had_room: bool,
    span: Span,
}

/// Requests in a thousand rounds.
type Pace = u64;

/// What a backup saw in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// For how long the oldest request that stands in no proposal has waited.
    unproposed: Duration,
    /// Whether the primary's pipeline had room at its end.
    room: bool,
    /// Whether some request waited all the time.
    busy: bool,
}

#[derive(Debug, Default)]
struct Span {
    all: Rounds,
    /// Those through which some request waited.
    busy: Rounds,
    longest_wait: Duration,
    /// The longest wait beside a pipeline with room.
    needless_wait: Duration,
}

#[derive(Debug, Default)]
struct Rounds {
    count: u64,
    executed: u64,
}

impl Rounds {
    fn add(&mut self, executed: u64) {
        self.count += 1;
        self.executed += executed;
    }

    fn pace(&self) -> Pace {
        self.executed * 1000 / self.count.max(1)
    }
}

impl Span {
    fn is_slow(&self, best: Pace, timeout: Duration) -> bool {
        let below_floor = self.busy.pace() < best / FLOOR;
        self.longest_wait > timeout / LONGEST_WAIT || self.needless_wait > timeout / LONG_WAIT && below_floor
    }
}

impl Vigilance {
    pub(crate) fn new(n: usize, parameters: &Parameters) -> Self {
        let mut vigilance = Self {
            n,
            achieved: VecDeque::new(),
            best: 0,
            grace: 0,
            weight: 0,
            fruitless: 0,
            executed: 0,
            had_room: false,
            span: Span::default(),
        };
        vigilance.enter_view(parameters);
        vigilance
    }

    /// Another view begins: its primary is judged by itself, against what the last ones achieved.
    pub(crate) fn enter_view(&mut self, parameters: &Parameters) {
        if self.weight > 0 {
            self.fruitless += 1;
        }
        if self.best > 0 {
            self.achieved.push_back(self.best);
        }
        if self.achieved.len() > self.n {
            self.achieved.pop_front();
        }
        let cap = rounds(parameters.view_timeout_cap, parameters);
        let doubled = 1u64.checked_shl(self.fruitless).unwrap_or(u64::MAX);
        self.grace = (GRACE * rounds(parameters.view_timeout, parameters)).saturating_mul(doubled).min(cap);
        (self.best, self.weight, self.span) = (0, 0, Span::default());
    }

    /// Notes executed requests.
    pub(crate) fn executed(&mut self, requests: usize) {
        self.executed += requests as u64;
    }

    /// Ends a round, of which `None` says nothing; says whether the primary is to be voted out.
    fn end_round(&mut self, round: Option<Round>, parameters: &Parameters) -> bool {
        let executed = std::mem::take(&mut self.executed);
        let in_grace = self.grace > 0;
        self.grace = self.grace.saturating_sub(1);
        let Some(round) = round else {
            self.span = Span::default();
            return false;
        };
        self.span.all.add(executed);
        if round.busy {
            self.span.busy.add(executed);
        }
        self.span.longest_wait = self.span.longest_wait.max(round.unproposed);
        // One glance may fall between a decision and the proposal after it.
        let had_room = std::mem::replace(&mut self.had_room, round.room);
        if round.room && had_room {
            self.span.needless_wait = self.span.needless_wait.max(round.unproposed);
        }
        if self.span.all.count < rounds(parameters.view_timeout, parameters) {
            return false;
        }
        let span = std::mem::take(&mut self.span);
        self.best = self.best.max(span.all.pace());
        let best = self.achieved.iter().copied().fold(self.best, Pace::max);
        if span.is_slow(best, parameters.view_timeout) {
            if !in_grace && (self.fruitless as usize) < self.n {
                self.weight += SLOW;
            }
        } else if span.all.executed > 0 {
            self.weight = self.weight.saturating_sub(GOOD);
            if self.weight == 0 {
                self.fruitless = 0;
            }
        }
        self.weight >= DEPOSED && !mutant!("slow-primary-kept")
    }
}

/// A duration in status intervals, at least one.
pub(crate) fn rounds(duration: Duration, parameters: &Parameters) -> u64 {
    let rounds = duration.as_micros().div_ceil(parameters.status_interval.as_micros().max(1));
    u64::try_from(rounds).unwrap_or(u64::MAX).max(1)
}

impl Replica {
    /// Judges the primary at the end of a round; `stalled` tells whether nothing was executed in it.
    pub(crate) fn watch_primary(&mut self, stalled: bool, now: Now, effects: &mut Effects) {
        let round = self.watched(stalled, now);
        if self.vigilance.end_round(round, self.configuration.parameters()) {
            self.start_view_change(self.view.active.next(), ViewChangeReason::SlowPrimary, now, effects);
        }
    }

    /// What this backup saw of its primary; `None` if it is in no position to judge.
    fn watched(&mut self, stalled: bool, now: Now) -> Option<Round> {
        let next = self.log.get(self.last_executed.next());
        // That a later batch is decided tells nothing of this replica: a primary may leave a gap on purpose.
        let behind = self.transfer.is_some() || stalled && next.is_some_and(|slot| slot.committed.is_some());
        if self.is_primary() || !self.may_vote() || behind {
            return None;
        }
        let long = self.parameters().view_timeout / LONG_WAIT;
        let interval = self.parameters().status_interval;
        let waited = |since: Instant| self.patience.waited(since, now.instant);
        let longest = self.waiting.oldest().map_or(Duration::ZERO, waited);
        if longest > long {
            // Proposals are compared with what waits only if that could matter.
            self.waiting.restart_proposals(&requests_in_log(&self.log, self.last_executed));
        }
        let unproposed = self.waiting.oldest_unproposed().map_or(Duration::ZERO, waited);
        let in_flight = self.in_flight(self.log.highest().next(), |slot| slot.accepted.is_some());
        Some(Round { unproposed, room: in_flight < self.parameters().pipeline, busy: longest >= interval })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T is ten rounds; the cap of the grace is 300.
    fn vigilance() -> (Vigilance, Parameters) {
        let parameters = Parameters::default();
        (Vigilance::new(4, &parameters), parameters)
    }

    /// Lets spans pass in which so many requests are executed a round while the oldest waits for so many milliseconds;
    /// tells after how many the primary is voted out.
    fn spans(
        (vigilance, parameters): &mut (Vigilance, Parameters),
        count: usize,
        executed: usize,
        wait: u64,
    ) -> Option<usize> {
        let round = Round { unproposed: Duration::from_millis(wait), room: true, busy: wait >= 100 };
        (0..count).find(|_| {
            // All ten, whatever comes of the first ones.
            let deposed = (0..10).filter(|_| {
                vigilance.executed(executed);
                vigilance.end_round(Some(round), parameters)
            });
            deposed.count() > 0
        })
    }

    #[test]
    fn three_spans_of_long_waits_depose_after_the_grace() {
        assert_eq!(spans(&mut vigilance(), 9, 100, 501), Some(4));
        assert_eq!(spans(&mut vigilance(), 99, 100, 500), None, "overload: N8 bounds the wait");
        assert_eq!(spans(&mut vigilance(), 99, 100, 0), None);
        assert_eq!(spans(&mut vigilance(), 99, 0, 0), None, "idle");
    }

    #[test]
    fn shorter_waits_depose_below_a_quarter_of_what_was_achieved() {
        for (executed, deposed) in [(24, Some(2)), (25, None), (100, None)] {
            let mut vigilance = vigilance();
            assert_eq!(spans(&mut vigilance, 5, 100, 0), None);
            assert_eq!(spans(&mut vigilance, 99, executed, 251), deposed, "{executed}");
            assert_eq!(spans(&mut vigilance, 99, 1, 250), None, "low load");
        }
    }

    /// Agreement that is slow for everybody keeps the pipeline full.
    #[test]
    fn shorter_waits_for_room_in_the_pipeline_are_nobodys_fault() {
        for (room, deposed) in [(true, true), (false, false)] {
            let (mut vigilance, parameters) = vigilance();
            let rounds = (0..200).map(|round| if round < 100 { (100, 0) } else { (1, 400) });
            let voted_out = rounds.filter(|(executed, wait)| {
                let round = Round { unproposed: Duration::from_millis(*wait), room, busy: *wait > 0 };
                vigilance.executed(*executed);
                vigilance.end_round(Some(round), &parameters)
            });
            assert_eq!(voted_out.count() > 0, deposed);
        }
    }

    #[test]
    fn what_a_view_achieved_binds_the_next_ones_for_n_views() {
        for (views, deposed) in [(1, true), (4, true), (5, false)] {
            let mut vigilance = vigilance();
            spans(&mut vigilance, 5, 100, 0);
            for _ in 1..views {
                vigilance.0.enter_view(&vigilance.1);
                spans(&mut vigilance, 5, 10, 0);
            }
            vigilance.0.enter_view(&vigilance.1);
            assert_eq!(spans(&mut vigilance, 99, 10, 300).is_some(), deposed, "{views}");
        }
    }

    #[test]
    fn being_slow_for_more_than_a_third_of_the_time_deposes_in_the_end() {
        for (good, deposed) in [(1, true), (2, false)] {
            let mut vigilance = vigilance();
            spans(&mut vigilance, 3, 100, 0);
            let slow = (0..99).any(|_| {
                spans(&mut vigilance, good, 100, 0).is_some() || spans(&mut vigilance, 1, 100, 600).is_some()
            });
            assert_eq!(slow, deposed);
        }
    }

    /// Lost capacity: the grace doubles with each view, and when all replicas have been tried nobody is voted out.
    #[test]
    fn lost_capacity_does_not_rotate_primaries_for_ever() {
        let mut vigilance = vigilance();
        let mut lasted = vec![];
        while let Some(spans) = spans(&mut vigilance, 999, 100, 600) {
            lasted.push(spans + 1);
            vigilance.0.enter_view(&vigilance.1);
        }
        // Three spans after a grace of 2, 4, 8 and 16.
        assert_eq!(lasted, [5, 7, 11, 19]);
        assert_eq!(spans(&mut vigilance, 1, 100, 0), None);
        assert!(spans(&mut vigilance, 99, 100, 600).is_some(), "things got better, and worse again");
    }

    #[test]
    fn nothing_is_judged_by_who_cannot_judge() {
        let (mut vigilance, parameters) = vigilance();
        let slow = Round { unproposed: Duration::from_millis(900), room: true, busy: true };
        let mut rounds = (0..999).map(|round| (round % 10 != 0).then_some(slow));
        assert!(!rounds.any(|round| vigilance.end_round(round, &parameters)));
    }
}
