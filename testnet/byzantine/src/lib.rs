//! Malicious strategies: lies told by a replica that otherwise runs the honest protocol.
//!
//! A [`Strategy`] stands between an honest core's effects and the network, holding the replica's real signer, so
//! what it says is signed as the replica's own word. It is as pure as the core: the same strategy runs in the
//! simulator and in a live process. The production node does not link this crate and cannot misbehave.
//!
//! Strategies are known by name, see [`STRATEGIES`], and [`strategy`] makes them, several at once too; a [`Switch`]
//! changes them while a replica runs.

mod accuse;
mod bad_leader;
mod bad_signatures;
mod batch;
mod chain;
mod client;
mod contradict;
mod corrupt_chunks;
mod deeds;
mod description;
mod drip;
mod equivocate;
mod false_target;
mod forge_proofs;
mod group;
mod holding;
mod invent;
mod kinds;
mod lie;
mod misdate;
#[cfg(test)]
mod miser;
mod misplace;
mod nearest;
mod omit_proofs;
mod oversize;
mod own_view_change;
mod parameters;
mod partial;
mod registry;
mod reproposal;
mod rewrite;
mod silent;
mod skip;
mod slow;
mod stale_reads;
mod stampede;
mod starve;
mod strategy;
mod switch;
#[cfg(test)]
mod testing;
mod ticker;
mod two_new_views;
mod usurp;
mod wrong_new_view;
mod wrong_root;

pub use client::{
    CLIENT_STRATEGIES, ClientIdentity, ClientShot, ClientStrategy, client_described, client_strategy,
};
pub use description::{Description, Harm, Parameter, Pause, Proof, Sample, Stage};
pub use parameters::UnknownStrategy;
pub use registry::{STRATEGIES, described, strategy};
pub use strategy::{Identity, Strategy};
pub use switch::Switch;
