//! Whole replicas in one process: real sockets, real disks, real threads. What the protocol does under faults is the
//! simulator's to test; here it is whether the parts around it fit together.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene should panic")]

mod agreement;
mod client;
mod cluster;
mod control;
mod offences;
mod reads;
mod restart;
