//! What the fuzzers run: one function of bytes for each target, and with each a statement that holds whatever the bytes
//! are. None may panic, and what is accepted must be right by a second judgement that shares nothing with the first.
//!
//! `testnet/fuzz` drives these functions with libFuzzer; this package's own tests run them on the seeds and on what was
//! found, with nothing but stable Rust.

mod cluster;
mod draw;
mod harness;
mod law;
mod make;
mod random;
mod seeds;
mod targets;

pub use random::random_input;
pub use seeds::{Seed, seeds};
pub use targets::{TARGETS, Target, run};
