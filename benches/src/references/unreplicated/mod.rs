//! The same service without replication, as far as a client can tell the difference: what agreement costs.
//!
//! One process, which clients reach over the same transport, with the same frames, sessions and signatures. It verifies
//! each submission once and executes it at once, in the order in which it comes. With durability `sync`, a group of
//! submissions is in a log and on disk before any of them is executed; the next group gathers meanwhile. The client
//! library believes what f+1 replicas say, so the process plays a cluster of four: its first two members answer, both
//! with what was executed once; the other two take connections and say nothing.

mod launch;
mod server;
mod sessions;

pub use launch::Unreplicated;
pub use server::{UnreplicatedArguments, unreplicated_main};
