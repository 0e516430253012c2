//! Judging what clients saw, without trusting any of the system's code.
//!
//! Clients record what they asked and what they were told ([`Recorded`]). The checks know the key-value store only
//! by a plain model of their own ([`Model`]), and the order only by what replies carry: the sequence of the batch
//! and the store's revision.
//!
//! - [`linearizable`]: replays the order that the replies claim, compares every reply with the model's, and checks
//!   that the order agrees with real time (I4).
//! - [`lost_writes`]: looks for acknowledged writes that the final state does not show (I5).
//! - [`exactly_once`]: compares counters and revisions with the acknowledged increments and writes (I3).

mod exactly_once;
mod history;
mod lost;
mod model;
mod order;
mod replay;
#[cfg(test)]
mod search;
#[cfg(test)]
mod testing;

pub use exactly_once::exactly_once;
pub use history::{Done, FinalState, Outcome, Recorded};
pub use lost::{LostWrites, lost_writes};
pub use model::{Entry, Model, Observation, Operation};
pub use replay::{Linearized, linearizable};

/// Something that must not be. The text names the operations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);
