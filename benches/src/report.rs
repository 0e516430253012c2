//! The result for programs. Its keys are documented in this package's README and stay.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::load::{Measured, Punctuality};
use crate::record::Record;
use crate::tally::Series;
use crate::timeline::{Pause, Row};
use crate::verdict::Verdict;

/// What a report says of the latencies of a closed loop.
const CLOSED_LOOP: &str = "closed loop: latency excludes time a request would have waited for its turn";
/// What a report says of the latencies of an open loop.
const OPEN_LOOP: &str = "open loop: latency runs from the time at which a request was due";
/// How many pauses a report lists.
const PAUSES: usize = 10;

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
    /// How well an open loop kept its times; `null` for a closed one.
    pub punctuality: Option<Punctuality>,
    /// Whether the load was ended early by a signal.
    pub interrupted: bool,
    /// The time from the end of the warm-up to the end of the load.
    pub duration_s: f64,
    /// Answers a second that came in this time, to reads and writes together.
    pub throughput_per_s: f64,
    /// The processor time of the load generator for each of these answers, in microseconds; `null` without any.
    pub load_cpu_us: Option<f64>,
    /// Reads and writes together.
    pub all: SeriesReport,
    /// Reads, and scans.
    pub reads: SeriesReport,
    /// Writes, and read-modify-writes.
    pub writes: SeriesReport,
    /// How many answered reads found no such key.
    pub reads_not_found: u64,
    /// How many answered unordered reads were ordered after all.
    pub reads_fell_back: u64,
    /// How many requests have no answer, by reason.
    pub errors: BTreeMap<&'static str, u64>,
    /// How many connections ended early, since their sessions had expired.
    pub sessions_lost: usize,
    /// The longest times without any answer, the longest first.
    pub pauses: Vec<PauseReport>,
    /// The run over time.
    pub timeline: TimelineReport,
    /// Whether the cluster kept what it acknowledged.
    pub verdict: Verdict,
    /// How the result came about.
    pub record: Record,
}

/// A time without any answer, of 20 ms or more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PauseReport {
    /// When it began, since the end of the warm-up.
    pub from_s: f64,
    /// How long it lasted.
    pub length_s: f64,
}

/// The run over time, from the end of the warm-up on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimelineReport {
    /// The length of a row.
    pub interval_s: f64,
    /// The rows, in order and without a gap.
    pub rows: Vec<Row>,
}

/// One kind of requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesReport {
    /// How many requests that were sent (open loop: due) in the time that was measured were answered, whenever that was.
    pub completed: u64,
    /// How many answers came in the time that was measured, whenever their requests had been sent.
    pub answered: u64,
    /// How many may or may not have been executed.
    pub unknown: u64,
    /// How many surely were not executed.
    pub failed: u64,
    /// `answered` a second.
    pub throughput_per_s: f64,
    /// The latencies of the `completed` ones; `null` if there are none.
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
    pub(crate) fn new(measured: &Measured, verdict: Verdict, record: Record) -> Self {
        let series = |series: &Series| SeriesReport::new(series, measured.duration);
        let all = series(&measured.tally.all());
        let (kind, loop_note) = match measured.punctuality {
            None => ("closed", CLOSED_LOOP),
            Some(_) => ("open", OPEN_LOOP),
        };
        let timeline = &measured.timeline;
        let load_cpu_us =
            (all.answered > 0).then(|| rounded(measured.cpu.as_secs_f64() * 1e6 / all.answered as f64));
        Self {
            format: 3,
            kind,
            loop_note,
            punctuality: measured.punctuality,
            interrupted: measured.interrupted,
            duration_s: rounded(measured.duration.as_secs_f64()),
            throughput_per_s: all.throughput_per_s,
            load_cpu_us,
            all,
            reads: series(&measured.tally.reads),
            writes: series(&measured.tally.writes),
            reads_not_found: measured.tally.not_found,
            reads_fell_back: measured.tally.fell_back,
            errors: measured.tally.errors.clone(),
            sessions_lost: measured.sessions_lost,
            pauses: longest(&timeline.pauses),
            timeline: TimelineReport {
                interval_s: timeline.interval.as_secs_f64(),
                rows: timeline.rows.clone(),
            },
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
        let throughput_per_s = if seconds > 0.0 { rounded(series.answered as f64 / seconds) } else { 0.0 };
        Self {
            completed,
            answered: series.answered,
            unknown: series.unknown,
            failed: series.failed,
            throughput_per_s,
            latency_us,
        }
    }
}

fn longest(pauses: &[Pause]) -> Vec<PauseReport> {
    let mut pauses = pauses.to_vec();
    pauses.sort_by_key(|pause| std::cmp::Reverse(pause.length));
    let report = |pause: &Pause| PauseReport {
        from_s: rounded(pause.from.as_secs_f64()),
        length_s: rounded(pause.length.as_secs_f64()),
    };
    pauses.iter().take(PAUSES).map(report).collect()
}

/// Nobody measures more than a thousandth.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Instant;

    use super::*;
    use crate::journal::Journal;
    use crate::order::Order;
    use crate::record::{ClusterRecord, Durability};
    use crate::settings::Extent;
    use crate::settings::tests::settings;
    use crate::tally::{Kind, Tally};
    use crate::timeline::Timeline;
    use crate::verdict::{Finding, Violation};

    pub(crate) fn measured() -> Measured {
        let mut tally = Tally::default();
        let mut timeline = Timeline::new(Extent::Requests(100));
        for milliseconds in 1..=100 {
            let kind = if milliseconds <= 25 { Kind::Read } else { Kind::Write };
            let latency = Duration::from_millis(milliseconds);
            tally.series_mut(kind).record(latency);
            tally.series_mut(kind).answered += 1;
            timeline.answered(Duration::from_millis(4 * milliseconds), latency);
        }
        // To requests of the warm-up.
        tally.writes.answered += 5;
        tally.not_found = 3;
        tally.fell_back = 1;
        tally.writes.unknown = 2;
        tally.errors.insert("outcome_unknown", 2);
        let duration = Duration::from_millis(2500);
        timeline.finish(Duration::from_millis(500));
        Measured {
            tally,
            timeline,
            journal: Journal::default(),
            measured_from: Instant::now(),
            duration,
            punctuality: None,
            cpu: Duration::from_millis(3),
            interrupted: false,
            sessions_lost: 0,
        }
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
        assert_eq!(report.load_cpu_us, None);
    }

    #[test]
    fn an_open_loop_is_called_so() {
        let punctuality = Some(Punctuality { arrivals: 110, late: 4, shed: 10 });
        let measured = Measured { punctuality, ..measured() };
        let verdict = Verdict::new(std::iter::empty(), &[], &Order::default());
        let report = Report::new(&measured, verdict, report().record);
        assert_eq!((report.kind, report.loop_note), ("open", OPEN_LOOP));
    }
}
