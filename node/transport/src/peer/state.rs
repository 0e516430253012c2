//! What is known of one peer, whether or not it is connected.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use quinn::Connection;

use pbft_messages::ReplicaId;

use super::{Lane, LaneStatistics, PeerStatistics};
use crate::budget::{OffenceBudget, Verdict};
use crate::close::Close;
use crate::dial::DialError;
use crate::limits::PeerLimits;
use crate::outbox::Outbox;

/// One peer: its queues, its counters, and its connection while there is one.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: ReplicaId,
    pub(super) limits: PeerLimits,
    pub(super) budget: OffenceBudget,
    outboxes: [Outbox; 2],
    received_frames: [AtomicU64; 2],
    received_bytes: [AtomicU64; 2],
    offences: AtomicU64,
    connections: AtomicU64,
    connection: Mutex<Option<Connection>>,
    last_failure: Mutex<Option<DialError>>,
}

impl Peer {
    /// A peer that is not connected, so its queues let nothing in.
    pub(super) fn new(id: ReplicaId, limits: PeerLimits) -> Self {
        let outboxes = Lane::ALL.map(|lane| {
            let limits = limits.of(lane);
            Outbox::new(limits.frame_bytes, limits.outgoing, false)
        });
        Self {
            id,
            limits,
            budget: OffenceBudget::new(limits.offences),
            outboxes,
            received_frames: Default::default(),
            received_bytes: Default::default(),
            offences: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            connection: Mutex::new(None),
            last_failure: Mutex::new(None),
        }
    }

    /// The frames that wait to be sent on `lane`.
    pub(super) fn outbox(&self, lane: Lane) -> &Outbox {
        &self.outboxes[lane.index()]
    }

    /// Notes that `connection` is the link now.
    pub(super) fn connected(&self, connection: Connection) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        *self.connection() = Some(connection);
        self.outboxes.iter().for_each(Outbox::open);
    }

    /// Notes that the link is down, and drops what waits.
    pub(super) fn disconnected(&self) {
        *self.connection() = None;
        self.outboxes.iter().for_each(Outbox::close);
    }

    /// Counts a frame that came in.
    pub(super) fn count_received(&self, lane: Lane, bytes: usize) {
        self.received_frames[lane.index()].fetch_add(1, Ordering::Relaxed);
        self.received_bytes[lane.index()].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts an offence, and cuts the peer off if it was one too many.
    pub(super) fn offence(&self) {
        self.offences.fetch_add(1, Ordering::Relaxed);
        if self.budget.charge(Instant::now()) == Verdict::Cut {
            tracing::warn!(peer = %self.id, "cut off for its offences");
            if let Some(connection) = &*self.connection() {
                Close::Offence.apply(connection);
            }
        }
    }

    /// Remembers the outcome of an attempt to dial. Tells whether it is news.
    pub(super) fn dialed(&self, failure: Option<DialError>) -> bool {
        let mut last = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *last != failure;
        *last = failure;
        news
    }

    pub(super) fn statistics(&self) -> PeerStatistics {
        let connection = self.connection().clone();
        let last_failure = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        PeerStatistics {
            peer: self.id,
            connected: connection.is_some(),
            round_trip: connection.map(|connection| connection.rtt()),
            connections: self.connections.load(Ordering::Relaxed),
            offences: self.offences.load(Ordering::Relaxed),
            cooling_off: self.budget.cooling(Instant::now()).is_some(),
            last_failure,
            votes: self.lane_statistics(Lane::Votes),
            bulk: self.lane_statistics(Lane::Bulk),
        }
    }

    fn lane_statistics(&self, lane: Lane) -> LaneStatistics {
        let outbox = self.outbox(lane);
        let (frames_sent, bytes_sent) = outbox.sent();
        LaneStatistics {
            frames_sent,
            bytes_sent,
            frames_received: self.received_frames[lane.index()].load(Ordering::Relaxed),
            bytes_received: self.received_bytes[lane.index()].load(Ordering::Relaxed),
            dropped: outbox.dropped(),
            waiting: outbox.waiting(),
        }
    }

    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
