//! The thread that answers unordered reads (N5), while the service executes on (fault 36).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use pbft_protocol::Query;
use pbft_service::Reader;

use super::contained;
use crate::error::panic_text;
use crate::inbound::{Event, Inbound};

/// Reads that wait for the thread. More are refused, and their clients ask otherwise.
const QUEUE: usize = 1024;

/// A read, and the state to answer it from.
type Job = (Query, Arc<dyn Reader>);

/// The handle of the thread. Answers go back to the driver, for the outlet sees all that leaves.
pub(super) struct Reads {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

impl Reads {
    pub(super) fn start(inbound: Inbound) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let thread = thread::Builder::new()
            .name("pbft-read".into())
            .spawn(move || contained("pbft-read", &inbound, || run(&inbound, &queue)))?;
        Ok(Self { jobs, thread })
    }

    /// Has a read answered. Does not wait; gives it back if too many wait.
    pub(super) fn answer(&self, query: Query, state: Arc<dyn Reader>) -> Result<(), Query> {
        self.jobs.try_send((query, state)).map_err(|error| {
            let (TrySendError::Full((query, _)) | TrySendError::Disconnected((query, _))) = error;
            query
        })
    }

    /// Finishes what waits and ends the thread.
    pub(super) fn stop(self) {
        drop(self.jobs);
        // A panic of the thread was reported as a failure by the thread itself.
        let _ = self.thread.join();
    }
}

fn run(inbound: &Inbound, jobs: &Receiver<Job>) {
    for (query, state) in jobs {
        let answered = catch_unwind(AssertUnwindSafe(|| state.query(&query.read.operation)));
        // The state is shared and was not written to, so a service that breaks its contract here harms no more than
        // this read, at all replicas alike.
        let effect = answered.map_or_else(
            |payload| {
                tracing::error!(why = panic_text(&*payload), "the service panicked at an unordered read");
                query.refused()
            },
            |result| query.answered(result),
        );
        inbound.event(Event::Effect(effect));
    }
}
