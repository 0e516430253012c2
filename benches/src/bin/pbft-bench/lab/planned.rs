//! About how long experiments take, for those who wait.

use std::time::Duration;

use pbft_bench::experiments::Who;

use super::arguments::{Experiment, Timed, Varied};
use super::attacks;

/// To start a testnet, and to end it.
const BED: Duration = Duration::from_secs(2);

/// To open sessions before a load, and to read back after it.
const AROUND: Duration = Duration::from_millis(700);

/// To measure what signatures cost.
const SIGNATURES: Duration = Duration::from_secs(2);

/// A death of a primary: the load around it, and the new start.
const DEATH: Duration = Duration::from_secs(6);

/// The short form of everything.
const REPORT: Duration = Duration::from_secs(240);

/// About how long an experiment takes; a sweep, at most.
pub(super) fn planned(experiment: &Experiment) -> Duration {
    let times = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let load = |varied: &Varied, lasts: Duration| varied.common.warmup + lasts + AROUND;
    let timed = |varied: &Varied, timed: &Timed| load(varied, timed.duration);
    match experiment {
        Experiment::Sweep { varied, timed: each, most, factor, .. } => {
            // Up to the most, and one on both sides of the best.
            let steps = most.max(&1).ilog((*factor).max(2)) + 4;
            BED + SIGNATURES * 2 + timed(varied, each) * steps
        }
        Experiment::Scale { varied, timed: each, sizes, rounds, .. } => {
            SIGNATURES + (BED + timed(varied, each)) * times(sizes.len() * rounds)
        }
        Experiment::AttackMatrix { varied, timed: each, all, strategy, primary_duration, rounds, .. } => {
            let lasts = |who| if who == Who::Primary { *primary_duration } else { each.duration };
            let attacks = attacks(*all, strategy).unwrap_or_default();
            let attacks = attacks.iter().map(|it| BED + timed(varied, each) + load(varied, lasts(it.who)));
            attacks.sum::<Duration>() * times(*rounds)
        }
        Experiment::Failover { varied, times: deaths, .. } => {
            BED + (varied.common.warmup + DEATH) * times(*deaths)
        }
        Experiment::Soak { varied, lasts, .. } => BED + load(varied, *lasts),
        Experiment::Compare { varied, timed: each, rounds, .. } => {
            BED + (SIGNATURES + timed(varied, each)) * 2 * times(*rounds)
        }
        Experiment::Report { .. } => REPORT,
    }
}
