//! From received frames to inputs that the protocol may act on: decoding and signatures, the costly part of receiving.
//!
//! Frames of one sender and lane form a *line*, which keeps its order: a NEW-VIEW reaches the protocol before the
//! proposals that follow it. Lines are served in turn by as many threads as there are processors. A replica's vote
//! line is worked on by one thread at a time, so a peer that floods with costly messages takes one of them at most;
//! its bulk line, where most signatures are, by all. Of clients' lines a thread takes many at once, since signatures
//! checked together cost less; each connection's order stays.
//!
//! What is bad costs its sender and nothing else: an offence for a replica, the connection for a client (R3).

mod check;
mod clients;
mod line;
mod peers;
mod pool;
mod submissions;

pub(crate) use check::Checker;
#[cfg(test)]
pub(crate) use check::tests::panicking_checks;
pub(crate) use clients::{Sessions, receive_clients};
pub(crate) use peers::{receive_bulk, receive_votes};
pub(crate) use pool::Pool;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::inbound::Room;

/// What frames of one origin may have waiting here, from the transport to the protocol. It counts KiB, and each frame
/// takes one at least.
struct Budget {
    kibibytes: u32,
    left: Arc<Semaphore>,
}

/// The least that a replica's budget has, in bytes: votes by the thousand.
const OF_REPLICA: usize = 32 << 20;

/// The least that a client's budget has, in bytes.
const OF_CLIENT: usize = 4 << 20;

impl Budget {
    /// A budget for frames up to `frame_bytes`, at most 64 MiB: it has room for two of the largest.
    fn new(least: usize, frame_bytes: usize) -> Self {
        let kibibytes = least.max(2 * frame_bytes) >> 10;
        let kibibytes = kibibytes.min(Semaphore::MAX_PERMITS);
        let kibibytes = u32::try_from(kibibytes).unwrap_or(u32::MAX);
        Self { kibibytes, left: Arc::new(Semaphore::new(kibibytes as usize)) }
    }

    /// How much a frame takes. A larger frame than the transport should let through takes all, so that it waits
    /// longer than others and not forever.
    fn room_for(&self, frame: &[u8]) -> u32 {
        u32::try_from(1 + (frame.len() >> 10)).unwrap_or(u32::MAX).min(self.kibibytes)
    }

    /// A place for `frame` if there is one now.
    fn try_room(&self, frame: &[u8]) -> Option<Room> {
        self.left.clone().try_acquire_many_owned(self.room_for(frame)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: usize = OF_REPLICA;

    #[test]
    fn the_largest_frame_fits_twice_and_a_larger_one_takes_all() {
        for frame_bytes in [1 << 20, 64 << 20] {
            let (budget, frame) = (Budget::new(LEAST, frame_bytes), vec![0; frame_bytes]);
            let _first = budget.try_room(&frame).expect("nothing else is there");
            assert!(frame_bytes < LEAST || budget.try_room(&vec![0; frame_bytes + 2048]).is_none());
        }
        let budget = Budget::new(LEAST, 1 << 20);
        let all = budget.try_room(&vec![0; 2 * LEAST]).expect("nothing else is there");
        assert!(budget.try_room(&[]).is_none());
        drop(all);
        assert!(budget.try_room(&[]).is_some());
    }
}
