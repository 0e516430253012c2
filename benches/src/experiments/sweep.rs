//! Raising the load until the throughput stops rising.

use std::time::Duration;

use serde::Serialize;

use super::show;
use super::stopped::early;
use crate::lab::{Figures, Lab, LabError, Load, Subject};
use crate::page::{Axis, Line, Plot, Section};
use crate::references::{Ceiling, SignatureCosts};

/// What counts as more throughput: less may be chance.
const RISE: f64 = 1.03;

/// How many larger loads must bring no more until the search turns back.
const PATIENCE: usize = 2;

/// Finds the load at which throughput peaks. It knows nothing of how throughput is measured.
#[derive(Clone, Debug)]
pub struct Search {
    /// By how much each load is larger than the one before it, at first.
    factor: usize,
    /// The largest load.
    most: usize,
    /// What was tried, and the throughput.
    tried: Vec<(usize, f64)>,
    /// What is left to try around the best, once the rise is over.
    sides: Option<Vec<usize>>,
}

impl Search {
    /// A search from 1 up to `most`, in steps of a factor of at least 2.
    #[must_use]
    pub fn new(factor: usize, most: usize) -> Self {
        Self { factor: factor.max(2), most: most.max(1), tried: Vec::new(), sides: None }
    }

    /// The same with no load above `most`.
    #[must_use]
    pub fn up_to(self, most: usize) -> Self {
        Self { most: self.most.min(most.max(1)), ..self }
    }

    /// What came of a load.
    pub fn found(&mut self, load: usize, throughput: f64) {
        self.tried.push((load, throughput));
    }

    /// The load to try next; `None` when the peak is known.
    ///
    /// It rises until two loads in a row bring no more, and then looks half-way on both sides of the best.
    pub fn next_load(&mut self) -> Option<usize> {
        let Some(largest) = self.tried.iter().map(|it| it.0).max() else { return Some(1) };
        let (best, peak) = self.peak()?;
        if self.sides.is_none() {
            let beyond = self.tried.iter().filter(|(load, it)| *load > best && *it < peak * RISE).count();
            if largest < self.most && beyond < PATIENCE {
                return Some((largest * self.factor).min(self.most));
            }
        }
        let untried =
            |load: &usize| (1..=self.most).contains(load) && self.tried.iter().all(|it| it.0 != *load);
        let sides = || [best * 3 / 2, best * 3 / 4].into_iter().filter(untried).collect();
        self.sides.get_or_insert_with(sides).pop()
    }

    /// The load with the most throughput, and how much; the smallest such load.
    #[must_use]
    pub fn peak(&self) -> Option<(usize, f64)> {
        let better = |one: (usize, f64), other: &(usize, f64)| {
            if other.1 > one.1 || (other.1 == one.1 && other.0 < one.0) { *other } else { one }
        };
        let first = *self.tried.first()?;
        Some(self.tried.iter().fold(first, better))
    }
}

/// What a sweep found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sweep {
    /// How many requests a submission had.
    pub bundle: usize,
    /// What was measured, by load.
    pub points: Vec<Figures>,
    /// The one with the most throughput.
    pub peak: Figures,
    /// The signature ceiling, from before and after.
    pub ceiling: Ceiling,
    /// The peak as a part of the ceiling.
    pub ratio_to_ceiling: f64,
    /// What ended it early; `null` if nothing did.
    pub stopped: Option<String>,
}

