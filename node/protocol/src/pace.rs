//! How much may wait (N8): a replica sheds clients before they would have to wait for half the view timeout T, so that
//! overload alone makes nobody ask for another view.
//!
//! **The pace.** As many requests may wait as were executed of late in half a T: those wait for half a T at the most. This
//! alone tells what a busy cluster can do, and nothing of one that was asked for little: clients that were shed stay
//! away for a while, so less is executed, and less is let in.
//!
//! **The trial.** So the limit follows how long requests do wait, too. At the end of a round of statuses in which some were
//! shed, something was executed and nothing waited for longer than T/8, twice as much may wait: none of it should wait for
//! longer than T/4, and not for longer than T/2 either if that is seen a round late. Nothing more is tried while waits are
//! longer, and what was tried counts no more when something waits for longer than T/4. While nobody is shed it
//! is forgotten, slowly: what a quick disk could do yesterday says nothing about today's.
//!
//! From whatever state, then, as long as clients are shed, either requests wait for T/8 and more, or what may wait doubles
//! with each round. A replica for which they wait so long has enough to do, unless agreement itself takes that long: a
//! cluster in which it takes T/4 without any load lets in less than it could.

use std::time::Duration;

use pbft_messages::Parameters;

/// How many rounds of statuses the pace is averaged over.
const ROUNDS: usize = 10;

/// What may wait however slow execution is: one full submission, so that a cluster that was idle can start.
const FLOOR: usize = 64;

/// The longest wait beside which more is tried, and the longest beside which what was tried still counts: parts of T.
const SHORT_WAIT: u32 = 8;
const LONG_WAIT: u32 = 4;

/// What is forgotten of a trial in a round in which nobody was shed: one part of so many.
const FORGOTTEN: usize = 8;

/// What the last rounds tell of how much may wait.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    round: Round,
    /// How many requests were executed in each of the last rounds.
    executed: [usize; ROUNDS],
    next: usize,
    /// What may wait since little was seen to wait for long.
    tried: usize,
}

/// What happened in a round.
#[derive(Debug, Default)]
struct Round {
    executed: usize,
    shed: bool,
    /// The longest wait of what waited here and was executed.
    longest: Duration,
}

impl Pace {
    /// Notes executed requests.
    pub(crate) fn executed(&mut self, requests: usize) {
        self.round.executed += requests;
    }

    /// Notes for how long a request that was executed has waited here.
    pub(crate) fn waited(&mut self, wait: Duration) {
        self.round.longest = self.round.longest.max(wait);
    }

    /// Notes that a client was shed.
    pub(crate) fn shed(&mut self) {
        self.round.shed = true;
    }

    /// Ends a round, which lasts for one status interval. `waiting` is for how long the oldest has waited that still
    /// does.
    pub(crate) fn end_round(&mut self, waiting: Duration, parameters: &Parameters) {
        let limit = self.limit(parameters);
        let Round { executed, shed, longest } = std::mem::take(&mut self.round);
        self.executed[self.next] = executed;
        self.next = (self.next + 1) % ROUNDS;
        let longest = longest.max(waiting);
        if longest > parameters.view_timeout / LONG_WAIT {
            self.tried = 0;
        } else if !shed {
            self.tried -= self.tried.div_ceil(FORGOTTEN);
        } else if executed > 0 && longest <= parameters.view_timeout / SHORT_WAIT {
            self.tried = limit * 2;
        }
    }

    /// How many requests may wait.
    pub(crate) fn limit(&self, parameters: &Parameters) -> usize {
        let most = parameters.waiting_requests;
        self.expected(parameters).max(self.tried).clamp(FLOOR.min(most), most)
    }

