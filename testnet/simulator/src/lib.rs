//! Whole clusters of the real protocol core on virtual time: one thread, everything drawn from one seed, so that a
//! run can be repeated exactly.
//!
//! A [`Cluster`] runs [`pbft_protocol::Replica`]s with real signatures, the real key-value store, disks that lose
//! what was not synced, a network that loses, repeats and reorders, and clients. A checker that knows nothing of the
//! replicas' decisions watches every execution.

mod archive;
mod checker;
mod client;
mod clock;
mod cluster;
mod disk;
mod instance;
mod network;
mod reads;
mod settings;
mod transcript;

pub use checker::Violation;
pub use clock::WallClock;
pub use cluster::{Cluster, PowerCut};
pub use network::Faults;
pub use settings::Settings;