impl Sweep {
    /// Sweeps over a cluster with submissions of so many requests, each load for so long. The search ends at the latest
    /// where the sessions' windows are full. An error after the first load ends it with what was measured until then.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(
        lab: &Lab,
        name: &str,
        subject: &Subject,
        bundle: usize,
        search: Search,
        connections: usize,
        lasts: Duration,
    ) -> Result<Self, LabError> {
        let before = SignatureCosts::measure().await;
        let mut search = search.up_to(Load::most(subject.cluster.parameters(), bundle, connections));
        let mut points: Vec<Figures> = Vec::new();
        let ended = async {
            while let Some(submissions) = search.next_load() {
                let load = Load::of(submissions, bundle, connections);
                // Connections share a load evenly, so that two numbers of submissions can come to the same load.
                let point = match points.iter().find(|point| point.load == load) {
                    Some(point) => point.throughput_per_s,
                    None => {
                        let run =
                            lab.run(&format!("{name}-{}", load.outstanding()), subject, load, lasts).await?;
                        points.push(run.figures());
                        run.report.throughput_per_s
                    }
                };
                search.found(submissions, point);
            }
            Ok(())
        }
        .await;
        let stopped = early(ended, points.is_empty())?;
        points.sort_by_key(|point| point.load.outstanding());
        let ceiling = before.between(SignatureCosts::measure().await).ceiling(subject.cluster.n(), bundle);
        let best = |one: &&Figures, other: &&Figures| one.throughput_per_s.total_cmp(&other.throughput_per_s);
        let peak = points.iter().max_by(best).cloned();
        // A search begins with one load at least.
        let peak = peak.ok_or_else(|| LabError::Stuck("nothing was measured".into()))?;
        let ratio_to_ceiling = peak.throughput_per_s / ceiling.requests_per_s;
        Ok(Self { bundle, points, peak, ceiling, ratio_to_ceiling, stopped })
    }

    /// Whether the cluster kept its word under every load.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.points.iter().all(Figures::kept)
    }

    /// For people.
    #[must_use]
    pub fn section(&self, title: &str) -> Section {
        let Self { points, peak, ceiling, .. } = self;
        let points_of = |latency: fn(&Figures) -> Option<u64>| {
            let place = |it: &Figures| Some((it.throughput_per_s, latency(it)? as f64 / 1000.0));
            points.iter().filter_map(place).collect()
        };
        let lines = vec![
            Line { name: "p50".into(), points: points_of(|it| it.p50_us) },
            Line { name: "p99".into(), points: points_of(|it| it.p99_us) },
        ];
        Section::new(title)
            .notes(show::stopped(self.stopped.as_ref()))
            .note(format!(
                "Peak: {} a second with {} requests under way ({} connections × {} submissions × {} requests), {} of the \
                 signature ceiling.",
                show::rate(peak.throughput_per_s),
                peak.load.outstanding(),
                peak.load.connections,
                peak.load.pipeline,
                peak.load.bundle,
                show::ratio(self.ratio_to_ceiling),
            ))
            .note(ceiling.told())
            .table(show::runs("load", points.iter().map(|it| (it.load.to_string(), it))))
            .plot(Plot::Lines {
                title: format!("{title}: latency against throughput"),
                x: Axis::even("requests a second"),
                y: Axis::logarithmic("latency in ms"),
                lines,
                marks: Vec::new(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loads that a search tries on a system, and the peak that it finds.
    fn searched(mut search: Search, throughput: impl Fn(usize) -> f64) -> (Vec<usize>, usize) {
        while let Some(load) = search.next_load() {
            assert!(search.tried.len() < 50, "{search:?}");
            search.found(load, throughput(load));
        }
        let peak = search.peak().unwrap().0;
        (search.tried.into_iter().map(|it| it.0).collect(), peak)
    }

    #[test]
    fn it_rises_until_two_loads_bring_no_more_and_looks_around_the_best() {
        let saturates = |load: usize| load.min(30) as f64;
        let (tried, peak) = searched(Search::new(2, 1024), saturates);
        assert_eq!(tried, [1, 2, 4, 8, 16, 32, 64, 128, 24, 48]);
        assert_eq!(peak, 32);
        let collapses = |load: usize| if load <= 11 { load as f64 } else { 50.0 / load as f64 };
        let (tried, peak) = searched(Search::new(2, 1024), collapses);
        assert_eq!((tried.last(), peak), (Some(&12), 8));
    }

    #[test]
    fn a_dip_does_not_end_it_and_a_rise_ends_at_the_most() {
        let dips = |load: usize| if load == 4 { 1.0 } else { load as f64 };
        assert_eq!(searched(Search::new(2, 100), dips).1, 100);
        let (tried, peak) = searched(Search::new(4, 40), |load| load as f64);
        assert_eq!((&tried[..4], peak), (&[1, 4, 16, 40][..], 40));
        assert_eq!(searched(Search::new(2, 1), |_| 1.0), (vec![1], 1));
        assert_eq!(searched(Search::new(2, 1024).up_to(16), |load| load as f64).1, 16);
    }
}
