//! The closed loop, against etcd.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use tokio::task::JoinSet;

use super::Etcd;
use super::protocol::Connection;
use crate::keys::key;
use crate::lab::{LabError, Load, processor_time};
use crate::order::Order;
use crate::settings::Settings;
use crate::tally::{Kind, Series};
use crate::values::Values;

/// What a load of puts on etcd came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EtcdRun {
    /// What was offered; its bundles are sent as single puts, all at once.
    pub load: Load,
    /// Answers a second that came between the end of the warm-up and the end of the load.
    pub throughput_per_s: f64,
    /// The median latency, in microseconds, of the puts that were sent in this time.
    pub p50_us: u64,
    /// 99% were answered within.
    pub p99_us: u64,
    /// The processor time of all processes for each of these answers, in microseconds.
    pub processor_us: Option<f64>,
    /// Puts of this time without an answer.
    pub failed: u64,
    /// Whether the node that the puts went to led all the time. If not, most went through another one for a while, and the
    /// turn tells nothing of etcd's throughput.
    pub led: bool,
    /// Answers that told an older revision than was known before they were asked for.
    pub violations: u64,
}

impl EtcdRun {
    /// Whether etcd answered, and everything, in order with real time.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.throughput_per_s > 0.0 && self.violations == 0 && self.failed == 0
    }
}

/// The time that is measured.
#[derive(Clone, Copy)]
struct Window {
    from: Instant,
    ends: Instant,
}

impl Window {
    fn contains(&self, at: Instant) -> bool {
        (self.from..=self.ends).contains(&at)
    }
}

impl Etcd {
    /// Drives the leader with as many puts under way as the load says, for so long after the warm-up.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(&self, settings: &Settings, load: Load, lasts: Duration) -> Result<EtcdRun, LabError> {
        let values = Arc::new(Values::new(rand::random(), settings.payload));
        let order = Arc::new(Order::default());
        let stuck = |error| LabError::Stuck(format!("etcd: {error}"));
        let leader = self.leader().await?;
        let mut connections = Vec::with_capacity(load.connections);
        for _ in 0..load.connections {
            connections.push(Connection::open(leader.address).await.map_err(stuck)?);
        }
        let from = Instant::now() + settings.warmup;
        let window = Window { from, ends: from + lasts };
        let mut loops = JoinSet::new();
        for (number, connection) in connections.iter().enumerate() {
            for lane in 0..load.pipeline * load.bundle {
                let worker = (number << 8) | lane;
                let (connection, values, order) = (connection.clone(), values.clone(), order.clone());
                let random = StdRng::seed_from_u64(settings.seed ^ worker as u64);
                loops.spawn(puts(connection, values, order, worker, settings.keys, random, window));
            }
        }
        let processes = self.processes();
        tokio::time::sleep_until(window.from.into()).await;
        let before = processor_time(&processes);
        tokio::time::sleep_until(window.ends.into()).await;
        let after = processor_time(&processes);
        let mut all = Series::default();
        while let Some(ended) = loops.join_next().await {
            // A loop neither panics nor is aborted.
            if let Ok(ended) = ended {
                all.merge(&ended);
            }
        }
        let answered = all.answered;
        let spent = before.zip(after).and_then(|(before, after)| after.checked_sub(before));
        let violations = order.violations().0;
        Ok(EtcdRun {
            load,
            throughput_per_s: answered as f64 / lasts.as_secs_f64(),
            p50_us: all.latencies().value_at_quantile(0.5),
            p99_us: all.latencies().value_at_quantile(0.99),
            processor_us: spent.filter(|_| answered > 0).map(|it| it.as_secs_f64() * 1e6 / answered as f64),
            failed: all.failed,
            led: self.leader().await? == leader,
            violations,
        })
    }
}

/// One put after the other until the end. Throughput is of the answers that come in the window, latency of the puts that
/// are sent in it.
async fn puts(
    connection: Connection,
    values: Arc<Values>,
    order: Arc<Order>,
    worker: usize,
    keys: u32,
    mut random: StdRng,
    window: Window,
) -> Series {
    let mut measured = Series::default();
    for count in 0.. {
        let place = key(random.random_range(0..keys));
        let value = values.value(((worker as u64) << 32) | count);
        let newest_before = order.newest();
        let started = Instant::now();
        if started >= window.ends {
            break;
        }
        let answer = connection.put(&place, &value).await;
        let ended = Instant::now();
        match answer {
            Ok(revision) => {
                order.answered(Kind::Write, newest_before, revision);
                measured.answered += u64::from(window.contains(ended));
                if window.contains(started) {
                    measured.record(ended - started);
                }
            }
            Err(_) => {
                measured.failed += u64::from(window.contains(started));
                // It may come at once, again and again.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    measured
}
