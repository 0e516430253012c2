//! Whole replicas in one process: real sockets, real disks, real threads. What the protocol does under faults is the
//! simulator's to test; here it is whether the parts around it fit together.

mod agreement;
mod client;
mod cluster;
mod control;
mod restart;
