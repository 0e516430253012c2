//! The main job: a cluster that serves under load, outlives its primary, and catches a liar; then the verdict.

mod checks;
mod phases;
mod report;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pbft_client::{ClientSettings, Connector};

use crate::check::Recorded;
use crate::create::check_size;
use crate::traffic::{Meter, Plan, Traffic};
use crate::{ClusterStatus, Durability, Lifetime, Options, Roots, Testnet, TestnetError};
use phases::Scene;

pub use report::{
    Check, CrashPhase, LiePhase, LoadPhase, Phases, Report, RestartPhase, StartPhase, TrafficPhase, Verdict,
};
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

/// Hears how the job is getting on.
pub trait Progress: Send + Sync {
    /// Something new begins, or has come out.
    fn step(&self, text: &str);
    /// How things are at the moment; often.
    fn live(&self, text: &str);
}

/// How long the load's last answers are waited for once service has stopped.
const HOPELESS: Duration = Duration::from_secs(5);

/// How long a client of the load waits for one answer: longer than any pause, so that outcomes are known.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

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
    let mut testnet = Testnet::up(options).await?;
    let start = StartPhase { seconds: started.elapsed().as_secs_f64() };

    let settings = ClientSettings { timeout: CLIENT_TIMEOUT, ..ClientSettings::default() };
    let connector = testnet.connector(settings)?;
    let mut reasons = Vec::new();
    let mut played = Played::default();
    match opened(&connector, &job).await {
        Ok(traffic) => played = play(&job, &mut testnet, traffic, &progress, &mut reasons).await,
        Err(why) => reasons.push(format!("the load's clients could not begin: {why}")),
    }
    if !reasons.is_empty() {
        reasons.push(standing(&testnet.status(Roots::Spared).await?));
    }
    let Played { load, steady, crash, restart, lie, history } = played;
    let liar = lie.as_ref().map(|lie| lie.replica);
    let judgement = checks::judge(&testnet, &connector, &history, liar, job.patience, &mut reasons).await?;
    let phases = Phases { start, load, steady, crash, restart, lie };
    let report = Report::new(&job, &testnet, phases, judgement, &history, reasons);
    testnet.down().await?;
    // The replicas are gone, so nobody is left to say farewell to; what this gives up ends with the process.
    let _ = tokio::time::timeout(job.patience, connector.shutdown()).await;
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

async fn opened(connector: &Connector, job: &Job) -> Result<Traffic, String> {
    match tokio::time::timeout(job.patience, Traffic::new(connector, job.plan.clone())).await {
        Ok(traffic) => traffic.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no session for each within {:?}", job.patience)),
    }
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

/// Tells the progress several times a second, until it is dropped.
struct Live(tokio::task::JoinHandle<()>);

impl Live {
    fn start(meter: Arc<Meter>, progress: Arc<dyn Progress>) -> Self {
        Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(200));
            loop {
                ticks.tick().await;
                let now = meter.now();
                let rate = meter.rate(now.saturating_sub(Duration::from_secs(1)), now);
                progress.live(&format!("{} operations acknowledged, {rate:.0}/s", meter.answered()));
            }
        }))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.abort();
    }
}
