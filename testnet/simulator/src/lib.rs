//! Whole clusters of the real protocol core on virtual time: one thread, everything drawn from one seed, so that a
//! run can be repeated exactly.
//!
//! A [`Cluster`] runs [`pbft_protocol::Replica`]s with the real codec and the real verification of everything that is
//! signed (with a cheap kind of key unless [`Settings::signatures`] asks for real ones), the real key-value store, and
//! the client library's core. The environment is a model, and each of its faults a method: a network that loses,
//! repeats, replays, delays and parts ([`Faults`], [`Cluster::cut`], [`Cluster::clog`], [`Wire`]), disks that lose what
//! was not synced, tear, rot, fail and go back in time ([`Cluster::damage_disk`] and its neighbours), clocks that are
//! wrong ([`WallClock`], [`Cluster::set_drift`]), processors that starve ([`Cluster::starve`]), replicas and clients
//! that lie ([`Cluster::corrupt`], [`Cluster::attack`], [`Settings::twins`]).
//!
//! Checkers that share nothing with the replicas' decisions watch every step; what they find is a [`Violation`] of an
//! [`Invariant`].

mod agenda;
mod alarm;
mod archive;
pub mod byzzfuzz;
mod certificates;
mod checker;
mod client;
mod clock;
mod cluster;
mod disk;
mod heard;
mod instance;
mod keys;
mod left;
mod letter;
mod limits;
mod model;
mod network;
mod panics;
pub mod parallel;
mod phase;
mod question;
pub mod scenario;
mod settings;
mod transcript;
pub mod twins;
mod violation;
mod votes;
mod wire;
mod witness;
mod workload;

pub use clock::WallClock;
pub use cluster::{Cluster, PowerCut};
pub use instance::InstanceId;
pub use keys::Signatures;
pub use network::Faults;
pub use settings::Settings;
pub use violation::{Invariant, Violation};
pub use wire::{Fate, Wire};
pub use witness::Contradictions;
pub use workload::Workload;
