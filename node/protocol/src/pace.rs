//! How much may wait (N8): a replica sheds clients before they would have to wait for half the view timeout T, so that
//! overload alone makes nobody ask for another view.
//!
//! **The pace.** As many requests may wait at the primary as were executed of late in half a T: those wait for half a T
//! at the most. This alone tells what a busy cluster can do, and nothing of one that was asked for little: clients that
//! were shed stay away for a while, so less is executed, and less is let in.
//!
//! **The backups.** A client may ask each replica for something else, and the primary proposes all that backups have
//! let wait. They cannot tell how much that is before it has waited for too long. So all the backups together let wait
//! what is executed in a quarter of a T, each its part. In all that is 3/4 of a T, and leaves a quarter for agreement;
//! and no more than half a T once the primary knows of it, which lets clients add to that only what is missing. A
//! backup needs little as long as the primary serves clients: one request that waits is enough to leave it. Where it
//! serves none, or none can reach it, what a backup lets in is passed on at once, so that its places are free again as
//! soon as can be.
//!
//! **The trial.** The primary's limit follows how long requests do wait, too. After rounds of statuses for more than
//! T/8, in each of which some were shed, something was done and nothing waited for longer than T/8, twice as much may
//! wait: none of it should wait for longer than T/4. Before, nobody knows how long all of it will wait. To refuse a
//! request in its place in the order is something done too, or clients that ask for nothing else would keep others out.
//! Nothing more is tried while waits are longer, and what was tried counts no more when something waits for longer than
//! T/4. While nobody is shed it is forgotten, slowly: what a quick disk could do yesterday says nothing about today's.
//!
//! From whatever state, then, as long as a primary sheds clients, either requests wait for T/8 and more, or what may
//! wait doubles each time that so much has passed. A replica for which they wait so long has enough to do, unless
//! agreement itself takes that long: a cluster in which it takes T/4 without any load lets in less than it could.
//!
//! **What it does not promise.** However slow execution is, two full submissions may wait at each replica ([`FLOOR`]).
//! Where fewer than some 500 n are executed in a T, clients that fill that with different requests at each backup make
//! others wait for longer than 3/4 T, and below some 256 (n − 1) for longer than T, which changes views: a cluster that
//! slow needs a longer timeout.

use std::time::Duration;

use pbft_messages::{Parameters, Submission};

use crate::Instant;

/// How many rounds of statuses the pace is averaged over.
const ROUNDS: usize = 10;

/// What may wait however slow execution is: two full submissions, so that a cluster that was idle can start, and no client
/// keeps the next one out.
const FLOOR: usize = 2 * Submission::MAXIMUM_REQUESTS;

/// The longest wait beside which more is tried, and the longest beside which what was tried still counts: parts of T.
const SHORT_WAIT: u32 = 8;
const LONG_WAIT: u32 = 4;

/// What is forgotten of a trial in a round in which nobody was shed: one part of so many.
const FORGOTTEN: usize = 8;

/// Backups together let one part of so many wait of what is executed in half the view timeout.
const OF_BACKUPS: usize = 2;

/// A replica's part in its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Primary,
    Backup {
        /// The number of replicas.
        of: usize,
    },
}

/// What the last rounds tell of how much may wait.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    round: Round,
    /// How many requests were executed in each of the last rounds, and how long it lasted.
    executed: [(usize, Duration); ROUNDS],
    next: usize,
    /// When this round began.
    began: Instant,
    /// What may wait since little was seen to wait for long.
    tried: usize,
    /// For how many rounds on end more could be done than was let in.
    short: u64,
    /// Whether some were shed in the round before this one.
    shed_before: bool,
}

/// What happened in a round.
#[derive(Debug, Default)]
struct Round {
    executed: usize,
    shed: bool,
    /// Whether something waits here no more: it was executed, or refused in its place in the order.
    served: bool,
    /// The longest wait of what waited here and was executed.
    longest: Duration,
}

impl Pace {
    /// The first round begins.
    pub(crate) fn starting_at(now: Instant) -> Self {
        Self { began: now, ..Self::default() }
    }

    /// Notes executed requests.
    pub(crate) fn executed(&mut self, requests: usize) {
        self.round.executed += requests;
    }

    /// Notes for how long a request that was executed or refused has waited here.
    pub(crate) fn waited(&mut self, wait: Duration) {
        self.round.served = true;
        self.round.longest = self.round.longest.max(wait);
    }

