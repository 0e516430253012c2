//! One client at work: asks, waits for the answer, records both, and asks again.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use pbft_client::{Client, ClientError, Connector};
use pbft_service::kv::Reply;

use super::meter::Meter;
use super::mix::Mix;
use super::translate::{observation, to_store};
use crate::check::{Done, Operation, Outcome, Recorded};

/// How long a worker holds back after a failure, so that a cluster that is down is not asked in a tight loop.
const HOLD_BACK: Duration = Duration::from_millis(50);

pub(super) struct Worker {
    index: usize,
    client: Client,
    connector: Connector,
    mix: Mix,
    meter: Arc<Meter>,
    history: Vec<Recorded>,
}

/// What came of one attempt.
enum Attempt {
    Answered,
    /// It certainly had no effect.
    NoEffect,
    Unknown,
}

impl Worker {
    pub(super) fn new(
        index: usize,
        client: Client,
        connector: Connector,
        mix: Mix,
        meter: Arc<Meter>,
    ) -> Self {
        meter.expect(index);
        Self { index, client, connector, mix, meter, history: Vec::new() }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn into_history(self) -> Vec<Recorded> {
        self.history
    }

    /// Puts the records at these places, each until it is acknowledged.
    pub(super) async fn load(&mut self, places: impl Iterator<Item = usize>, stop: &CancellationToken) {
        for place in places {
            while !stop.is_cancelled() {
                let operation = self.mix.record(place);
                if let Attempt::Answered = self.attempt(operation, stop).await {
                    break;
                }
            }
        }
    }

    /// Asks for one thing after the other until told to stop.
    pub(super) async fn run(&mut self, think: Duration, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let operation = self.mix.next();
            if let Attempt::Answered = self.attempt(operation, stop).await
                && !think.is_zero()
            {
                hold_back(think, stop).await;
            }
        }
    }

    async fn attempt(&mut self, operation: Operation, stop: &CancellationToken) -> Attempt {
        let invoked = self.meter.now();
        let asked = self.client.execute(to_store(&operation).encode());
        let result = tokio::select! {
            result = asked => Some(result),
            () = self.meter.out_of_patience() => None,
        };
        let outcome = match result {
            Some(Ok(executed)) => self.read(&operation, executed.sequence.0, &executed.result),
            Some(Err(error)) => self.failed(&error).await,
            None => {
                self.meter.failure("not answered before the load was stopped".into());
                Some(Outcome::Unknown)
            }
        };
        let attempt = match &outcome {
            Some(Outcome::Done(done)) => {
                self.mix.learn(&operation, done);
                self.meter.answer(self.index, done.returned);
                Attempt::Answered
            }
            Some(Outcome::Unknown) => Attempt::Unknown,
            None => Attempt::NoEffect,
        };
        if let Some(outcome) = outcome {
            self.history.push(Recorded { client: self.index, operation, invoked, outcome });
        }
        if !matches!(attempt, Attempt::Answered) {
            hold_back(HOLD_BACK, stop).await;
        }
        attempt
    }

    /// Reads a result that f+1 replicas agree on. One that makes no sense is kept as unanswered: its effect, if any,
    /// is then for the checks to explain.
    fn read(&self, operation: &Operation, sequence: u64, result: &[u8]) -> Option<Outcome> {
        let returned = self.meter.now();
        let reply = match Reply::decode(result) {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                self.meter.failure(error.to_string());
                return None;
            }
            Err(error) => {
                self.meter.failure(error.to_string());
                return Some(Outcome::Unknown);
            }
        };
        let revision = reply.revision;
        match observation(operation, reply.answer) {
            Some(observation) => Some(Outcome::Done(Done { returned, sequence, revision, observation })),
            None => {
                self.meter.failure("an answer that does not belong to its question".into());
                Some(Outcome::Unknown)
            }
        }
    }

    /// Takes note of a failure; opens a new session where the old one is over.
    async fn failed(&mut self, error: &ClientError) -> Option<Outcome> {
        self.meter.failure(error.to_string());
        if matches!(error, ClientError::SessionExpired { .. } | ClientError::OpeningRefused(_)) {
            // The load may be stopped meanwhile, and then nobody waits for a session.
            tokio::select! {
                client = self.connector.open_session() => self.client = client.unwrap_or(self.client.clone()),
                () = self.meter.out_of_patience() => {}
            }
        }
        error.may_have_taken_effect().then_some(Outcome::Unknown)
    }
}

/// Waits for so long, or until the load is stopped.
async fn hold_back(time: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}
