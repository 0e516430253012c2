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
    /// Answered puts a second.
    pub throughput_per_s: f64,
    /// The median latency in microseconds.
    pub p50_us: u64,
    /// 99% were answered within.
    pub p99_us: u64,
    /// The processor time of all processes for each answered put, in microseconds.
    pub processor_us: Option<f64>,
    /// Puts without an answer.
    pub failed: u64,
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

/// What one of many loops measured.
struct Loop {
    latencies: Series,
    last_answer: Instant,
}

impl Etcd {
    /// Drives the leader with as many puts under way as the load says, for so long after the warm-up.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(&self, settings: &Settings, load: Load, lasts: Duration) -> Result<EtcdRun, LabError> {
        let values = Arc::new(Values::new(rand::random(), settings.payload));
        let order = Arc::new(Order::default());
        let mut connections = Vec::with_capacity(load.connections);
        for _ in 0..load.connections {
            let opened = Connection::open(self.leader).await;
            connections.push(opened.map_err(|error| LabError::Stuck(format!("etcd: {error}")))?);
        }
        let from = Instant::now() + settings.warmup;
        let ends = from + lasts;
        let mut loops = JoinSet::new();
        for (number, connection) in connections.iter().enumerate() {
            for lane in 0..load.pipeline * load.bundle {
                let worker = (number << 8) | lane;
                let (connection, values, order) = (connection.clone(), values.clone(), order.clone());
                let random = StdRng::seed_from_u64(settings.seed ^ worker as u64);
                loops.spawn(puts(connection, values, order, worker, settings.keys, random, from, ends));
            }
        }
        let processes = self.processes();
        tokio::time::sleep_until(from.into()).await;
        let before = processor_time(&processes);
        let (mut all, mut last_answer) = (Series::default(), ends);
        while let Some(ended) = loops.join_next().await {
            // A loop neither panics nor is aborted.
            if let Ok(ended) = ended {
                all.merge(&ended.latencies);
                last_answer = last_answer.max(ended.last_answer);
            }
        }
        let after = processor_time(&processes);
        let answered = all.completed();
        let spent = before.zip(after).and_then(|(before, after)| after.checked_sub(before));
        let violations = order.violations().0;
        Ok(EtcdRun {
            load,
            throughput_per_s: answered as f64 / (last_answer - from).as_secs_f64(),
            p50_us: all.latencies().value_at_quantile(0.5),
            p99_us: all.latencies().value_at_quantile(0.99),
            processor_us: spent.filter(|_| answered > 0).map(|it| it.as_secs_f64() * 1e6 / answered as f64),
            failed: all.failed,
            violations,
        })
    }
}

/// One put after the other until the end. What is sent after the warm-up counts.
#[expect(clippy::too_many_arguments, reason = "the beginning of a task")]
async fn puts(
    connection: Connection,
    values: Arc<Values>,
    order: Arc<Order>,
    worker: usize,
    keys: u32,
    mut random: StdRng,
    from: Instant,
    ends: Instant,
) -> Loop {
    let mut measured = Loop { latencies: Series::default(), last_answer: from };
    for count in 0.. {
        let place = key(random.random_range(0..keys));
        let value = values.value(((worker as u64) << 32) | count);
        let newest_before = order.newest();
        let started = Instant::now();
        if started >= ends {
            break;
        }
        let answer = connection.put(&place, &value).await;
        let ended = Instant::now();
        match answer {
            Ok(revision) => {
                order.answered(Kind::Write, newest_before, revision);
                if started >= from {
                    measured.latencies.record(ended - started);
                    measured.last_answer = ended;
                }
            }
            Err(_) => {
                measured.latencies.failed += 1;
                // It may come at once, again and again.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    measured
}