    /// Notes that a client was shed.
    pub(crate) fn shed(&mut self) {
        self.round.shed = true;
    }

    /// Whether some were shed in this round or the one before.
    pub(crate) fn sheds(&self) -> bool {
        self.round.shed || self.shed_before
    }

    /// Ends a round, which lasts for one status interval, or longer if this replica has too much to do. `waiting` is for
    /// how long the oldest has waited that still does.
    pub(crate) fn end_round(&mut self, waiting: Duration, part: Part, now: Instant, parameters: &Parameters) {
        let limit = self.limit(part, parameters);
        let Round { executed, shed, served, longest } = std::mem::take(&mut self.round);
        self.executed[self.next] = (executed, now.since(self.began));
        self.began = now;
        self.next = (self.next + 1) % ROUNDS;
        let longest = longest.max(waiting);
        let is_short = shed && served && longest <= parameters.view_timeout / SHORT_WAIT;
        self.short = if is_short && part == Part::Primary { self.short + 1 } else { 0 };
        self.shed_before = shed;
        if longest > parameters.view_timeout / LONG_WAIT {
            self.tried = 0;
        } else if !shed || part != Part::Primary {
            self.tried -= self.tried.div_ceil(FORGOTTEN);
        } else if self.short > whole_rounds(parameters.view_timeout / SHORT_WAIT, parameters) {
            (self.tried, self.short) = (limit * 2, 0);
        }
    }

    /// How many requests may wait.
    pub(crate) fn limit(&self, part: Part, parameters: &Parameters) -> usize {
        let most = parameters.waiting_requests;
        let expected = self.expected(parameters);
        let limit = match part {
            Part::Primary => expected.max(self.tried),
            Part::Backup { of } => expected / (OF_BACKUPS * of),
        };
        limit.clamp(FLOOR.min(most), most)
    }

    /// How many requests are executed in half the view timeout, by the last rounds.
    fn expected(&self, parameters: &Parameters) -> usize {
        let executed = self.executed.iter().map(|(executed, _)| *executed as u128).sum::<u128>();
        let lasted = self.executed.iter().map(|(_, lasted)| *lasted).sum::<Duration>();
        // The first rounds tell of less than ten.
        let measured = lasted.max(parameters.status_interval * ROUNDS as u32).as_micros().max(1);
        let expected = executed * (parameters.view_timeout.as_micros() / 2) / measured;
        usize::try_from(expected).unwrap_or(usize::MAX)
    }
}

