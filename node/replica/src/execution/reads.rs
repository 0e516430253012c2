//! The thread that answers unordered reads (N5), while the service executes on (fault 36).

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use pbft_messages::ClientId;
use pbft_protocol::Query;
use pbft_service::Reader;

use super::contained;
use crate::error::panic_text;
use crate::inbound::{Event, Inbound};

/// Reads that wait for an answer of the service, here or before. More are refused, and their clients ask otherwise.
pub(super) const READS: usize = 512;

/// Of these one client may hold a quarter: its slow reads do not deny them to the others (R2).
const READS_OF_ONE: usize = READS / 4;

/// A read, the state to answer it from, and the place that it holds.
type Job = (Query, Arc<dyn Reader>, Place);

/// The places for reads. Cloning gives another handle on them.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<BTreeMap<ClientId, usize>>>);

/// A place, given back when this is dropped.
pub(super) struct Place {
    places: Places,
    client: ClientId,
}

impl Places {
    /// A place for a client's read, if there is one.
    pub(super) fn take(&self, client: ClientId) -> Option<Place> {
        let mut taken = self.taken();
        if taken.values().sum::<usize>() >= READS {
            return None;
        }
        let of_client = taken.entry(client).or_default();
        if *of_client >= READS_OF_ONE {
            return None;
        }
        *of_client += 1;
        Some(Place { places: self.clone(), client })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<ClientId, usize>> {
        // Nothing under the lock panics half-way, so a poisoned lock still guards a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(of_client) = taken.get_mut(&self.client) {
            *of_client -= 1;
            if *of_client == 0 {
                taken.remove(&self.client);
            }
        }
    }
}

/// The handle of the thread. Answers go back to the driver, for the outlet sees all that leaves.
pub(super) struct Reads {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

impl Reads {
    pub(super) fn start(inbound: Inbound) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(READS);
        let thread = thread::Builder::new()
            .name("pbft-read".into())
            .spawn(move || contained("pbft-read", &inbound, || run(&inbound, &queue)))?;
        Ok(Self { jobs, thread })
    }

    /// Has a read answered. There is room for every place.
    pub(super) fn answer(&self, query: Query, state: Arc<dyn Reader>, place: Place) {
        // The thread ends before its handle only after it has reported a failure, which stops the replica.
        let _ = self.jobs.send((query, state, place));
    }

    /// Finishes what waits and ends the thread.
    pub(super) fn stop(self) {
        drop(self.jobs);
        // A panic of the thread was reported as a failure by the thread itself.
        let _ = self.thread.join();
    }
}

fn run(inbound: &Inbound, jobs: &Receiver<Job>) {
    for (query, state, place) in jobs {
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
        drop(place);
        inbound.event(Event::Effect(effect));
    }
}