    /// How many requests are executed in half the view timeout, by the last rounds.
    fn expected(&self, parameters: &Parameters) -> usize {
        let executed = self.executed.iter().sum::<usize>() as u128;
        let measured = parameters.status_interval.as_micros().max(1) * ROUNDS as u128;
        let expected = executed * (parameters.view_timeout.as_micros() / 2) / measured;
        usize::try_from(expected).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// T is one second, a round 100 ms.
    struct Bench {
        pace: Pace,
        parameters: Parameters,
    }

    impl Bench {
        fn new() -> Self {
            Self { pace: Pace::default(), parameters: Parameters::default() }
        }

        /// So many rounds; what may wait then.
        fn rounds(&mut self, count: usize, executed: usize, longest: u32, shed: bool) -> usize {
            for _ in 0..count {
                self.pace.executed(executed);
                self.pace.waited(MS * longest);
                if shed {
                    self.pace.shed();
                }
                self.pace.end_round(Duration::ZERO, &self.parameters);
            }
            self.pace.limit(&self.parameters)
        }
    }

    #[test]
    fn what_may_wait_follows_what_is_executed() {
        let mut bench = Bench::new();
        assert_eq!(bench.rounds(0, 0, 0, false), FLOOR);
        // 1000 in each 100 ms; half the timeout is 500 ms.
        assert_eq!(bench.rounds(ROUNDS, 1000, 400, true), 5000);
        assert_eq!(bench.rounds(ROUNDS, 0, 0, false), FLOOR);
    }

    #[test]
    fn more_is_tried_while_clients_are_shed_and_nothing_waits_for_long() {
        let mut bench = Bench::new();
        assert_eq!(bench.rounds(1, 1, 125, true), 2 * FLOOR);
        assert_eq!(bench.rounds(3, 1, 125, true), 16 * FLOOR);
        assert_eq!(bench.rounds(5, 1, 126, true), 16 * FLOOR, "it waits for long enough");
        assert_eq!(bench.rounds(1, 1, 251, true), FLOOR, "it waits for too long");
        assert_eq!(bench.rounds(20, 1, 125, true), bench.parameters.waiting_requests);
    }

    /// N8: what stands still is no reason to let more in, nor is what nobody asks for.
    #[test]
    fn nothing_is_tried_on_a_disk_that_stands_still_or_without_need() {
        let mut bench = Bench::new();
        assert_eq!(bench.rounds(20, 0, 0, true), FLOOR);
        assert_eq!(bench.rounds(20, 1, 10, false), FLOOR);
        bench.rounds(3, 1, 10, true);
        bench.pace.shed();
        bench.pace.executed(1);
        bench.pace.end_round(MS * 300, &bench.parameters);
        assert_eq!(bench.pace.limit(&bench.parameters), FLOOR, "what still waits counts as well");
    }

    #[test]
    fn what_was_tried_is_forgotten_when_nobody_needs_it() {
        let mut bench = Bench::new();
        assert_eq!(bench.rounds(5, 1, 10, true), 32 * FLOOR);
        let later = bench.rounds(5, 1, 10, false);
        assert!((16 * FLOOR..20 * FLOOR).contains(&later), "{later}");
        assert_eq!(bench.rounds(60, 1, 10, false), FLOOR);
    }

    /// Of the clients that would fill what may wait, one in eight is there, since they stay away for a while when they are
    /// shed. Whatever was let in and executed before, it all ends in as much as can be executed.
    #[test]
    fn from_any_state_enough_may_wait_within_two_seconds() {
        for (tried, before) in [(0, 0), (0, 3), (64, 18), (16_384, 0), (300, 1000)] {
            for capacity in [20, 200, 1300] {
                let mut bench = Bench::new();
                bench.rounds(ROUNDS, before, 10, false);
                bench.pace.tried = tried;
                let mut executed = 0;
                for _ in 0..20 {
                    let there = bench.pace.limit(&bench.parameters) / 8;
                    executed = there.min(capacity);
                    let wait = u32::try_from(there * 100 / capacity).unwrap();
                    bench.rounds(1, executed, wait, true);
                }
                assert_eq!(executed, capacity, "{tried} {before}");
            }
        }
    }
}
