//! A PBFT replica as a process: everything around the pure protocol of `pbft-protocol`.
//!
//! [`run()`] takes a replica from its data folder to its end. Around one thread that owns the protocol's state stand
//! those that verify what arrives, write what must not be forgotten, and run the service; they reach it through one
//! queue in which consensus goes first. [`Outlet`] is the one place where a testnet may let a replica misbehave; this
//! package's own binary knows only [`Honest`].
//!
//! The steps before a run are in [`Identity::load`], and [`init`] or [`recover`]; a running replica is asked through a
//! [`ControlClient`], and what it reported can be read in its data folder.

mod boot;
mod control;
mod driver;
mod error;
mod events;
mod execution;
mod folder;
#[cfg(test)]
mod generated;
mod inbound;
mod options;
mod outlet;
mod run;
mod setup;
mod snapshot;
mod sockets;
mod store;
#[cfg(test)]
mod testing;
mod verify;

pub use control::{ControlClient, ControlError, EvidenceEntry, PeerStatus, Ready, Status};
pub use error::RunError;
pub use events::EventLine;
pub use folder::DataFolder;
pub use options::{Durability, NoDurability, Options};
pub use outlet::{Honest, Outlet};
pub use run::run;
pub use setup::{Identity, SetupError, init, read_cluster, recover};
pub use snapshot::{SnapshotError, SnapshotSummary, summarize_snapshots};
pub use store::{Inspection, StoreError, StoreMeter, inspect, read_evidence, silence_store_panics};
