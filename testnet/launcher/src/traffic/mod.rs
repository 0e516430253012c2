//! Load that is recorded: several client sessions that put, get, delete and run transactions at the same time, and
//! remember every answer for the checks of [`crate::check`].

mod meter;
mod mix;
mod preload;
mod scan;
mod translate;
mod worker;

pub use meter::{Gap, Meter};
pub use preload::{Preload, Preloaded};
pub use scan::scan;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use pbft_client::{ClientError, Connector};

use crate::check::Recorded;
use mix::Mix;
use worker::Worker;

/// How much load, and of what kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// The seed of all choices.
    pub seed: u64,
    /// How many sessions.
    pub sessions: usize,
    /// How many operations each session has under way at a time.
    pub depth: usize,
    /// How many records are put before the mixed traffic begins.
    pub records: usize,
    /// How many keys the sessions share.
    pub shared_keys: usize,
    /// How many keys each client writes that are its own. 0 means a new one each time: then every acknowledged write
    /// can be read back in the end, and the store grows.
    pub own_keys: usize,
    /// How many milliseconds each client waits between an answer and its next question.
    pub think_ms: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { seed: 0, sessions: 6, depth: 2, records: 1000, shared_keys: 32, own_keys: 0, think_ms: 0 }
    }
}

/// Sessions under load.
pub struct Traffic {
    plan: Plan,
    workers: Vec<Worker>,
    running: JoinSet<Worker>,
    meter: Arc<Meter>,
    stop: CancellationToken,
}

impl Traffic {
    /// Opens the sessions. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError`], if the cluster does not answer.
    pub async fn new(connector: &Connector, plan: Plan) -> Result<Self, ClientError> {
        let meter = Arc::new(Meter::default());
        let mut workers = Vec::new();
        for _ in 0..plan.sessions {
            let client = connector.open_session().await?;
            for _ in 0..plan.depth {
                let mix = Mix::new(&plan, workers.len());
                workers.push(Worker::new(
                    workers.len(),
                    client.clone(),
                    connector.clone(),
                    mix,
                    Arc::clone(&meter),
                ));
            }
        }
        let stop = CancellationToken::new();
        Ok(Self { plan, workers, running: JoinSet::new(), meter, stop })
    }

    /// Counts what is acknowledged.
    #[must_use]
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Puts the plan's records, and returns when all are acknowledged.
    pub async fn load_records(&mut self) {
        let (records, count) = (self.plan.records, self.workers.len());
        let stop = self.stop.clone();
        for mut worker in self.workers.drain(..) {
            let stop = stop.clone();
            self.running.spawn(async move {
                let places = (worker.index()..records).step_by(count);
                worker.load(places, &stop).await;
                worker
            });
        }
        self.collect().await;
    }

    /// Lets mixed traffic run until [`Traffic::stop`].
    pub fn start(&mut self) {
        let think = Duration::from_millis(self.plan.think_ms);
        for mut worker in self.workers.drain(..) {
            let stop = self.stop.clone();
            self.running.spawn(async move {
                worker.run(think, &stop).await;
                worker
            });
        }
    }

    /// Asks for nothing more, waits for what is under way, and gives everything that was recorded. What is not
    /// answered within `patience` is recorded as unanswered.
    pub async fn stop(mut self, patience: Duration) -> Vec<Recorded> {
        self.stop.cancel();
        self.meter.hurry(patience);
        self.collect().await;
        let mut history: Vec<_> = self.workers.drain(..).flat_map(Worker::into_history).collect();
        history.sort_by_key(|recorded| recorded.invoked);
        history
    }

    async fn collect(&mut self) {
        while let Some(worker) = self.running.join_next().await {
            // A worker does not panic and is not aborted; if it did, its part of the history would be missing, and
            // the checks would find revisions that nothing explains.
            self.workers.extend(worker.ok());
        }
        self.workers.sort_by_key(Worker::index);
    }
}
