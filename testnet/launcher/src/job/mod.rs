//! The main job: a cluster that serves under load, outlives its primary, and catches a liar; then the verdict.

mod phases;
mod report;
mod table;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::check::Recorded;
use crate::create::check_size;
use crate::traffic::{Plan, Preloaded, Traffic};
use crate::trial::{Case, Live, Progress, Settled, Trial, judge};
use crate::{ClusterStatus, Durability, Lifetime, Options, Roots, Testnet, TestnetError};
use phases::Scene;

pub use report::{CrashPhase, LiePhase, LoadPhase, Phases, Report, RestartPhase, StartPhase, TrafficPhase};
pub use table::table;

/// What to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// How many replicas.
    pub n: usize,
    /// Their durability.
    pub durability: Durability,
    /// Where they live; see [`Options::folder`].
    pub folder: PathBuf,
    /// The load.
    pub plan: Plan,
    /// How long traffic flows undisturbed before and after each fault.
    pub calm: Duration,
    /// How long the job waits for each thing before it gives that up and says so in the report; far above what is
    /// normal: a view change takes a view timeout or two.
    pub patience: Duration,
}

/// How long the load's last answers are waited for once service has stopped.
const HOPELESS: Duration = Duration::from_secs(5);

/// Does the job. Whatever the cluster does wrong is in the report, and that it does nothing any more is part of it:
/// every wait is bounded, so the job always ends. The replicas are stopped at the end. Dropping the future kills them.
///
/// # Errors
/// [`TestnetError`], where the job could not be done at all.
pub async fn run(job: Job, progress: Arc<dyn Progress>) -> Result<Report, TestnetError> {
    // Said before anything is announced that cannot be.
    check_size(job.n)?;
    progress.step(&format!("starting {} replicas, each a process of its own", job.n));
    let started = tokio::time::Instant::now();
    let options = Options {
        n: Some(job.n),
        durability: Some(job.durability),
        lifetime: Lifetime::Tethered,
        ..Options::new(&job.folder)
            .map_err(|source| TestnetError::File { path: job.folder.clone(), source })?
    };
    let mut trial = Trial::begin(options, job.patience).await?;
    let start = StartPhase { seconds: started.elapsed().as_secs_f64() };

    let mut reasons = Vec::new();
    let mut played = Played::default();
    match trial.traffic(job.plan.clone()).await {
        Ok(traffic) => played = play(&job, &mut trial.testnet, traffic, &progress, &mut reasons).await,
        Err(why) => reasons.push(format!("the load's clients could not begin: {why}")),
    }
    if !reasons.is_empty() {
        reasons.push(standing(&trial.testnet.status(Roots::Spared).await?));
    }
    let Played { load, steady, crash, restart, lie, history } = played;
    let liars: BTreeSet<_> = lie.iter().map(|lie| lie.replica).collect();
    let nothing = Preloaded::default();
    let case = Case {
        history: &history,
        preloaded: &nothing,
        liars: &liars,
        suspects: &BTreeSet::new(),
        settled: Settled::Correct,
        strangers: false,
    };
    let judgement = judge(&trial, case).await?;
    let phases = Phases { start, load, steady, crash, restart, lie };
    let report = Report::new(&job, &trial.testnet, phases, judgement, &history, reasons);
    trial.end().await?;
    Ok(report)
}

/// What was done, as far as it came.
#[derive(Default)]
struct Played {
    load: Option<LoadPhase>,
    steady: Option<TrafficPhase>,
    crash: Option<CrashPhase>,
    restart: Option<RestartPhase>,
    lie: Option<LiePhase>,
    history: Vec<Recorded>,
}

/// Plays the acts under load. A cluster that does not even serve undisturbed is spared the faults.
async fn play(
    job: &Job,
    testnet: &mut Testnet,
    mut traffic: Traffic,
    progress: &Arc<dyn Progress>,
    reasons: &mut Vec<String>,
) -> Played {
    let live = Live::start(Arc::clone(traffic.meter()), Arc::clone(progress));
    let mut scene =
        Scene { job, testnet, meter: Arc::clone(traffic.meter()), progress: &**progress, reasons };
    let mut played = Played { load: scene.load(&mut traffic).await, ..Played::default() };
    if played.load.is_some() {
        traffic.start();
        played.steady = scene.steady().await;
    }
    if played.steady.is_some() {
        played.crash = scene.crash().await;
        played.restart = scene.restart(played.crash.as_ref()).await;
        played.lie = scene.lie().await;
        scene.calm().await;
    }
    progress.step("stopping the load, and judging what the clients saw");
    // Where service has stopped, waiting for the last answers is in vain.
    let patience = if played.steady.is_some() { job.patience } else { job.patience.min(HOPELESS) };
    played.history = traffic.stop(patience).await;
    drop(live);
    played
}

/// Where each replica stood, in a sentence.
fn standing(status: &ClusterStatus) -> String {
    let number = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
    let each = status.replicas.iter().map(|it| match (it.alive, it.view) {
        (false, _) => format!("{} was dead", it.replica),
        (true, None) => format!("{} gave no answer", it.replica),
        (true, Some(view)) => {
            let (executed, stable) = (number(it.last_executed), number(it.stable));
            format!("{} was in view {view}, executed {executed}, stable {stable}", it.replica)
        }
    });
    format!("where the replicas stood: {}", each.collect::<Vec<_>>().join(", "))
}
