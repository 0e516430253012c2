//! Experiments on testnets that this program starts itself.

mod arguments;
mod output;
mod planned;
mod progress;

use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use pbft_bench::experiments::{
    Attack, AttackMatrix, Brief, Comparison, Failover, Others, Plan, Scale, Search, Soak, Sweep, Trials,
};
use pbft_bench::lab::{Environment, Lab, Load};
use pbft_bench::page::Section;
use pbft_bench::references::{Etcd, Unreplicated};
use pbft_messages::Parameters;
use pbft_testnet::Durability;

pub(crate) use arguments::Experiment;

use crate::failure::{Failure, Outcome};
use arguments::{Common, Offered, Other, Varied};
use output::Kept;
use progress::Shown;

/// Carries an experiment out. Dropping what is under way ends all processes that it started.
pub(crate) async fn run(experiment: &Experiment, interrupt: &CancellationToken) -> Outcome {
    let (common, durability) = experiment.common();
    if let Some(folder) = &common.output {
        output::prepare(folder)?;
    }
    let shown = Arc::new(Shown::new(common.quiet, planned::planned(experiment)));
    let lab = Lab {
        settings: common.settings(),
        durability,
        output: common.output.clone(),
        progress: shown.clone(),
        environment: Arc::default(),
    };
    let done = tokio::select! {
        done = carry_out(experiment, lab) => done,
        () = interrupt.cancelled() => Err(Failure::interrupted("interrupted: nothing is reported")),
    };
    shown.finish();
    done
}

async fn carry_out(experiment: &Experiment, mut lab: Lab) -> Outcome {
    let (common, durability) = experiment.common();
    match experiment {
        Experiment::Sweep { varied, timed, n, bundle, most, factor } => {
            let bed = lab.bed(*n).await?;
            let (search, subject) = (Search::new(*factor, *most), bed.subject()?);
            let done =
                Sweep::run(&lab, "sweep", &subject, *bundle, search, varied.connections, timed.duration)
                    .await?;
            tell("sweep", &lab, common, &done, &[done.section("Sweep")])?;
            consistent(done.is_consistent())?;
            complete(done.stopped)
        }
        Experiment::Scale { varied, timed, offered, sizes, rounds } => {
            distinct(sizes)?;
            let done = Scale::run(&lab, sizes, *rounds, load(varied, offered)?, timed.duration).await?;
            tell("scale", &lab, common, &done, &[done.section()])?;
            consistent(done.is_consistent())?;
            complete(done.stopped)
        }
        Experiment::AttackMatrix { varied, timed, offered, n, all, strategy, primary_duration, rounds } => {
            let attacks = attacks(*all, strategy)?;
            let load = load(varied, offered)?;
            let trials = Trials { rounds: *rounds, lasts: timed.duration, primary_lasts: *primary_duration };
            let done = AttackMatrix::run(&lab, *n, &attacks, load, trials).await?;
            tell("attack-matrix", &lab, common, &done, &[done.section()])?;
            consistent(done.is_consistent())?;
            complete(done.stopped)
        }
        Experiment::Failover { varied, offered, n, times } => {
            let done = Failover::run(&lab, *n, *times, load(varied, offered)?).await?;
            tell("failover", &lab, common, &done, &[done.section()])?;
            consistent(done.is_consistent())?;
            held(done.is_within_limit(), "a pause was longer than the view timeout + 100 ms")?;
            complete(done.stopped)
        }
        Experiment::Soak { varied, offered, n, lasts, preload } => {
            lab.settings.preload = *preload;
            let done = Soak::run(&lab, *n, load(varied, offered)?, *lasts).await?;
            tell("soak", &lab, common, &done, &[done.section()])?;
            consistent(done.is_consistent())?;
            held(done.view_changes.is_empty(), "the primary was replaced although nothing was wrong")?;
            held(done.is_flat(), "a replica's memory is not flat, or above 256 MB")
        }
        Experiment::Compare { other, varied, timed, offered, n, rounds } => {
            let load = load(varied, offered)?;
            if *other == Other::Etcd && durability == Durability::Memory {
                return Err(Failure::bad_input(
                    "etcd keeps its files on disk, so beside it --durability memory would compare two different things: \
                     leave it out",
                ));
            }
            // First, so that what is missing is told before anything else is done.
            let (etcd, unreplicated) = match other {
                Other::Etcd => (Some(Etcd::start().await?), None),
                Other::Unreplicated => {
                    (None, Some(Unreplicated::start(lab.durability, lab.settings.identities)?))
                }
            };
            let others = Others { etcd: etcd.as_ref(), unreplicated: unreplicated.as_ref() };
            let done = Comparison::run(&lab, "turn", others, *n, *rounds, load, timed.duration).await?;
            tell("compare", &lab, common, &done, &[done.section("Side by side")])?;
            consistent(done.is_consistent())?;
            complete(done.stopped)
        }
        Experiment::Report { .. } => {
            let done = Brief::run(&lab, Plan::default()).await?;
            tell("report", &lab, common, &done, &done.sections())?;
            consistent(done.is_consistent())?;
            complete(done.stopped())
        }
    }
}

