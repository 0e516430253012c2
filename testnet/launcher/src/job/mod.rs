//! The main job: a cluster that serves under load, outlives its primary, and catches a liar; then the verdict.

mod checks;
mod phases;
mod report;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pbft_client::ClientSettings;

use crate::traffic::{Meter, Plan, Traffic};
use crate::{Durability, Lifetime, Options, Testnet, TestnetError};

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
}

/// Hears how the job is getting on.
pub trait Progress: Send + Sync {
    /// Something new begins, or has come out.
    fn step(&self, text: &str);
    /// How things are at the moment; often.
    fn live(&self, text: &str);
}

/// How long each awaited thing may take, far above what is normal: a view change takes a view timeout or two.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a client of the load waits for one answer: longer than any pause, so that outcomes are known.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Does the job. Whatever the cluster does wrong is in the report; the replicas are stopped at the end. Dropping the
/// future kills them.
///
/// # Errors
/// [`TestnetError`], where the job could not be done at all.
pub async fn run(job: Job, progress: Arc<dyn Progress>) -> Result<Report, TestnetError> {
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
    let no_service = |error: pbft_client::ClientError| TestnetError::NoService(error.to_string());
    let mut traffic = Traffic::new(&connector, job.plan.clone()).await.map_err(no_service)?;
    let live = Live::start(Arc::clone(traffic.meter()), Arc::clone(&progress));

    let mut reasons = Vec::new();
    let mut scene = phases::Scene {
        job: &job,
        testnet: &mut testnet,
        meter: Arc::clone(traffic.meter()),
        progress: &*progress,
        reasons: &mut reasons,
    };
    let load = scene.load(&mut traffic).await;
    traffic.start();
    let steady = scene.steady().await;
    let crash = scene.crash().await?;
    let restart = scene.restart(crash.as_ref()).await?;
    let lie = scene.lie().await?;
    scene.calm().await;
    progress.step("stopping the load, and judging what the clients saw");
    let history = traffic.stop(PATIENCE).await;
    drop(live);

    let liar = lie.as_ref().map(|lie| lie.replica);
    let judgement = checks::judge(&testnet, &connector, &history, liar, &mut reasons).await?;
    let phases = Phases { start, load, steady, crash, restart, lie };
    let report = Report::new(&job, &testnet, phases, judgement, &history, reasons);
    testnet.down().await?;
    connector.shutdown().await;
    Ok(report)
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
