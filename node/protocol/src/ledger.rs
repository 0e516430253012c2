//! The replica's own part of the replicated state: the client table, which makes execution exactly-once (N1), and
//! the last agreed time (N6). It belongs to every checkpoint, before the service's chunks.
//!
//! Bounds (R1), for each client: `sessions` sessions, `session_window` replies a session, and `reply_bytes` of results
//! in all. Where results take more, the oldest are dropped, in an order that the table alone decides; a request whose
//! result was dropped is still known to be executed.

mod chunks;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use pbft_crypto::{Digest, mutant};
use pbft_messages::{
    ClientId, Outcome, Parameters, Refusal, RequestId, RequestNumber, Sequence, SessionId, Timestamp,
};

use chunks::ClientChunks;
pub use chunks::ledger_chunks;

/// The client table and the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    last_time: Timestamp,
    clients: BTreeMap<ClientId, Client>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Client {
    /// The highest session that the client ever opened.
    highest: SessionId,
    sessions: BTreeMap<SessionId, Session>,
    /// How many bytes its stored results have.
    result_bytes: usize,
    chunks: ClientChunks,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    /// Where the session was opened.
    opened: Sequence,
    /// Where it last executed something: the least recent session is evicted first.
    last_executed: Sequence,
    /// The lowest number not executed yet.
    next: RequestNumber,
    /// The replies to the last W numbers executed.
    replies: BTreeMap<RequestNumber, StoredReply>,
}

/// The kept answer to an executed request. It names no view and no replica, so it is equal everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredReply {
    digest: Digest,
    sequence: Sequence,
    result: StoredResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum StoredResult {
    /// The batch is being executed; never so in a checkpoint.
    Pending,
    Kept(Bytes),
    /// The client's results took more room than it has.
    Dropped,
}

/// How an ordered request is judged when its batch is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// New: execute it, then hand its result to [`Ledger::complete`].
    Execute,
    /// Answer so, and execute nothing.
    Answer(Sequence, Outcome),
    /// The same request stands earlier in this batch; it is answered once.
    Repeated,
}

impl Ledger {
    /// The time for the service: never before what was proposed, and always after the last (N6).
    pub(crate) fn agree_time(&mut self, proposed: Timestamp) -> Timestamp {
        let least = Timestamp(self.last_time.0.saturating_add(1));
        self.last_time = if mutant!("time-as-proposed") { proposed } else { proposed.max(least) };
        self.last_time
    }

    /// The last agreed time.
    pub(crate) fn last_time(&self) -> Timestamp {
        self.last_time
    }

    /// The number of sessions of the client that has most, and of replies of the session that has most.
    pub(crate) fn fullest(&self) -> (usize, usize) {
        let sessions = self.clients.values().map(|client| client.sessions.len()).max();
        let all = self.clients.values().flat_map(|client| client.sessions.values());
        (sessions.unwrap_or(0), all.map(|session| session.replies.len()).max().unwrap_or(0))
    }

    /// Judges a request of the batch at `sequence`, in order. Depends on the ledger alone, so that every correct
    /// replica judges alike.
    pub(crate) fn judge(
        &mut self,
        id: RequestId,
        digest: Digest,
        sequence: Sequence,
        limits: &Parameters,
    ) -> Judgement {
        if id.number == RequestNumber(0) {
            return self.open(id.client, id.session, sequence, limits);
        }
        let refuse = |refusal| Judgement::Answer(sequence, Outcome::Refused(refusal));
        let Some(session) = self.session_mut(id) else { return refuse(Refusal::SessionExpired) };
        if let Some(stored) = session.replies.get(&id.number) {
            return match &stored.result {
                _ if mutant!("executed-twice") => Judgement::Execute,
                _ if stored.digest != digest => refuse(Refusal::DifferentRequest),
                StoredResult::Kept(result) => {
                    Judgement::Answer(stored.sequence, Outcome::Executed(result.clone()))
                }
                StoredResult::Dropped => refuse(Refusal::ResultDropped),
                StoredResult::Pending => Judgement::Repeated,
            };
        }
        if id.number < session.next && !mutant!("old-number-executed") {
            return refuse(Refusal::TooOld);
        }
        if id.number.0 - session.next.0 >= limits.session_window && !mutant!("huge-number-executed") {
            return refuse(Refusal::BeyondWindow);
        }
        let reply = StoredReply { digest, sequence, result: StoredResult::Pending };
        let freed = session.begin(id.number, reply, limits.session_window);
        if let Some(client) = self.clients.get_mut(&id.client) {
            client.result_bytes -= freed;
        }
        Judgement::Execute
    }