/// The load that is asked for, if clusters with the usual parameters, as all of these are, take it.
fn load(varied: &Varied, offered: &Offered) -> Outcome<Load> {
    let (Offered { outstanding, bundle }, connections) = (*offered, varied.connections);
    let most = Load::most(&Parameters::default(), bundle, connections);
    if outstanding > most {
        return Err(Failure::bad_input(format!(
            "--outstanding {outstanding} does not fit: {connections} connections take {most} submissions of {bundle} \
             requests at most; use more --connections, or a smaller --bundle"
        )));
    }
    Ok(Load::of(outstanding, bundle, connections))
}

/// The strategies that are asked for.
fn attacks(all: bool, strategies: &[String]) -> Outcome<Vec<Attack>> {
    match (all, strategies) {
        (true, _) => Ok(Attack::all()),
        (false, []) => Ok(Attack::chosen()),
        (false, named) => {
            named.iter().map(|it| Attack::named(it)).collect::<Result<_, _>>().map_err(Failure::bad_input)
        }
    }
}

/// What a size is told by is its number: twice the same would be one file.
fn distinct(sizes: &[usize]) -> Outcome {
    match sizes.iter().enumerate().find(|(place, size)| sizes[..*place].contains(size)) {
        Some((_, size)) => Err(Failure::bad_input(format!(
            "--sizes names {size} twice: name each size once, and see --rounds"
        ))),
        None => Ok(()),
    }
}

/// Keeps the result if it is to be kept, and prints it.
fn tell<T: Serialize>(
    command: &str,
    lab: &Lab,
    common: &Common,
    result: &T,
    sections: &[Section],
) -> Outcome {
    lab.progress.live("");
    let environment = lab.environment.get();
    let about = environment.map(Environment::told).unwrap_or_default();
    let kept = Kept { command, environment, result };
    if let Some(folder) = &common.output {
        output::keep(folder, &kept, &about, sections)?;
    }
    output::print(&kept, &about, sections, common.write_out)
}

/// A cluster that broke its word, or was not seen to keep it, ends everything with the code for it.
fn consistent(holds: bool) -> Outcome {
    held(holds, "not every load was answered, and seen to be kept as acknowledged: see the verdicts above")
}

fn held(holds: bool, otherwise: &str) -> Outcome {
    if holds { Ok(()) } else { Err(Failure::verdict(otherwise)) }
}

/// An experiment that an error ended early has a result, and is a failure nevertheless.
fn complete(stopped: Option<String>) -> Outcome {
    match stopped {
        Some(why) => Err(Failure::error(format!("ended early, with what was measured until then: {why}"))),
        None => Ok(()),
    }
}
