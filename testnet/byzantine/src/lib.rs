//! Malicious strategies: lies told by a replica that otherwise runs the honest protocol.
//!
//! A [`Strategy`] stands between an honest core's effects and the network, holding the replica's real signer, so
//! what it says is signed as the replica's own word. It is as pure as the core: the same strategy runs in the
//! simulator and in a live process. The production node does not link this crate and cannot misbehave.
//!
//! Strategies are known by name, see [`STRATEGIES`]; a [`Switch`] changes them while a replica runs.

mod equivocate;
mod holding;
mod registry;
mod rewrite;
mod silent;
mod slow;
mod stale_reads;
mod starve;
mod strategy;
mod switch;
#[cfg(test)]
mod testing;

pub use equivocate::Equivocate;
pub use registry::{Description, STRATEGIES, UnknownStrategy, strategy};
pub use silent::Silent;
pub use slow::Slow;
pub use stale_reads::StaleReads;
pub use starve::Starve;
pub use strategy::{Identity, Strategy};
pub use switch::Switch;