/// How many rounds end within so long.
fn whole_rounds(duration: Duration, parameters: &Parameters) -> u64 {
    let rounds = duration.as_micros() / parameters.status_interval.as_micros().max(1);
    u64::try_from(rounds).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// T is one second, a round 100 ms.
    struct Bench {
        pace: Pace,
        parameters: Parameters,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { pace: Pace::default(), parameters: Parameters::default(), now: Instant::default() }
        }

        /// So many rounds; what may wait then.
        fn rounds(&mut self, count: usize, executed: usize, longest: u32, shed: bool) -> usize {
            for _ in 0..count {
                self.pace.executed(executed);
                if executed > 0 {
                    self.pace.waited(MS * longest);
                }
                self.end_round(shed, 100);
            }
            self.limit()
        }

        /// Ends a round that lasted for so many milliseconds.
        fn end_round(&mut self, shed: bool, lasted: u32) {
            if shed {
                self.pace.shed();
            }
            self.now = self.now.plus(MS * lasted);
            self.pace.end_round(Duration::ZERO, Part::Primary, self.now, &self.parameters);
        }

        fn limit(&self) -> usize {
            self.pace.limit(Part::Primary, &self.parameters)
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
        assert_eq!(bench.rounds(1, 1, 125, true), FLOOR, "what has just come could not wait for longer");
        assert_eq!(bench.rounds(1, 1, 125, true), 2 * FLOOR);
        assert_eq!(bench.rounds(7, 1, 125, true), 16 * FLOOR);
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
        bench.rounds(6, 1, 10, true);
        bench.pace.shed();
        bench.pace.executed(1);
        bench.pace.end_round(MS * 300, Part::Primary, bench.now, &bench.parameters);
        assert_eq!(bench.limit(), FLOOR, "what still waits counts as well");
    }

    /// A replica that has too much to do ends its rounds late.
    #[test]
    fn long_rounds_do_not_make_the_pace_look_higher() {
        let mut bench = Bench::new();
        for _ in 0..ROUNDS {
            bench.pace.executed(1000);
            bench.end_round(false, 500);
        }
        assert_eq!(bench.limit(), 1000);
    }

    /// Clients that ask for what is refused fill what may wait as others do: it is as if it had been executed.
    #[test]
    fn what_is_refused_is_done_too() {
        let mut bench = Bench::new();
        for _ in 0..20 {
            bench.pace.waited(MS * 10);
            bench.end_round(true, 100);
        }
        assert_eq!(bench.limit(), bench.parameters.waiting_requests);
    }

    #[test]
    fn what_was_tried_is_forgotten_when_nobody_needs_it() {
        let mut bench = Bench::new();
        assert_eq!(bench.rounds(10, 1, 10, true), 32 * FLOOR);
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
                    let there = bench.limit() / 8;
                    executed = there.min(capacity);
                    let wait = u32::try_from(there * 100 / capacity).unwrap();
                    bench.rounds(1, executed, wait, true);
                }
                assert_eq!(executed, capacity, "{tried} {before}");
            }
        }
    }

    /// Replicas that clients ask each for something else, and keep full. What waits at any of them is executed in the order
    /// in which it came; what backups have let wait, the primary knows of with the next round.
    struct Cluster {
        parameters: Parameters,
        paces: Vec<Pace>,
        /// Of what waits: where, since which round, and how much.
        waiting: VecDeque<(usize, u32, usize)>,
        round: u32,
    }

    const PRIMARY: usize = 0;

    impl Cluster {
        /// One that has executed so many requests in each round.
        fn new(n: usize, executed: usize) -> Self {
            let paces = (0..n).map(|_| Pace { executed: [(executed, MS * 100); ROUNDS], ..Pace::default() });
            let parameters = Parameters::default();
            Self { parameters, paces: paces.collect(), waiting: VecDeque::new(), round: 0 }
        }

        fn part(&self, replica: usize) -> Part {
            if replica == PRIMARY { Part::Primary } else { Part::Backup { of: self.paces.len() } }
        }

        /// Lets clients fill what a replica has room for.
        fn fill(&mut self, replica: usize) {
            let knows =
                |it: &&(usize, u32, usize)| it.0 == replica || replica == PRIMARY && it.1 < self.round;
            let waiting: usize = self.waiting.iter().filter(knows).map(|it| it.2).sum();
            let limit = self.paces[replica].limit(self.part(replica), &self.parameters);
            if limit > waiting {
                self.waiting.push_back((replica, self.round, limit - waiting));
            }
            self.paces[replica].shed();
        }

        /// Executes so many requests, and ends the round; gives the longest wait, in rounds.
        fn execute(&mut self, mut capacity: usize) -> u32 {
            let mut longest = 0;
            self.round += 1;
            self.paces.iter_mut().for_each(|pace| pace.executed(capacity));
            while let Some((replica, since, count)) = self.waiting.front_mut().filter(|_| capacity > 0) {
                let (wait, executed) = (self.round - *since, capacity.min(*count));
                longest = longest.max(wait);
                for at in [*replica, PRIMARY] {
                    self.paces[at].waited(MS * 100 * wait);
                }
                (capacity, *count) = (capacity - executed, *count - executed);
                if *count == 0 {
                    self.waiting.pop_front();
                }
            }
            assert_eq!(capacity, 0, "there is always something to do");
            for replica in 0..self.paces.len() {
                let part = self.part(replica);
                let now = Instant::default().plus(MS * 100 * self.round);
                self.paces[replica].end_round(Duration::ZERO, part, now, &self.parameters);
            }
            longest
        }
    }

    /// N8: whoever asks each replica for something else makes nobody wait for the view timeout, in whatever order it fills
    /// them.
    #[test]
    fn different_requests_at_each_replica_change_no_view() {
        for (n, executed) in [(4, 150), (4, 1000), (7, 300), (7, 1000), (13, 600), (13, 1000)] {
            for primary_last in [false, true] {
                let mut cluster = Cluster::new(n, executed);
                let waits = [(); 100].map(|()| {
                    let mut order: Vec<_> = (0..n).collect();
                    order.rotate_left(primary_last.into());
                    order.into_iter().for_each(|replica| cluster.fill(replica));
                    cluster.execute(executed)
                });
                assert!(waits.iter().all(|wait| *wait <= 8), "3/4 of T: {waits:?}");
                assert!(waits[20..].iter().all(|wait| *wait <= 6), "half a T: {waits:?}");
            }
        }
    }
}
