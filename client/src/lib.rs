//! Talks to a PBFT cluster: believes what f+1 replicas say alike, and nothing less.

pub mod core;
