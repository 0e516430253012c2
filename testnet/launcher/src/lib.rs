//! Local clusters as real processes, and faults to try on them.
//!
//! A [`Testnet`] is a cluster whose replicas are operating-system processes on this machine. It lives in a folder:
//! whoever knows the folder can find it again ([`Testnet::open`]), kill and restart its replicas, make them
//! misbehave, and ask where they stand and who was caught lying.
//!
//! - [`traffic`] drives a cluster with recorded load, and [`check`] judges what the clients saw; neither needs a
//!   testnet.
//! - [`job`] is what the binary does without a command: all of it together, with a verdict.
//! - [`replica_main`] is one replica's process. A program other than `pbft-testnet` that starts testnets can be their
//!   replicas' program too, see [`Program`].

pub mod attack;
pub mod check;
pub mod damage;
pub mod job;
pub mod manifest;
pub mod network;
pub mod process;
pub mod traffic;
pub mod units;

mod control;
mod create;
mod disturb;
mod error;
mod events;
mod evidence;
mod faults;
mod folder;
mod launch;
mod malice;
mod order;
mod outlet;
mod ports;
mod rehearsal;
mod replica;
mod state;
mod status;
mod testnet;
mod trial;

pub use create::SPARE_CLIENTS;
pub use error::TestnetError;
pub use events::Following;
pub use evidence::EvidenceReport;
pub use folder::Folder;
pub use launch::{Durability, Lifetime, Program};
pub use malice::Malice;
pub use order::{Faults, Followed};
pub use replica::{ReplicaArguments, replica_main};
pub use status::{ClusterStatus, Lag, ReplicaStatus, Roots};
pub use testnet::{Options, Testnet};
pub use trial::{Check, Progress, Verdict};
