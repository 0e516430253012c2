//! What all workers of a run write down, in one place: so their number costs no memory.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pbft_messages::Sequence;

use crate::journal::{Journal, Write};
use crate::outcome::Failed;
use crate::request::{Request, Told};
use crate::settings::Extent;
use crate::tally::Tally;
use crate::timeline::Timeline;

/// What is measured and learned.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) tally: Tally,
    pub(crate) timeline: Timeline,
    pub(crate) journal: Journal,
    /// All answers since the warm-up ended, also those after the end of the load.
    pub(crate) answers: u64,
    /// The connections that ended early, since their sessions had expired.
    pub(crate) sessions_lost: BTreeSet<usize>,
    measured_from: Instant,
    /// What comes later is not measured any more; `None` if the answer to the last request ends the load.
    ends: Option<Instant>,
}

/// How an answer came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    /// Whether its request counts: it was sent, or due, after the warm-up.
    pub(crate) counts: bool,
    /// Whether the request is an unordered read that was ordered after all.
    pub(crate) fell_back: bool,
    /// The request's latency.
    pub(crate) latency: Duration,
    /// When.
    pub(crate) at: Instant,
}

impl Ledger {
    /// `journal` holds what was written before.
    pub(crate) fn new(extent: Extent, journal: Journal, measured_from: Instant) -> Self {
        Self {
            tally: Tally::default(),
            timeline: Timeline::new(extent),
            journal,
            answers: 0,
            sessions_lost: BTreeSet::new(),
            measured_from,
            ends: extent.end(measured_from),
        }
    }

    /// The load is over then, unless it was already. Tells when it was over.
    pub(crate) fn end(&mut self, at: Instant) -> Instant {
        *self.ends.insert(self.ends.map_or(at, |ends| ends.min(at)))
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self, request: Request, sequence: Sequence, told: Told, arrived: Arrived) {
        if let Some(number) = request.write() {
            let write = Write { number, revision: told.revision, sequence };
            self.journal.acknowledge(request.key(), write);
        }
        let Arrived { counts, fell_back, latency, at } = arrived;
        let series = self.tally.series_mut(request.kind());
        if counts {
            series.record(latency);
        }
        if let Some(since) = at.checked_duration_since(self.measured_from) {
            self.answers += 1;
            if self.ends.is_none_or(|ends| at <= ends) {
                series.answered += 1;
                self.timeline.answered(since, latency);
            } else {
                self.timeline.answered_late(since);
            }
        }
        self.tally.not_found += u64::from(counts && !told.found);
        self.tally.fell_back += u64::from(counts && fell_back);
    }

    /// A request was given up then.
    pub(crate) fn failed(&mut self, request: Request, counts: bool, failed: Failed, at: Instant) {
        if failed.unknown
            && let Some(number) = request.write()
        {
            self.journal.doubt(request.key(), number);
        }
        if counts {
            let series = self.tally.series_mut(request.kind());
            *if failed.unknown { &mut series.unknown } else { &mut series.failed } += 1;
            *self.tally.errors.entry(failed.name).or_default() += 1;
        }
        if let Some(since) = at.checked_duration_since(self.measured_from)
            && self.ends.is_none_or(|ends| at <= ends)
        {
            self.timeline.unanswered(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A ledger of a load that is measured from 1000 ms after the instant on.
    fn ledger(extent: Extent) -> (Ledger, Instant) {
        let begins = Instant::now();
        (Ledger::new(extent, Journal::default(), begins + 1000 * MILLISECOND), begins)
    }

    /// A read that was sent and answered so many milliseconds after the load began.
    fn read(ledger: &mut Ledger, begins: Instant, sent: u32, answered: u32) {
        let arrived = Arrived {
            counts: sent >= 1000,
            fell_back: false,
            latency: (answered - sent) * MILLISECOND,
            at: begins + answered * MILLISECOND,
        };
        let told = Told { revision: 1, found: true, altered: false };
        ledger.answered(Request::Read { key: 1 }, Sequence(1), told, arrived);
    }

    /// How many answers throughput counts, how many latencies there are, and how many answers came after the warm-up.
    fn counted(ledger: &Ledger) -> (u64, u64, u64) {
        let all = ledger.tally.all();
        (all.answered, all.completed(), ledger.answers)
    }

    #[test]
    fn throughput_is_of_the_answers_in_the_window_and_latency_of_the_requests_in_it() {
        let (mut ledger, begins) = ledger(Extent::Lasts(200 * MILLISECOND));
        read(&mut ledger, begins, 900, 999);
        assert_eq!(counted(&ledger), (0, 0, 0), "before both");
        read(&mut ledger, begins, 950, 1050);
        assert_eq!(counted(&ledger), (1, 0, 1), "an answer to the warm-up");
        read(&mut ledger, begins, 1010, 1110);
        read(&mut ledger, begins, 1020, 1200);
        assert_eq!(counted(&ledger), (3, 2, 3));
        read(&mut ledger, begins, 1199, 9000);
        assert_eq!(counted(&ledger), (3, 3, 4), "a straggler");
        let rows = |ledger: &Ledger| ledger.timeline.rows.iter().map(|row| row.completed).sum::<u64>();
        ledger.timeline.finish(200 * MILLISECOND);
        assert_eq!((ledger.timeline.rows.len(), rows(&ledger)), (2, 3));
        let last = ledger.timeline.pauses.last().unwrap();
        assert_eq!((ledger.timeline.pauses.len(), last.from), (3, 110 * MILLISECOND), "{last:?}");
    }

    #[test]
    fn a_load_that_was_ended_early_ends_there_and_not_later() {
        let (mut ledger, begins) = ledger(Extent::Lasts(200 * MILLISECOND));
        let at = |milliseconds: u32| begins + milliseconds * MILLISECOND;
        assert_eq!(ledger.end(at(1100)), at(1100));
        assert_eq!(ledger.end(at(1200)), at(1100));
        read(&mut ledger, begins, 1050, 1150);
        assert_eq!(counted(&ledger), (0, 1, 1));
    }

    #[test]
    fn a_number_of_requests_ends_with_the_last_answer() {
        let (mut ledger, begins) = ledger(Extent::Requests(1));
        read(&mut ledger, begins, 1000, 9000);
        assert_eq!(counted(&ledger), (1, 1, 1));
        assert_eq!(ledger.end(begins + 9001 * MILLISECOND), begins + 9001 * MILLISECOND);
    }
}
