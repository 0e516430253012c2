//! The result for programs. Its keys are documented in this package's README and stay.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::load::Measured;
use crate::record::Record;
use crate::tally::Series;
use crate::verdict::Verdict;

/// What every report of this loop says of its latencies.
pub const CLOSED_LOOP: &str = "closed loop: latency excludes time a request would have waited for its turn";

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Rises when a key changes its meaning or goes away.
    pub format: u32,
    /// The kind of loop.
    #[serde(rename = "loop")]
    pub kind: &'static str,
    /// What that means for the latencies.
    pub loop_note: &'static str,
    /// Whether the load was ended early by a signal.
    pub interrupted: bool,
    /// The time that the counted requests took.
    pub duration_s: f64,
    /// Answered requests a second, reads and writes together.
    pub throughput_per_s: f64,
    /// Reads and writes together.
    pub all: SeriesReport,
    /// Reads.
    pub reads: SeriesReport,
    /// Writes.
    pub writes: SeriesReport,
    /// How many answered reads found no such key.
    pub reads_not_found: u64,
    /// How many requests have no answer, by reason.
    pub errors: BTreeMap<&'static str, u64>,
    /// How many connections ended early, since their sessions had expired.
    pub sessions_lost: usize,
    /// Whether the cluster kept what it acknowledged.
    pub verdict: Verdict,
    /// How the result came about.
    pub record: Record,
}

/// One kind of requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesReport {
    /// How many were answered.
    pub completed: u64,
    /// How many may or may not have been executed.
    pub unknown: u64,
    /// How many surely were not executed.
    pub failed: u64,
    /// Answers a second.
    pub throughput_per_s: f64,
    /// The latencies of the answered ones; `null` if there are none.
    pub latency_us: Option<Latency>,
}

/// Latencies in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: u64,
    /// 90% were answered within.
    pub p90: u64,
    /// 99% were answered within.
    pub p99: u64,
    /// 99.9% were answered within.
    pub p99_9: u64,
    /// The longest.
    pub max: u64,
}

impl Report {
    /// Sums a run up.
    #[must_use]
    pub fn new(measured: &Measured, verdict: Verdict, record: Record) -> Self {
        let series = |series: &Series| SeriesReport::new(series, measured.duration);
        let all = series(&measured.tally.all());
        Self {
            format: 1,
            kind: "closed",
            loop_note: CLOSED_LOOP,
            interrupted: measured.interrupted,
            duration_s: rounded(measured.duration.as_secs_f64()),
            throughput_per_s: all.throughput_per_s,
            all,
            reads: series(&measured.tally.reads),
            writes: series(&measured.tally.writes),
            reads_not_found: measured.tally.not_found,
            errors: measured.tally.errors.clone(),
            sessions_lost: measured.sessions_lost,
            verdict,
            record,
        }
    }
}

impl SeriesReport {
    fn new(series: &Series, duration: Duration) -> Self {
        let completed = series.completed();
        let latencies = series.latencies();
        let at = |quantile| latencies.value_at_quantile(quantile);
        let latency_us = (completed > 0).then(|| Latency {
            mean: rounded(latencies.mean()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: latencies.max(),
        });
        let seconds = duration.as_secs_f64();
        let rate = if seconds > 0.0 { rounded(completed as f64 / seconds) } else { 0.0 };
        Self { completed, unknown: series.unknown, failed: series.failed, throughput_per_s: rate, latency_us }
    }
}

/// Nobody measures more than a thousandth.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::journal::Journal;
    use crate::order::Order;
    use crate::record::{ClusterRecord, Durability};
    use crate::settings::tests::settings;
    use crate::tally::{Kind, Tally};
    use crate::verdict::{Finding, Violation};

    pub(crate) fn measured() -> Measured {
        let mut tally = Tally::default();
        for milliseconds in 1..=100 {
            let kind = if milliseconds <= 25 { Kind::Read } else { Kind::Write };
            tally.series_mut(kind).record(Duration::from_millis(milliseconds));
        }
        tally.not_found = 3;
        tally.writes.unknown = 2;
        tally.errors.insert("outcome_unknown", 2);
        let duration = Duration::from_millis(2500);
        Measured { tally, journal: Journal::default(), duration, interrupted: false, sessions_lost: 0 }
    }

    pub(crate) fn report() -> Report {
        let record = Record {
            version: "0.1.0",
            revision: None,
            processor: Some("A Processor".into()),
            cores: Some(2),
            optimized: true,
            started_unix_ms: 1_700_000_000_000,
            run_id: "00000000abcd".into(),
            durability: Durability::Sync,
            note: Some("a note".into()),
            cluster: ClusterRecord { name: "test".into(), n: 4, f: 1 },
            settings: (&settings()).into(),
        };
        let lost = Violation::Missing { key: 4, revision: 9 };
        let findings = [Some(Ok(Finding::Confirmed)), None, Some(Err(lost))];
        let verdict = Verdict::new(std::iter::empty(), &findings, &Order::default());
        Report::new(&measured(), verdict, record)
    }

    /// Programs read this: a change of the file must be a decision, and `format` must rise if it breaks them.
    #[test]
    fn the_json_keeps_its_shape() {
        let json = serde_json::to_string_pretty(&report()).unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write("tests/golden/result.json", &json).unwrap();
        }
        let golden = std::fs::read_to_string("tests/golden/result.json").unwrap();
        assert_eq!(
            json, golden,
            "if that is meant: UPDATE_GOLDEN=1 cargo test -p pbft-bench, and look at the diff"
        );
    }

    #[test]
    fn a_run_without_answers_has_no_latencies() {
        let measured = Measured { tally: Tally::default(), duration: Duration::ZERO, ..measured() };
        let verdict = Verdict::new(std::iter::empty(), &[], &Order::default());
        let report = Report::new(&measured, verdict, report().record);
        assert_eq!((report.throughput_per_s, report.all.latency_us), (0.0, None));
    }
}
