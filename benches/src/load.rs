//! Runs all workers from the first request to the last answer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use pbft_client::KvClient;

use crate::journal::Journal;
use crate::order::Order;
use crate::settings::{Extent, Settings};
use crate::tally::{Series, Tally};
use crate::worker::{Finished, Shared, Worker, locked};
use crate::workload::Values;

/// How often the progress is told.
const PROGRESS: Duration = Duration::from_secs(1);

/// How long answers are waited for after an interruption.
const GRACE: Duration = Duration::from_secs(2);

/// How far the load is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The time since the warm-up ended; `None` while it lasts.
    pub elapsed: Option<Duration>,
    /// How many counted requests were answered.
    pub completed: u64,
    /// The counted requests' median latency so far; `None` before the first.
    pub p50: Option<Duration>,
}

/// What a load came to.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What all workers counted.
    pub tally: Tally,
    /// What is known of the writes, those of the warm-up included.
    pub journal: Journal,
    /// The time that the counted requests took.
    pub duration: Duration,
    /// Whether the load was ended early.
    pub interrupted: bool,
    /// How many workers ended early, because their sessions had expired.
    pub sessions_lost: usize,
}

/// Drives the cluster with a closed loop on each session, until the load ends or is interrupted.
///
/// `observe` is told the progress every second. After an interruption, answers are waited for a short while.
pub async fn drive(
    settings: &Settings,
    values: &Values,
    sessions: &[KvClient],
    order: &Arc<Order>,
    interrupt: &CancellationToken,
    mut observe: impl FnMut(&Progress),
) -> Measured {
    let shared = Arc::new(Shared::new(settings, values.clone(), order.clone()));
    let abandon = CancellationToken::new();
    let (mut running, mut tallies) = (JoinSet::new(), Vec::new());
    for (number, store) in sessions.iter().enumerate() {
        let mut worker = Worker::new(number, settings, shared.clone(), store.clone());
        tallies.push(worker.tally());
        let abandon = abandon.clone();
        running.spawn(async move {
            tokio::select! {
                () = worker.run() => {}
                () = abandon.cancelled() => {}
            }
            worker.finish()
        });
    }
    let (mut finished, mut interrupted_at) = (Vec::new(), None);
    let mut ticks = tokio::time::interval(PROGRESS);
    loop {
        tokio::select! {
            worker = running.join_next() => match worker {
                None => break,
                // A worker neither panics nor is aborted.
                Some(worker) => finished.extend(worker.ok()),
            },
            () = interrupt.cancelled(), if interrupted_at.is_none() => {
                interrupted_at = Some(Instant::now());
                shared.stop.store(true, Ordering::Relaxed);
            }
            () = grace(interrupted_at), if !abandon.is_cancelled() => abandon.cancel(),
            _ = ticks.tick() => observe(&progress(&shared, &tallies)),
        }
    }
    let ended = Instant::now();
    let mut tally = Tally::default();
    tallies.iter().for_each(|part| tally.merge(&locked(part)));
    let duration = duration(settings, &shared, &finished, interrupted_at, ended);
    let sessions_lost = finished.iter().filter(|worker| worker.session_over).count();
    let mut journal = Journal::default();
    finished.into_iter().for_each(|worker| journal.merge(worker.journal));
    Measured { tally, journal, duration, interrupted: interrupted_at.is_some(), sessions_lost }
}

/// Waits for the end of the grace after an interruption, for ever if there was none.
async fn grace(interrupted_at: Option<Instant>) {
    match interrupted_at {
        Some(at) => tokio::time::sleep_until((at + GRACE).into()).await,
        None => std::future::pending().await,
    }
}

/// From the end of the warm-up to the end of the load, or to the last counted answer if that is later: a pause at the
/// end must not vanish.
fn duration(
    settings: &Settings,
    shared: &Shared,
    finished: &[Finished],
    interrupted_at: Option<Instant>,
    ended: Instant,
) -> Duration {
    let planned = match (interrupted_at, settings.extent) {
        (Some(at), _) => at,
        (None, Extent::Lasts(duration)) => shared.measured_from + duration,
        (None, Extent::Requests(_)) => ended,
    };
    let last_answer = finished.iter().filter_map(|worker| worker.last_answer).max();
    planned.max(last_answer.unwrap_or(planned)).saturating_duration_since(shared.measured_from)
}

fn progress(shared: &Shared, tallies: &[Arc<Mutex<Tally>>]) -> Progress {
    let mut all = Series::default();
    for part in tallies {
        let part = locked(part);
        all.merge(&part.reads);
        all.merge(&part.writes);
    }
    let completed = all.completed();
    let p50 = (completed > 0).then(|| Duration::from_micros(all.latencies().value_at_quantile(0.5)));
    let elapsed = Instant::now().checked_duration_since(shared.measured_from);
    Progress { elapsed, completed, p50 }
}
