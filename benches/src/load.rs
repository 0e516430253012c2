//! Runs all workers from the first request to the last answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use pbft_client::Client;

use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::order::Order;
use crate::settings::Settings;
use crate::tally::Tally;
use crate::timeline::Timeline;
use crate::values::Values;
use crate::worker::{Shared, Worker};

/// How often the progress is told.
const PROGRESS: Duration = Duration::from_secs(1);

/// How long answers are waited for after an interruption.
const GRACE: Duration = Duration::from_secs(2);

/// How far the load is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The time since the warm-up ended; `None` while it lasts.
    pub elapsed: Option<Duration>,
    /// How many answers came since the warm-up ended, also after the end of the load.
    pub answered: u64,
    /// The median latency so far of the requests that count; `None` before the first.
    pub p50: Option<Duration>,
}

/// What a load came to.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was counted.
    pub tally: Tally,
    /// The same over time.
    pub timeline: Timeline,
    /// What is known of the writes, those before the warm-up's end included.
    pub(crate) journal: Journal,
    /// When the warm-up ended; all times count from then.
    pub measured_from: Instant,
    /// The time from then to the end of the load. Answers that came in it are what throughput counts.
    pub duration: Duration,
    /// How well an open loop kept its times; `None` for a closed one.
    pub punctuality: Option<Punctuality>,
    /// The processor time that this process used meanwhile.
    pub cpu: Duration,
    /// Whether the load was ended early.
    pub interrupted: bool,
    /// How many connections ended early, because their sessions had expired.
    pub sessions_lost: usize,
}

/// How well an open loop kept its times. Of requests that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Punctuality {
    /// How many requests were due.
    pub arrivals: u64,
    /// How many of them were sent more than a millisecond after they were due. Their latencies contain the delay.
    pub late: u64,
    /// How many of them were never sent, since the load ended before a connection was free. They have no latency.
    pub shed: u64,
}

/// What a load is made with.
pub(crate) struct Run<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) values: &'a Values,
    pub(crate) sessions: &'a [Client],
    pub(crate) order: &'a Arc<Order>,
}

/// Loads the cluster through all sessions, until the load ends or is interrupted. `journal` holds what was written
/// before, which was `written` writes.
///
/// `observe` is told the progress when the warm-up ends, every second, and when all is answered. After an interruption,
/// answers are waited for a short while.
pub(crate) async fn drive(
    run: &Run<'_>,
    journal: Journal,
    written: u64,
    interrupt: &CancellationToken,
    mut observe: impl FnMut(&Progress),
) -> Measured {
    let Run { settings, values, sessions, order } = *run;
    let shared = Arc::new(Shared::new(settings, values.clone(), order.clone(), journal, written));
    let abandon = CancellationToken::new();
    let mut running = JoinSet::new();
    let workers = (0..settings.pipeline).flat_map(|_| sessions.iter().enumerate());
    for (number, (connection, client)) in workers.enumerate() {
        let mut worker = Worker::new(number, connection, settings, shared.clone(), client.clone());
        let abandon = abandon.clone();
        running.spawn(async move {
            tokio::select! {
                biased;
                () = worker.run() => {}
                () = abandon.cancelled() => {}
            }
            worker.abandon();
        });
    }
    let keeper = keep_gate(&shared);
    let planned = settings.extent.end(shared.measured_from);
    let (mut interrupted_at, mut cpu_before, mut cpu_after) = (None, None, None);
    let mut ticks = tokio::time::interval(PROGRESS);
    loop {
        tokio::select! {
            worker = running.join_next() => if worker.is_none() { break },
            () = interrupt.cancelled(), if interrupted_at.is_none() => {
                let now = Instant::now();
                interrupted_at = Some(now);
                shared.ledger().end(now);
                cpu_after.get_or_insert_with(processor_time);
                shared.stop.store(true, Ordering::Relaxed);
            }
            () = until(interrupted_at.map(|at| at + GRACE)), if !abandon.is_cancelled() => abandon.cancel(),
            () = until(Some(shared.measured_from)), if cpu_before.is_none() => {
                cpu_before = Some(processor_time());
                observe(&progress(&shared));
            }
            () = until(planned), if cpu_after.is_none() => cpu_after = Some(processor_time()),
            _ = ticks.tick() => observe(&progress(&shared)),
        }
    }
    let ended = Instant::now();
    observe(&progress(&shared));
    let cpu_after = cpu_after.unwrap_or_else(processor_time);
    let cpu = cpu_before.map_or(Duration::ZERO, |before| cpu_after.saturating_sub(before));
    shared.stop.store(true, Ordering::Relaxed);
    if let Some(keeper) = keeper {
        // It does not panic, and it ends soon after the load does.
        let _ = keeper.await;
    }
    let end = shared.ledger().end(planned.unwrap_or(ended));
    let punctuality = punctuality(settings, &shared, end);
    let measured_from = shared.measured_from;
    let duration = end.saturating_duration_since(measured_from);
    let shared = Arc::into_inner(shared).expect("all workers have ended, and the keeper of the gate too");
    let Ledger { tally, mut timeline, journal, sessions_lost, .. } = shared.into_ledger();
    timeline.finish(duration);
    Measured {
        tally,
        timeline,
        journal,
        measured_from,
        duration,
        punctuality,
        cpu,
        interrupted: interrupted_at.is_some(),
        sessions_lost: sessions_lost.len(),
    }
}

/// Starts what lets an open loop's requests go.
fn keep_gate(shared: &Arc<Shared>) -> Option<tokio::task::JoinHandle<()>> {
    shared.gate.as_ref()?;
    let shared = shared.clone();
    Some(tokio::task::spawn_blocking(move || {
        if let Some(gate) = &shared.gate {
            gate.keep(|| shared.stop.load(Ordering::Relaxed));
        }
    }))
}

/// Waits until then; for ever if that is never.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn punctuality(settings: &Settings, shared: &Shared, end: Instant) -> Option<Punctuality> {
    let left = shared.gate.as_ref()?.shed(shared.measured_from..end) * settings.bundle as u64;
    let shed = shared.shed.load(Ordering::Relaxed) + left;
    let sent = shared.ledger().tally.sent();
    Some(Punctuality { arrivals: sent + shed, late: shared.late.load(Ordering::Relaxed), shed })
}

fn progress(shared: &Shared) -> Progress {
    let (all, answered) = {
        let ledger = shared.ledger();
        (ledger.tally.all(), ledger.answers)
    };
    let p50 = || Duration::from_micros(all.latencies().value_at_quantile(0.5));
    let p50 = (all.completed() > 0).then(p50);
    let elapsed = Instant::now().checked_duration_since(shared.measured_from);
    Progress { elapsed, answered, p50 }
}

/// What this process has used, all threads together.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // It is never negative.
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}
