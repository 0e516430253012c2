//! What was measured: latencies and failures, by kind of request.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It reads a key, or several.
    Read,
    /// It writes a key, and may read it before.
    Write,
}

/// The measurements of one kind of request.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    latencies: Histogram<u64>,
    /// How many answers came while the load was measured, whichever requests they answer: what throughput counts.
    pub answered: u64,
    /// How many requests may or may not have been executed: no answer came in time.
    pub unknown: u64,
    /// How many requests surely were not executed.
    pub failed: u64,
}

/// The measurements of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Of reads.
    pub reads: Series,
    /// Of writes.
    pub writes: Series,
    /// How many of the answered reads found no such key. A store answers them with less work.
    pub not_found: u64,
    /// How many of the answered unordered reads were ordered after all, and have cost both.
    pub fell_back: u64,
    /// How many requests have no answer, by the reason's name.
    pub errors: BTreeMap<&'static str, u64>,
}

/// Latencies are kept in microseconds, from 1 to a minute; what is outside is counted as the bound.
const BOUNDS: (u64, u64) = (1, 60_000_000);
/// Within 0.1% of the value.
const DIGITS: u8 = 3;

/// A histogram of latencies in microseconds, within so many digits, at most five.
pub(crate) fn histogram(digits: u8) -> Histogram<u64> {
    // The bounds are constants, and tests make some.
    Histogram::new_with_bounds(BOUNDS.0, BOUNDS.1, digits).expect("the bounds are valid")
}

/// A latency as histograms take it.
pub(crate) fn microseconds(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(BOUNDS.0, BOUNDS.1)
}

impl Default for Series {
    fn default() -> Self {
        Self { latencies: histogram(DIGITS), answered: 0, unknown: 0, failed: 0 }
    }
}

impl Series {
    /// Adds a request that counts and was answered, whenever that was.
    pub(crate) fn record(&mut self, latency: Duration) {
        self.latencies.saturating_record(microseconds(latency));
    }

    /// Adds what another series holds.
    pub(crate) fn merge(&mut self, other: &Self) {
        // All series have the same bounds.
        self.latencies.add(&other.latencies).expect("histograms with equal bounds can be added");
        self.answered += other.answered;
        self.unknown += other.unknown;
        self.failed += other.failed;
    }

    /// How many of the requests that count were answered.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.latencies.len()
    }

    /// The latencies of those, in microseconds.
    #[must_use]
    pub fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
    }
}

impl Tally {
    /// The series of a kind.
    pub(crate) fn series_mut(&mut self, kind: Kind) -> &mut Series {
        match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        }
    }

    /// How many requests were sent and came to something.
    pub(crate) fn sent(&self) -> u64 {
        let sent = |series: &Series| series.completed() + series.unknown + series.failed;
        sent(&self.reads) + sent(&self.writes)
    }

    /// Reads and writes together.
    #[must_use]
    pub fn all(&self) -> Series {
        let mut all = self.reads.clone();
        all.merge(&self.writes);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_together_are_as_if_they_were_one() {
        let (mut tally, mut one) = (Tally::default(), Series::default());
        for microseconds in 1..=20_000u64 {
            let latency = Duration::from_micros(microseconds);
            let kind = if microseconds % 3 == 0 { Kind::Read } else { Kind::Write };
            tally.series_mut(kind).record(latency);
            one.record(latency);
        }
        (tally.writes.answered, tally.reads.answered, one.answered) = (7, 8, 15);
        (tally.writes.unknown, tally.reads.unknown, one.unknown) = (1, 2, 3);
        (tally.writes.failed, tally.reads.failed, one.failed) = (4, 5, 9);
        assert_eq!((tally.all(), tally.sent()), (one, 20_012));
        let median = tally.all().latencies().value_at_quantile(0.5);
        assert!((9_990..=10_010).contains(&median), "{median}");
    }

    #[test]
    fn latencies_beyond_the_bounds_count_as_the_bounds() {
        let mut series = Series::default();
        series.record(Duration::ZERO);
        series.record(Duration::MAX);
        assert_eq!(series.completed(), 2);
        assert_eq!(series.latencies().min(), 1);
        let longest = series.latencies().max();
        assert!((60_000_000..60_060_000).contains(&longest), "{longest}");
    }
}
