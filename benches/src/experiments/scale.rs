//! The same load on clusters of several sizes.

use std::time::Duration;

use serde::Serialize;

use super::show;
use super::statistics::Spread;
use super::stopped::early;
use crate::lab::{Figures, Lab, LabError, Load};
use crate::page::{Axis, Line, Plot, Section, Table};
use crate::references::{Ceiling, SignatureCosts};

/// One size of cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Size {
    /// How many replicas.
    pub n: usize,
    /// What was measured, by round.
    pub rounds: Vec<Figures>,
    /// The throughput in requests a second.
    pub throughput_per_s: Spread,
    /// The throughput as a part of the first size's in the same round.
    pub ratio: Spread,
    /// The signature ceiling of so many replicas.
    pub ceiling: Ceiling,
    /// The signature ceiling as a part of the first size's.
    pub ceiling_ratio: f64,
}

/// What sizes do to throughput.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scale {
    /// In the order in which they were tried.
    pub sizes: Vec<Size>,
    /// What ended it early; `null` if nothing did.
    pub stopped: Option<String>,
}

impl Scale {
    /// Loads a new cluster of each size for so long, in so many rounds. An error after the first load ends it with what was
    /// measured until then.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(
        lab: &Lab,
        sizes: &[usize],
        rounds: usize,
        load: Load,
        lasts: Duration,
    ) -> Result<Self, LabError> {
        let costs = SignatureCosts::measure().await;
        let mut measured: Vec<_> =
            sizes.iter().map(|&n| (costs.ceiling(n, load.bundle), Vec::new())).collect();
        let ended = async {
            for round in 1..=rounds {
                for (ceiling, figures) in &mut measured {
                    let n = ceiling.n;
                    let bed = lab.bed(n).await?;
                    let run = lab.run(&format!("scale-{n}-{round}"), &bed.subject()?, load, lasts).await?;
                    figures.push(run.figures());
                }
            }
            Ok(())
        }
        .await;
        let stopped = early(ended, measured.iter().all(|(_, figures)| figures.is_empty()))?;
        Ok(Self::new(measured, stopped))
    }

    /// What the rounds of each size come to. A size without any is left out.
    pub(super) fn new(measured: Vec<(Ceiling, Vec<Figures>)>, stopped: Option<String>) -> Self {
        let Some((first_ceiling, first)) = measured.first().cloned() else {
            return Self { sizes: Vec::new(), stopped };
        };
        let size = |(ceiling, rounds): (Ceiling, Vec<Figures>)| {
            let pairs: Vec<_> = rounds.iter().zip(&first).collect();
            Some(Size {
                n: ceiling.n,
                throughput_per_s: Spread::over(&rounds, |it| Some(it.throughput_per_s))?,
                ratio: Spread::over(&pairs, |(it, first)| {
                    Some(it.throughput_per_s / first.throughput_per_s)
                })?,
                ceiling_ratio: ceiling.requests_per_s / first_ceiling.requests_per_s,
                ceiling,
                rounds,
            })
        };
        Self { sizes: measured.into_iter().filter_map(size).collect(), stopped }
    }

    /// Whether every cluster kept its word.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.sizes.iter().flat_map(|it| &it.rounds).all(Figures::kept)
    }

    /// One of the sizes.
    #[must_use]
    pub fn of(&self, n: usize) -> Option<&Size> {
        self.sizes.iter().find(|size| size.n == n)
    }

    /// For people.
    #[must_use]
    pub fn section(&self) -> Section {
        let mut table = Table::new(&[
            "replicas",
            "throughput",
            "to the first",
            "ceiling's own fall",
            "p50",
            "p99",
            "verdict",
        ]);
        for it in &self.sizes {
            table.add(vec![
                it.n.to_string(),
                show::rates(Some(it.throughput_per_s)),
                show::ratios(Some(it.ratio)),
                show::ratio(it.ceiling_ratio),
                show::latencies(Spread::over(&it.rounds, |it| it.p50_us.map(|it| it as f64))),
                show::latencies(Spread::over(&it.rounds, |it| it.p99_us.map(|it| it as f64))),
                show::verdicts(&it.rounds),
            ]);
        }
        let line = |name: &str, value: fn(&Size) -> f64| Line {
            name: name.to_owned(),
            points: self.sizes.iter().map(|it| (it.n as f64, value(it))).collect(),
        };
        Section::new("Size of the cluster")
            .notes(show::stopped(self.stopped.as_ref()))
            .note(
                "The same load on clusters of several sizes, all on the same cores. Each replica verifies each request, so \
                 the signature ceiling falls too: its own fall is shown beside.",
            )
            .table(table)
            .plot(Plot::Lines {
                title: "Throughput by size, to the first".into(),
                x: Axis::even("replicas"),
                y: Axis::even("ratio"),
                lines: vec![line("measured", |it| it.ratio.median), line("signature ceiling", |it| it.ceiling_ratio)],
                marks: Vec::new(),
            })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::lab::figures;

    /// The signature ceiling of so many replicas, if a signature takes 10 µs, and its verification too.
    pub(in crate::experiments) fn ceiling(n: usize) -> Ceiling {
        let us = 10.0;
        let costs = SignatureCosts { sign_us: us, alone_us: us, batched_us: us, coalesced_us: us };
        costs.ceiling(n, 1)
    }

    #[test]
    fn ratios_are_of_the_same_round_and_a_round_that_did_not_end_counts_as_far_as_it_came() {
        let rounds = |rates: &[f64]| rates.iter().map(|&rate| figures(rate, 1, 2)).collect::<Vec<_>>();
        let measured = vec![
            (ceiling(4), rounds(&[100.0, 200.0, 100.0])),
            (ceiling(7), rounds(&[50.0, 80.0])),
            (ceiling(10), Vec::new()),
        ];
        let scale = Scale::new(measured, None);
        assert_eq!(scale.sizes.len(), 2);
        let Size { ratio, ceiling_ratio, .. } = scale.of(7).unwrap();
        assert_eq!((ratio.count, ratio.min, ratio.max), (2, 0.4, 0.5));
        assert!((ceiling_ratio - 5.0 / 8.0).abs() < 1e-9);
        assert_eq!(scale.of(4).unwrap().ratio, Spread { count: 3, min: 1.0, median: 1.0, max: 1.0 });
    }
}
