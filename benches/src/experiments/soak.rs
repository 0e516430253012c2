//! A long loaded run: does memory stay flat, and does nobody suspect the primary without a reason?

use std::convert::Infallible;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::MissedTickBehavior;

use pbft_testnet::process::ProcessId;

use super::attacks::over_time;
use super::show;
use super::statistics::Trend;
use crate::lab::{Figures, Lab, LabError, Load, Views};
use crate::page::{Axis, Line, Mark, Plot, Section, Table};

/// How often memory is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// A run's last seconds, in which each replica's memory must have been looked at.
const LAST: Duration = Duration::from_secs(5);

/// What comes before is filling caches, and is left out of the trend: so much of the run.
const SETTLING: f64 = 0.25;

/// The part of its mean by which memory, or throughput, may rise or fall over the rest of the run.
const FLAT: f64 = 0.05;

/// A run below this length says nothing about what memory does in the end.
const LONG: Duration = Duration::from_secs(600);

/// The most that a replica may need.
const MEMORY_LIMIT: f64 = 256e6;

/// One replica's resident set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// Seconds since the measurement began, and bytes.
    pub samples: Vec<(f64, f64)>,
    /// The greatest.
    pub max_bytes: f64,
    /// Its trend after the first quarter; `null` if the run was too short for one.
    pub trend: Option<Trend>,
}

/// A long loaded run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Soak {
    /// How many replicas the cluster has.
    pub n: usize,
    /// How many keys it holds.
    pub keys: u32,
    /// What was measured.
    pub figures: Figures,
    /// How long it took.
    pub duration_s: f64,
    /// Each replica's, in their order.
    pub memory: Vec<Memory>,
    /// Answers a second over time.
    pub over_time: Vec<(f64, f64)>,
    /// Their trend after the first quarter; `null` if the run was too short for one.
    pub throughput: Option<Trend>,
    /// New views: when, and which. There must be none.
    pub view_changes: Vec<(f64, u64)>,
}

impl Soak {
    /// Loads a cluster of `n` for so long.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(lab: &Lab, n: usize, load: Load, lasts: Duration) -> Result<Self, LabError> {
        let bed = lab.bed(n).await?;
        let subject = bed.subject()?;
        let mut samples: Vec<Vec<(Instant, u64)>> = vec![Vec::new(); subject.processes.len()];
        let mut views = Views::default();
        let run = tokio::select! {
            run = lab.run("soak", &subject, load, lasts) => run?,
            lost = views.watch(bed.testnet()) => return Err(lost),
            never = sample(&subject.processes, &mut samples) => match never {},
        };
        let from = run.measured.measured_from;
        let duration_s = run.report.duration_s;
        let memory: Vec<_> = samples.iter().map(|it| Memory::new(it, from, duration_s)).collect();
        for ((name, _), memory) in subject.processes.iter().zip(&memory) {
            if !memory.reaches(duration_s) {
                return Err(LabError::Stuck(format!("the memory of {name} is not known up to the end")));
            }
        }
        let over_time = over_time(&run);
        Ok(Self {
            n,
            keys: lab.settings.keys,
            figures: run.figures(),
            duration_s,
            memory,
            throughput: settled(&over_time, duration_s),
            over_time,
            view_changes: views.changes(&run),
        })
    }

    /// The largest resident set of any replica.
    #[must_use]
    pub fn max_bytes(&self) -> f64 {
        self.memory.iter().map(|it| it.max_bytes).fold(0.0, f64::max)
    }

    /// The steepest rise of any replica's memory, as a part of its mean; `None` if the run was too short.
    #[must_use]
    pub fn memory_rise(&self) -> Option<f64> {
        let rises = self.memory.iter().map(|it| it.trend.map(|trend| trend.relative()));
        rises.collect::<Option<Vec<_>>>()?.into_iter().reduce(f64::max)
    }

    /// Whether it lasted long enough for trends to mean something.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.duration_s >= LONG.as_secs_f64()
    }

    /// Whether no replica needed more memory than it may.
    #[must_use]
    pub fn is_small(&self) -> bool {
        self.max_bytes() < MEMORY_LIMIT
    }

    /// Whether memory stays flat and within its limit.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.memory_rise().is_some_and(|rise| rise < FLAT) && self.is_small()
    }

    /// Whether throughput did not fall.
    #[must_use]
    pub fn keeps_pace(&self) -> bool {
        self.throughput.is_some_and(|trend| trend.relative() > -FLAT)
    }

    /// Whether the cluster kept its word.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.figures.kept()
    }

    /// For people.
    #[must_use]
    pub fn section(&self) -> Section {
        let percent =
            |part: Option<f64>| part.map_or("too short".into(), |it| format!("{:+.1}%", it * 100.0));
        let word = |holds: bool| if holds { "yes" } else { "no" }.to_owned();
        let mut table = Table::new(&["what", "figure", "holds"]);
        table.add(vec!["memory is flat".into(), percent(self.memory_rise()), word(self.is_flat())]);
        let largest = show::megabytes(self.max_bytes());
        table.add(vec!["below 256 MB".into(), largest, word(self.is_small())]);
        let trend = self.throughput.map(|trend| trend.relative());
        table.add(vec!["throughput does not fall".into(), percent(trend), word(self.keeps_pace())]);
        let views = self.view_changes.len();
        table.add(vec!["no new view".into(), views.to_string(), word(views == 0)]);
        let line = |(number, memory): (usize, &Memory)| Line {
            name: format!("r{number}"),
            points: memory.samples.iter().map(|(at, bytes)| (*at, bytes / 1e6)).collect(),
        };
        let marks: Vec<_> = self
            .view_changes
            .iter()
            .map(|(at, view)| Mark { at: *at, label: format!("a new view, {view}") })
            .collect();
        Section::new("A long run")
            .note(format!(
                "{:.0} s of load with {} keys: {} a second, p99 {}, verdict: {}. Trends leave out the first quarter.",
                self.duration_s,
                self.keys,
                show::rate(self.figures.throughput_per_s),
                show::latency(self.figures.p99_us),
                show::verdict(&self.figures),
            ))
            .table(table)
            .plot(Plot::Lines {
                title: "Resident set of each replica".into(),
                x: Axis::even("seconds"),
                y: Axis::even("MB"),
                lines: self.memory.iter().enumerate().map(line).collect(),
                marks: marks.clone(),
            })
            .plot(Plot::Lines {
                title: "Throughput".into(),
                x: Axis::even("seconds"),
                y: Axis::even("answers a second"),
                lines: vec![Line { name: "answers".into(), points: self.over_time.clone() }],
                marks,
            })
    }
}

