//! What was measured: latencies and failures, by kind of request.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It reads a key.
    Read,
    /// It writes a key.
    Write,
}

/// The measurements of one kind of request.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    latencies: Histogram<u64>,
    /// How many requests may or may not have been executed: no answer came in time.
    pub unknown: u64,
    /// How many requests surely were not executed.
    pub failed: u64,
}

/// The measurements of a worker, or of all together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Of reads.
    pub reads: Series,
    /// Of writes.
    pub writes: Series,
    /// How many of the answered reads found no such key. A store answers them with less work.
    pub not_found: u64,
    /// How many requests have no answer, by the reason's name.
    pub errors: BTreeMap<&'static str, u64>,
}

/// Latencies are kept in microseconds, from 1 to a minute; what is outside is counted as the bound.
const BOUNDS: (u64, u64) = (1, 60_000_000);
/// Within 0.1% of the value.
const DIGITS: u8 = 3;

impl Default for Series {
    fn default() -> Self {
        let latencies = Histogram::new_with_bounds(BOUNDS.0, BOUNDS.1, DIGITS);
        // The bounds are constants, and a test makes one.
        Self { latencies: latencies.expect("the bounds are valid"), unknown: 0, failed: 0 }
    }
}

impl Series {
    /// Adds an answered request.
    pub fn record(&mut self, latency: Duration) {
        let microseconds = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(microseconds.clamp(BOUNDS.0, BOUNDS.1));
    }

    /// Adds what another series holds.
    pub fn merge(&mut self, other: &Self) {
        // All series have the same bounds.
        self.latencies.add(&other.latencies).expect("histograms with equal bounds can be added");
        self.unknown += other.unknown;
        self.failed += other.failed;
    }

    /// How many requests were answered.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.latencies.len()
    }

    /// The latencies of the answered requests, in microseconds.
    #[must_use]
    pub fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
    }
}

impl Tally {
    /// The series of a kind.
    pub fn series_mut(&mut self, kind: Kind) -> &mut Series {
        match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        }
    }

    /// Adds what another tally holds.
    pub fn merge(&mut self, other: &Self) {
        self.reads.merge(&other.reads);
        self.writes.merge(&other.writes);
        self.not_found += other.not_found;
        for (name, count) in &other.errors {
            *self.errors.entry(name).or_default() += count;
        }
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
    fn merging_is_as_if_one_had_counted_all() {
        let (mut first, mut second, mut both) = (Tally::default(), Tally::default(), Tally::default());
        for microseconds in 1..=20_000u64 {
            let latency = Duration::from_micros(microseconds);
            let kind = if microseconds % 3 == 0 { Kind::Read } else { Kind::Write };
            let part = if microseconds % 2 == 0 { &mut first } else { &mut second };
            part.series_mut(kind).record(latency);
            both.series_mut(kind).record(latency);
        }
        for (tally, count) in [(&mut first, 1), (&mut second, 2), (&mut both, 3)] {
            tally.writes.unknown = count;
            tally.reads.failed = count;
            tally.not_found = count;
            tally.errors.insert("not_sent", count);
        }
        second.errors.insert("refused", 5);
        both.errors.insert("refused", 5);
        first.merge(&second);
        assert_eq!(first, both);
        let all = first.all();
        assert_eq!((all.completed(), all.unknown, all.failed), (20_000, 3, 3));
        let median = all.latencies().value_at_quantile(0.5);
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
