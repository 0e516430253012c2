//! What an attack did to throughput and latency.

use serde::Serialize;

use super::Attack;
use crate::experiments::statistics::Spread;
use crate::lab::{Figures, Run};
use crate::page::{Axis, Line, Mark, Plot};

/// What an attack did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attacked {
    /// The attack.
    pub attack: Attack,
    /// Each on a cluster of its own.
    pub rounds: Vec<Round>,
    /// The throughput under attack as a part of that before.
    pub throughput_ratio: Spread,
    /// The median latency under attack as a multiple of that before; `null` if one of them is never known.
    pub p50_ratio: Option<Spread>,
}

/// One cluster without an attack, and then under it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Round {
    /// The cluster before it.
    pub calm: Figures,
    /// The same cluster under it.
    pub attacked: Figures,
    /// For how long the cluster was measured under attack, in seconds: up to the end of the load. A malicious primary begins
    /// when the load's warm-up is over, so that none of what it does goes uncounted; others begin before the warm-up.
    pub watched_s: f64,
    /// Answers a second over time, under attack: seconds, and answers a second.
    pub over_time: Vec<(f64, f64)>,
    /// New views: when they were seen first, in seconds since the warm-up ended, and which.
    pub view_changes: Vec<(f64, u64)>,
}

impl Round {
    fn throughput_ratio(&self) -> f64 {
        self.attacked.throughput_per_s / self.calm.throughput_per_s
    }

    fn p50_ratio(&self) -> Option<f64> {
        let (under, before) = self.attacked.p50_us.zip(self.calm.p50_us.filter(|it| *it > 0))?;
        Some(under as f64 / before as f64)
    }
}

impl Attacked {
    /// What rounds come to; `None` if there are none.
    pub(in crate::experiments) fn new(attack: Attack, rounds: Vec<Round>) -> Option<Self> {
        Some(Self {
            attack,
            throughput_ratio: Spread::over(&rounds, |it| Some(it.throughput_ratio()))?,
            p50_ratio: Spread::over(&rounds, Round::p50_ratio),
            rounds,
        })
    }

    /// All loads.
    pub(in crate::experiments) fn runs(&self) -> impl Iterator<Item = &Figures> {
        self.rounds.iter().flat_map(|it| [&it.calm, &it.attacked])
    }

    /// The first round over time.
    pub(super) fn plot(&self) -> Option<Plot> {
        let Round { calm, over_time, view_changes, .. } = self.rounds.first()?;
        let last = over_time.last().map_or(0.0, |point| point.0);
        let calm = calm.throughput_per_s;
        let mark = |(at, view): &(f64, u64)| Mark { at: *at, label: format!("a new view, {view}") };
        let which = if self.rounds.len() > 1 { ", the first round" } else { "" };
        Some(Plot::Lines {
            title: format!("{} over time{which}", self.attack.strategy),
            x: Axis::even("seconds"),
            y: Axis::even("answers a second"),
            lines: vec![
                Line { name: "under attack".into(), points: over_time.clone() },
                Line { name: "mean without it".into(), points: vec![(0.0, calm), (last, calm)] },
            ],
            marks: view_changes.iter().map(mark).collect(),
        })
    }
}

/// Answers a second, row by row.
pub(in crate::experiments) fn over_time(run: &Run) -> Vec<(f64, f64)> {
    let timeline = &run.measured.timeline;
    let seconds = timeline.interval.as_secs_f64();
    let point = |(number, row): (usize, &crate::Row)| {
        ((number as f64 + 0.5) * seconds, row.completed as f64 / seconds)
    };
    timeline.rows.iter().enumerate().map(point).collect()
}