    fn open(
        &mut self,
        client: ClientId,
        id: SessionId,
        sequence: Sequence,
        limits: &Parameters,
    ) -> Judgement {
        let session = Session {
            opened: sequence,
            last_executed: sequence,
            next: RequestNumber(1),
            replies: BTreeMap::new(),
        };
        let opened = match self.clients.entry(client) {
            Entry::Vacant(entry) => {
                entry.insert(Client::new(id)).sessions.insert(id, session);
                Some(sequence)
            }
            Entry::Occupied(mut entry) => entry.get_mut().open(id, session, limits.sessions),
        };
        match opened {
            Some(opened) => Judgement::Answer(opened, Outcome::Opened),
            None => Judgement::Answer(sequence, Outcome::Refused(Refusal::SessionExpired)),
        }
    }

    /// Stores the result of a request that was judged [`Judgement::Execute`].
    pub(crate) fn complete(&mut self, id: RequestId, result: Bytes, limits: &Parameters) {
        let Some(client) = self.clients.get_mut(&id.client) else { return };
        // A session of 64 requests in one batch with many openings may be evicted before its results come; the
        // reply still goes out, and is not kept.
        let session = client.sessions.get_mut(&id.session);
        if let Some(reply) = session.and_then(|session| session.replies.get_mut(&id.number)) {
            client.result_bytes += result.len();
            reply.result = StoredResult::Kept(result);
            client.chunks.forget();
            client.drop_results(limits.reply_bytes);
        }
    }

    /// The kept answer to exactly this request, if it was executed, with its digest: a repeated request need not be
    /// ordered again.
    pub(crate) fn answer(&self, id: RequestId, operation: &[u8]) -> Option<(Digest, Sequence, Outcome)> {
        let session = self.clients.get(&id.client)?.sessions.get(&id.session)?;
        if id.number == RequestNumber(0) {
            return Some((id.digest(operation), session.opened, Outcome::Opened));
        }
        let reply = session.replies.get(&id.number)?;
        match &reply.result {
            // Most requests are new, so nothing is hashed before this.
            StoredResult::Kept(result) if reply.digest == id.digest(operation) => {
                Some((reply.digest, reply.sequence, Outcome::Executed(result.clone())))
            }
            StoredResult::Kept(_) | StoredResult::Pending | StoredResult::Dropped => None,
        }
    }

    fn session_mut(&mut self, id: RequestId) -> Option<&mut Session> {
        let client = self.clients.get_mut(&id.client)?;
        client.chunks.forget();
        client.sessions.get_mut(&id.session)
    }
}

impl Client {
    fn new(highest: SessionId) -> Self {
        Self { highest, sessions: BTreeMap::new(), result_bytes: 0, chunks: ClientChunks::default() }
    }

    /// Where the session was opened, now or before; `None` if it may not be.
    fn open(&mut self, id: SessionId, session: Session, limit: usize) -> Option<Sequence> {
        if let Some(existing) = self.sessions.get(&id) {
            return Some(existing.opened);
        }
        if id <= self.highest {
            return None;
        }
        if self.sessions.len() >= limit {
            let least_recent = self.sessions.iter().min_by_key(|(id, session)| (session.last_executed, **id));
            if let Some(evicted) = least_recent.map(|(id, _)| *id).and_then(|id| self.sessions.remove(&id)) {
                self.result_bytes -= evicted.replies.values().map(StoredReply::size).sum::<usize>();
            }
        }
        let opened = session.opened;
        self.chunks.forget();
        self.highest = id;
        self.sessions.insert(id, session);
        Some(opened)
    }

    /// Drops the oldest results if there are more bytes of them than `limit`, until there are half as many: so the
    /// search for them is seldom made.
    fn drop_results(&mut self, limit: usize) {
        if self.result_bytes <= limit {
            return;
        }
        let sessions = self.sessions.iter_mut();
        let replies = sessions.flat_map(|(id, session)| {
            session.replies.iter_mut().map(move |(number, reply)| ((reply.sequence, *id, *number), reply))
        });
        let mut replies: Vec<_> = replies.filter(|(_, reply)| reply.size() > 0).collect();
        replies.sort_unstable_by_key(|(age, _)| *age);
        for (_, reply) in replies {
            if self.result_bytes <= limit / 2 {
                return;
            }
            self.result_bytes -= reply.size();
            reply.result = StoredResult::Dropped;
        }
    }
}

