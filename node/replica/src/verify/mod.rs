//! From received frames to inputs that the protocol may act on: decoding and signatures, the costly part of receiving.
//!
//! Frames of one sender and lane form a *line*, which keeps its order: a NEW-VIEW reaches the protocol before the
//! proposals that follow it. Lines are served in turn by as many threads as there are processors. A replica's vote
//! line is worked on by one thread at a time, so a peer that floods with costly messages takes one of them at most;
//! its bulk line, where most signatures are, by all.
//!
//! What is bad costs its sender and nothing else: an offence for a replica, the connection for a client (R3).

mod check;
mod clients;
mod line;
mod peers;
mod pool;

pub(crate) use check::Checker;
pub(crate) use clients::{Sessions, receive_clients};
pub(crate) use peers::{receive_bulk, receive_votes};
pub(crate) use pool::Pool;

use std::sync::Arc;

use tokio::sync::Semaphore;

/// The part of a budget that a frame takes: budgets count KiB, and each frame at least one.
fn room_for(frame: &bytes::Bytes) -> u32 {
    // A frame's length fits four bytes.
    1 + (frame.len() >> 10) as u32
}

/// A budget of so many bytes.
fn budget(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((bytes >> 10).min(Semaphore::MAX_PERMITS)))
}
