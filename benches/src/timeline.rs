//! What a run looked like over time: rows of equal length, and the times without any answer.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::settings::Extent;
use crate::tally::{histogram, microseconds};

/// The usual length of a row.
const INTERVAL: Duration = Duration::from_millis(200);
/// How many rows a run of a known length has at most.
const ROWS: u32 = 3000;
/// Two digits are enough for a plot, and keep the histogram small enough to be cleared for each row.
const DIGITS: u8 = 2;
/// A time without an answer is told from this length on.
const PAUSE: Duration = Duration::from_millis(20);
/// How many pauses are kept: the longest.
const PAUSES: usize = 1000;

/// What came in one interval, whenever the requests had been sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Row {
    /// How many requests were answered.
    pub completed: u64,
    /// How many requests were given up.
    pub unanswered: u64,
    /// The median latency of the answered ones in microseconds; 0 if there are none.
    pub p50_us: u64,
    /// 99% of them were answered within.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// A time in which nothing was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it began, since the end of the warm-up.
    pub from: Duration,
    /// How long it lasted.
    pub length: Duration,
}

/// A run over time, from the end of the warm-up to the end of the load.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The length of a row.
    pub interval: Duration,
    /// All rows, in order and without a gap.
    pub rows: Vec<Row>,
    /// The times of 20 ms or more without an answer, in order; if there are more than a thousand, the longest. The last
    /// one goes on until the first answer after the end, if one came.
    pub pauses: Vec<Pause>,
    current: Histogram<u64>,
    unanswered: u64,
    last_answer: Duration,
}

impl Timeline {
    /// Of a load that is to end so.
    pub(crate) fn new(extent: Extent) -> Self {
        let interval = match extent {
            Extent::Lasts(duration) => INTERVAL.max(duration / ROWS),
            Extent::Requests(_) => INTERVAL,
        };
        Self {
            interval,
            rows: Vec::new(),
            pauses: Vec::new(),
            current: histogram(DIGITS),
            unanswered: 0,
            last_answer: Duration::ZERO,
        }
    }

    /// Takes note of an answer that came `at` after the end of the warm-up. Answers may be told a little out of order.
    pub(crate) fn answered(&mut self, at: Duration, latency: Duration) {
        self.close_rows_before(at);
        self.answered_late(at);
        self.current.saturating_record(microseconds(latency));
    }

    /// Takes note of an answer that came after the end of the load: all that it may tell is how long a pause was.
    pub(crate) fn answered_late(&mut self, at: Duration) {
        self.pause_until(at);
        self.last_answer = self.last_answer.max(at);
    }

    /// Takes note of a request that was given up `at` after the end of the warm-up.
    pub(crate) fn unanswered(&mut self, at: Duration) {
        self.close_rows_before(at);
        self.unanswered += 1;
    }

    /// The load took `duration`. Fills up, and forgets that answers became few when nothing was sent any more.
    pub(crate) fn finish(&mut self, duration: Duration) {
        self.pause_until(duration);
        self.close_rows_before(duration);
        if self.current.len() + self.unanswered > 0 || self.interval * (self.rows.len() as u32) < duration {
            self.close_row();
        }
        self.pauses.retain(|pause| pause.from < duration);
        self.pauses.sort_by_key(|pause| pause.from);
    }

    fn close_rows_before(&mut self, at: Duration) {
        while self.interval * (self.rows.len() as u32 + 1) <= at {
            self.close_row();
        }
    }

    fn close_row(&mut self) {
        let at = |quantile| self.current.value_at_quantile(quantile);
        self.rows.push(Row {
            completed: self.current.len(),
            unanswered: std::mem::take(&mut self.unanswered),
            p50_us: at(0.5),
            p99_us: at(0.99),
            max_us: self.current.max(),
        });
        if !self.current.is_empty() {
            self.current.reset();
        }
    }

    fn pause_until(&mut self, at: Duration) {
        let pause = Pause { from: self.last_answer, length: at.saturating_sub(self.last_answer) };
        if pause.length < PAUSE {
            return;
        }
        if self.pauses.len() < PAUSES {
            self.pauses.push(pause);
        } else if let Some(shortest) = self.pauses.iter_mut().min_by_key(|pause| pause.length)
            && shortest.length < pause.length
        {
            *shortest = pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn timeline() -> Timeline {
        Timeline::new(Extent::Requests(1))
    }

    #[test]
    fn rows_have_no_gaps() {
        let mut timeline = timeline();
        timeline.answered(milliseconds(10), milliseconds(5));
        timeline.answered(milliseconds(199), milliseconds(7));
        timeline.answered(milliseconds(650), milliseconds(400));
        // Told late: it counts where the others are.
        timeline.answered(milliseconds(599), milliseconds(400));
        timeline.unanswered(milliseconds(700));
        timeline.finish(milliseconds(1100));
        let completed: Vec<_> = timeline.rows.iter().map(|row| row.completed).collect();
        assert_eq!(completed, [2, 0, 0, 2, 0, 0]);
        assert_eq!(timeline.rows[3].unanswered, 1);
        let first = timeline.rows[0];
        assert!((4950..=5050).contains(&first.p50_us) && (6950..=7050).contains(&first.max_us), "{first:?}");
        assert_eq!(timeline.rows[1], Row::default());
    }

    #[test]
    fn a_run_that_ends_with_a_row_has_no_empty_one() {
        let mut timeline = timeline();
        timeline.answered(milliseconds(10), milliseconds(5));
        timeline.finish(milliseconds(400));
        assert_eq!(timeline.rows.len(), 2);
    }

    #[test]
    fn long_runs_have_longer_rows() {
        assert_eq!(Timeline::new(Extent::Lasts(milliseconds(600_000))).interval, INTERVAL);
        assert_eq!(Timeline::new(Extent::Lasts(milliseconds(6_000_000))).interval, milliseconds(2000));
    }

    #[test]
    fn pauses_are_found_also_at_both_ends() {
        let mut timeline = timeline();
        for at in [30, 40, 59, 100, 90] {
            timeline.answered(milliseconds(at), milliseconds(1));
        }
        timeline.finish(milliseconds(1000));
        let pause = |from, length| Pause { from: milliseconds(from), length: milliseconds(length) };
        assert_eq!(timeline.pauses, [pause(0, 30), pause(59, 41), pause(100, 900)]);
    }

    #[test]
    fn a_pause_at_the_end_lasts_until_the_next_answer_and_none_comes_after_it() {
        let mut timeline = timeline();
        timeline.answered(milliseconds(350), milliseconds(1));
        timeline.answered_late(milliseconds(900));
        timeline.answered_late(milliseconds(2000));
        timeline.finish(milliseconds(400));
        let pause = |from, length| Pause { from: milliseconds(from), length: milliseconds(length) };
        assert_eq!(timeline.pauses, [pause(0, 350), pause(350, 550)]);
        assert_eq!(timeline.rows.iter().map(|row| row.completed).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn of_many_pauses_the_longest_are_kept_in_order() {
        let mut timeline = timeline();
        let mut at = Duration::ZERO;
        for number in 0..2000 {
            at += milliseconds(20 + number % 1000);
            timeline.answered(at, milliseconds(1));
        }
        timeline.finish(at);
        assert_eq!(timeline.pauses.len(), PAUSES);
        assert!(timeline.pauses.is_sorted_by_key(|pause| pause.from));
        assert!(timeline.pauses.iter().all(|pause| pause.length >= milliseconds(520)));
    }
}
