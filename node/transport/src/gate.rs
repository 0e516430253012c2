//! How many handshakes may be under way on a socket (fault 57).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quinn::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Admits connection attempts. An attempt costs the attacker one datagram and the replica two signatures, so beyond
/// some number under way an address must prove that it receives what is sent to it (a QUIC retry, which keeps no
/// state here), and beyond the limit attempts are refused.
pub(crate) struct Gate {
    under_way: Arc<Semaphore>,
    limit: usize,
    unproven: usize,
    refused: AtomicU64,
}

impl Gate {
    /// A gate for `limit` handshakes at a time, of which `unproven` without proof of address.
    pub(crate) fn new(limit: usize, unproven: usize) -> Self {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        Self { under_way: Arc::new(Semaphore::new(limit)), limit, unproven, refused: AtomicU64::new(0) }
    }

    /// Takes an attempt, or answers it and gives nothing. The permit is held until the handshake is over.
    pub(crate) fn admit(&self, incoming: Incoming) -> Option<(Incoming, OwnedSemaphorePermit)> {
        let Ok(permit) = self.under_way.clone().try_acquire_owned() else {
            self.refuse(incoming);
            return None;
        };
        let under_way = self.limit - self.under_way.available_permits();
        if under_way > self.unproven && !incoming.remote_address_validated() && incoming.may_retry() {
            // The attempt comes back with the proof, as a new one. It may retry, so this cannot fail.
            let _ = incoming.retry();
            return None;
        }
        Some((incoming, permit))
    }

    /// Refuses an attempt.
    pub(crate) fn refuse(&self, incoming: Incoming) {
        self.count_refused();
        incoming.refuse();
    }

    /// Counts a handshake that failed by the other side's fault.
    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The attempts that were refused or failed so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
