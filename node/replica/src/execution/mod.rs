//! The threads around the service: one that executes, one that makes snapshots durable meanwhile, one that hands out
//! parts of them, one that stores those that are fetched, one that answers unordered reads.

mod audits;
mod chunks;
mod executor;
mod gathering;
#[cfg(test)]
mod pauses;
mod reads;
mod restore;
mod snapshots;
#[cfg(test)]
mod tests;

pub(crate) use audits::Audits;
pub(crate) use chunks::ChunkServer;
pub(crate) use executor::Executor;
pub(crate) use gathering::Gatherer;
pub(crate) use restore::restore;
pub(crate) use snapshots::Archive;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::RunError;
use crate::error::panic_text;
use crate::inbound::{Event, Inbound};

/// Runs a thread's work to its end. A panic outside of the service's code is an error of this program, and it stops the
/// replica too: without the thread it would wait forever for what it gave it to do.
fn contained(name: &'static str, inbound: &Inbound, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        inbound.event(Event::Failed(RunError::Panicked(name)));
    }
}

/// Runs a piece of the service's code; a panic becomes the error that stops the replica.
fn service<T>(doing: impl FnOnce() -> String, call: impl FnOnce() -> T) -> Result<T, RunError> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|payload| RunError::Service { doing: doing(), why: panic_text(&*payload) })
}