impl StoredReply {
    /// The bytes of the stored result.
    fn size(&self) -> usize {
        match &self.result {
            StoredResult::Kept(result) => result.len(),
            StoredResult::Pending | StoredResult::Dropped => 0,
        }
    }
}

impl Session {
    /// Notes that a new request is being executed, and forgets replies that have left the window; gives the bytes of
    /// their results.
    fn begin(&mut self, number: RequestNumber, reply: StoredReply, window: u64) -> usize {
        self.last_executed = reply.sequence;
        self.replies.insert(number, reply);
        while self.replies.contains_key(&self.next) {
            self.next = RequestNumber(self.next.0.saturating_add(1));
        }
        let highest = self.replies.keys().next_back().map_or(0, |number| number.0);
        // Numbers run less than W ahead of `next`, so what is dropped here is below `next`.
        let lowest = RequestNumber((highest + 1).saturating_sub(window));
        let mut freed = 0;
        while let Some(first) = self.replies.first_entry().filter(|first| *first.key() < lowest) {
            freed += first.remove().size();
        }
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ClientId = ClientId([1; 32]);

    fn limits() -> Parameters {
        Parameters { sessions: 2, session_window: 64, ..Parameters::default() }
    }

    fn id(session: u64, number: u64) -> RequestId {
        RequestId { client: CLIENT, session: SessionId(session), number: RequestNumber(number) }
    }

    /// Judges and, if new, executes.
    fn run(ledger: &mut Ledger, id: RequestId, operation: &[u8], sequence: u64) -> Judgement {
        let judgement = ledger.judge(id, id.digest(operation), Sequence(sequence), &limits());
        if judgement == Judgement::Execute {
            ledger.complete(id, Bytes::copy_from_slice(operation), &limits());
        }
        judgement
    }

    fn executed(sequence: u64, result: &'static [u8]) -> Judgement {
        Judgement::Answer(Sequence(sequence), Outcome::Executed(Bytes::from_static(result)))
    }

    fn refused(sequence: u64, refusal: Refusal) -> Judgement {
        Judgement::Answer(Sequence(sequence), Outcome::Refused(refusal))
    }

    fn opened(sequence: u64) -> Judgement {
        Judgement::Answer(Sequence(sequence), Outcome::Opened)
    }

    /// Fault 29: the same request again, from wherever, is answered and not executed.
    #[test]
    fn fault_29_a_request_is_executed_once() {
        let mut ledger = Ledger::default();
        assert_eq!(run(&mut ledger, id(1, 0), b"", 1), opened(1));
        assert_eq!(run(&mut ledger, id(1, 1), b"a", 2), Judgement::Execute);
        assert_eq!(run(&mut ledger, id(1, 1), b"a", 3), executed(2, b"a"));
        assert_eq!(run(&mut ledger, id(1, 1), b"b", 4), refused(4, Refusal::DifferentRequest));
        assert_eq!(ledger.answer(id(1, 1), b"a").unwrap().1, Sequence(2));
        assert_eq!(ledger.answer(id(1, 1), b"b"), None);
    }

    /// Fault 30: a huge number executes nothing and blocks nothing.
    #[test]
    fn fault_30_numbers_beyond_the_window_are_refused_and_block_nothing() {
        let mut ledger = Ledger::default();
        run(&mut ledger, id(1, 0), b"", 1);
        assert_eq!(run(&mut ledger, id(1, u64::MAX), b"a", 2), refused(2, Refusal::BeyondWindow));
        assert_eq!(run(&mut ledger, id(1, 65), b"a", 2), refused(2, Refusal::BeyondWindow));
        assert_eq!(run(&mut ledger, id(1, 64), b"a", 2), Judgement::Execute);
        assert_eq!(run(&mut ledger, id(1, 1), b"a", 3), Judgement::Execute);
        assert_eq!(run(&mut ledger, id(1, 65), b"a", 4), Judgement::Execute);
    }

    /// Fault 31: whatever order requests come in, a reply is kept as long as its client may ask for it, and a
    /// request whose reply is gone is refused rather than executed again.
    #[test]
    fn fault_31_evicted_replies_are_never_executed_again() {
        let mut ledger = Ledger::default();
        run(&mut ledger, id(1, 0), b"", 1);
        for number in 1..=100 {
            assert_eq!(run(&mut ledger, id(1, number), b"a", number + 1), Judgement::Execute);
        }
        for number in 1..=36 {
            assert_eq!(run(&mut ledger, id(1, number), b"a", 200), refused(200, Refusal::TooOld));
        }
        for number in 37..=100 {
            assert_eq!(run(&mut ledger, id(1, number), b"a", 200), executed(number + 1, b"a"));
        }
    }

    #[test]
    fn sessions_open_upwards_and_evict_the_least_recently_executed() {
        let mut ledger = Ledger::default();
        assert_eq!(run(&mut ledger, id(5, 0), b"", 1), opened(1));
        assert_eq!(run(&mut ledger, id(5, 0), b"", 2), opened(1));
        assert_eq!(run(&mut ledger, id(4, 0), b"", 3), refused(3, Refusal::SessionExpired));
        assert_eq!(run(&mut ledger, id(6, 0), b"", 4), opened(4));
        assert_eq!(run(&mut ledger, id(5, 1), b"a", 5), Judgement::Execute);
        assert_eq!(run(&mut ledger, id(7, 0), b"", 6), opened(6), "evicts session 6");
        assert_eq!(run(&mut ledger, id(6, 1), b"a", 7), refused(7, Refusal::SessionExpired));
        assert_eq!(run(&mut ledger, id(6, 0), b"", 8), refused(8, Refusal::SessionExpired));
        assert_eq!(run(&mut ledger, id(5, 1), b"a", 9), executed(5, b"a"));
    }

    #[test]
    fn another_clients_sessions_are_its_own() {
        let mut ledger = Ledger::default();
        run(&mut ledger, id(5, 0), b"", 1);
        let other = RequestId { client: ClientId([2; 32]), ..id(1, 0) };
        assert_eq!(run(&mut ledger, other, b"", 2), opened(2));
    }

    #[test]
    fn time_always_moves_on() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.agree_time(Timestamp(10)), Timestamp(10));
        assert_eq!(ledger.agree_time(Timestamp(5)), Timestamp(11));
        assert_eq!(ledger.agree_time(Timestamp(11)), Timestamp(12));
    }

    /// R1: results are bounded in bytes, and a dropped one is still an executed one.
    #[test]
    fn the_oldest_results_are_dropped_where_they_take_too_much() {
        let mut ledger = Ledger::default();
        let large = vec![7; limits().reply_bytes / 8];
        run(&mut ledger, id(1, 0), b"", 1);
        run(&mut ledger, id(2, 0), b"", 1);
        for number in 1..=4 {
            assert_eq!(run(&mut ledger, id(1, number), &large, 2 * number), Judgement::Execute);
            assert_eq!(run(&mut ledger, id(2, number), &large, 2 * number + 1), Judgement::Execute);
        }
        assert!(matches!(run(&mut ledger, id(1, 1), &large, 20), Judgement::Answer(Sequence(2), _)));
        assert_eq!(run(&mut ledger, id(1, 5), b"one more", 21), Judgement::Execute);
        let dropped = |session, number| run(&mut ledger.clone(), id(session, number), &large, 30);
        assert_eq!(dropped(1, 1), refused(30, Refusal::ResultDropped));
        assert_eq!(dropped(2, 2), refused(30, Refusal::ResultDropped));
        assert!(matches!(dropped(2, 4), Judgement::Answer(Sequence(9), Outcome::Executed(_))));
        assert_eq!(ledger.clients[&CLIENT].result_bytes, 3 * large.len() + 8);
    }

    /// The count of bytes follows replies that leave the window, and sessions that are evicted.
    #[test]
    fn the_bytes_of_results_are_counted_right() {
        let mut ledger = Ledger::default();
        for session in 1..=5 {
            run(&mut ledger, id(session, 0), b"", session);
            for number in 1..=100 {
                run(&mut ledger, id(session, number), b"0123456789", 10 + session);
            }
        }
        let client = &ledger.clients[&CLIENT];
        let replies = client.sessions.values().flat_map(|session| session.replies.values());
        assert_eq!(client.result_bytes, replies.map(StoredReply::size).sum::<usize>());
        assert_eq!(client.result_bytes, 2 * 64 * 10);
    }
}