impl Memory {
    fn new(samples: &[(Instant, u64)], from: Instant, duration: f64) -> Self {
        let since = samples.iter().filter_map(|(at, bytes)| {
            let at = at.checked_duration_since(from)?.as_secs_f64();
            (at <= duration).then_some((at, *bytes as f64))
        });
        let samples: Vec<_> = since.collect();
        let max_bytes = samples.iter().map(|it| it.1).fold(0.0, f64::max);
        Self { trend: settled(&samples, duration), samples, max_bytes }
    }

    /// Whether it was looked at until the last seconds of a run.
    fn reaches(&self, duration: f64) -> bool {
        self.samples.last().is_some_and(|(at, _)| *at >= duration - LAST.as_secs_f64())
    }
}

/// The trend without what settles at first.
fn settled(points: &[(f64, f64)], duration: f64) -> Option<Trend> {
    let points: Vec<_> = points.iter().copied().filter(|it| it.0 >= duration * SETTLING).collect();
    Trend::of(&points)
}

/// Looks at each process again and again, for ever.
async fn sample(processes: &[(String, ProcessId)], samples: &mut [Vec<(Instant, u64)>]) -> Infallible {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        for ((_, process), samples) in processes.iter().zip(samples.iter_mut()) {
            samples.extend(process.resident().map(|bytes| (Instant::now(), bytes)));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::lab::figures;

    pub(in crate::experiments) fn memory(bytes: impl Fn(f64) -> f64) -> Memory {
        let samples: Vec<_> = (0..100).map(|second| (f64::from(second), bytes(f64::from(second)))).collect();
        let max_bytes = samples.iter().map(|it| it.1).fold(0.0, f64::max);
        Memory { trend: settled(&samples, 100.0), samples, max_bytes }
    }

    pub(in crate::experiments) fn soak(memory: Vec<Memory>) -> Soak {
        let nothing = Vec::new();
        Soak {
            n: 4,
            keys: 1,
            figures: figures(1.0, 1, 2),
            duration_s: 100.0,
            memory,
            over_time: nothing,
            throughput: None,
            view_changes: Vec::new(),
        }
    }

    #[test]
    fn a_replica_that_was_lost_sight_of_is_noticed() {
        let flat = memory(|_| 1.0);
        assert!(flat.reaches(100.0) && !flat.reaches(105.0));
        assert!(!Memory { samples: Vec::new(), ..flat }.reaches(100.0));
    }

    #[test]
    fn what_fills_up_at_first_is_flat_and_what_leaks_is_not() {
        let fills = memory(|second| 100e6 + 1e6 * second.min(20.0));
        let leaks = memory(|second| 100e6 + 0.2e6 * second);
        let large = memory(|_| 300e6);
        assert!(soak(vec![fills.clone(), fills.clone()]).is_flat());
        assert!(!soak(vec![fills.clone(), leaks]).is_flat(), "one leak is enough");
        assert!(!soak(vec![large]).is_flat());
        assert!(!soak(vec![Memory { trend: None, ..fills }]).is_flat(), "not known is not flat");
    }
}
