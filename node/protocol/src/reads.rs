//! Unordered reads (N5): answered from executed state, by each replica for itself, and believed when a quorum says
//! the same. They are never stale (fault 36), because each waits for a *point* noted when it arrives: everything up to
//! h, and every sequence for which this replica ever issued the write of a COMMIT's certificate.
//!
//! Why that is linearizable, with f liars and whatever restarts. Let a replica that is correct have executed sequence
//! s, so that a client knows of it: by the reply to a write, or by an earlier read that showed it. A quorum had sent
//! COMMIT for s before; the first correct replica to execute s had its COMMITs in hand, and state transfer proves that
//! there was one. The quorum that answers a read which begins after that shares a correct replica with it. There the
//! point is at least s: the certificate behind its COMMIT was durable before the COMMIT left (D1), is restored at a
//! restart, and is forgotten at or below h only (D5). So that replica answers from a state that holds s, and as all Q
//! results are equal, the client gets the result of that state: a prefix of the one order, no older than anything known
//! before the read began. In this, a read that follows another one is like a read that follows a write: what the first
//! showed was executed at a correct replica, so committed, never tentative. And no read shows what a later write did.
//!
//! A read waits for the point of its arrival, never for a later one, so it is not starved by writes; and nothing else
//! waits for a read. It may still wait in vain: what was prepared here in an old view need not come back in a new one
//! before somebody orders something. Then it is refused, and the client's ordered read is that something.

use std::collections::{BTreeMap, VecDeque};

use pbft_crypto::mutant;
use pbft_messages::{ClientId, Read, Sequence, SessionId};

use crate::replica::Replica;
use crate::{Effect, Effects, Instant, Now, Query, Report};

/// Reads that wait here at a time. Of them, and of their bytes, one client may hold a quarter (R1, R2).
const WAITING: usize = 1024;

/// The largest operation that is read unordered, in bytes. Reads are also bounded in number only where they wait for
/// the service; a larger one is ordered.
const OPERATION_BYTES: usize = 64 << 10;

/// Reads that wait for their point.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// In the order of arrival, which is that of their points too: a point never falls.
    waiting: VecDeque<Waiting>,
    bytes: usize,
    by_client: BTreeMap<ClientId, Held>,
}

#[derive(Debug)]
struct Waiting {
    query: Query,
    until: Instant,
}

/// What one client's waiting reads take.
#[derive(Debug, Default)]
struct Held {
    reads: usize,
    bytes: usize,
}

impl Reads {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Lets a read wait; gives it back if there is no room.
    fn insert(&mut self, query: Query, until: Instant, bytes_limit: usize) -> Result<(), Query> {
        let bytes = query.read.operation.len();
        let held = self.by_client.get(&query.client);
        let (of_client, bytes_of_client) = held.map_or((0, 0), |held| (held.reads, held.bytes));
        if self.waiting.len() >= WAITING
            || of_client >= WAITING / 4
            || self.bytes + bytes > bytes_limit
            || bytes_of_client + bytes > bytes_limit / 4
        {
            return Err(query);
        }
        self.bytes += bytes;
        let held = self.by_client.entry(query.client).or_default();
        (held.reads, held.bytes) = (of_client + 1, bytes_of_client + bytes);
        self.waiting.push_back(Waiting { query, until });
        Ok(())
    }

    /// Takes the oldest read, if `is_due` says so of its point and of the time until which it may wait.
    fn take(&mut self, is_due: impl FnOnce(Sequence, Instant) -> bool) -> Option<Query> {
        let Waiting { query, .. } =
            self.waiting.pop_front_if(|waiting| is_due(waiting.query.sequence, waiting.until))?;
        let bytes = query.read.operation.len();
        self.bytes -= bytes;
        if let Some(held) = self.by_client.get_mut(&query.client) {
            (held.reads, held.bytes) = (held.reads - 1, held.bytes - bytes);
            if held.reads == 0 {
                self.by_client.remove(&query.client);
            }
        }
        Some(query)
    }
}

impl Replica {
    /// An unordered read from its client. It waits for what this replica may have helped to commit (N5).
    pub(crate) fn on_read(
        &mut self,
        client: ClientId,
        session: SessionId,
        read: Read,
        now: Now,
        effects: &mut Effects,
    ) {
        let query = Query { client, session, sequence: self.read_point(), read };
        // Whoever fetches the state is far behind, and cannot say for how long; and one that has lost its votes does not
        // know what it sent COMMIT for (D8).
        let too_large = query.read.operation.len() > OPERATION_BYTES;
        if too_large || self.transfer.is_some() || self.recovery.is_some() {
            return refuse(query, effects);
        }
        // Its client asks in order by then.
        let until = now.instant.plus(self.parameters().view_timeout / 2);
        if let Err(query) = self.reads.insert(query, until, self.parameters().frame_bytes) {
            refuse(query, effects);
        }
    }

    /// What must be executed before a read that comes now is answered: h, and all that this replica may have sent
    /// COMMIT for. A slot keeps a prepared certificate in whatever view, until it is at or below h.
    fn read_point(&self) -> Sequence {
        if mutant!("read-forgets-commits") {
            return self.stable_sequence();
        }
        self.log.highest_prepared().max(self.stable_sequence())
    }

    /// Hands the service the reads whose point is executed, and refuses those that waited too long.
    pub(crate) fn try_read(&mut self, now: Now, effects: &mut Effects) {
        let executed = self.last_executed;
        while let Some(query) = self.reads.take(|point, _| point <= executed) {
            effects.push(Effect::Query(Query { sequence: executed, ..query }));
        }
        while let Some(query) = self.reads.take(|_, until| until <= now.instant) {
            refuse(query, effects);
        }
    }
}

fn refuse(query: Query, effects: &mut Effects) {
    effects.report(Report::ReadRefused);
    effects.push(query.refused());
}
