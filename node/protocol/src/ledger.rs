//! The replica's own part of the replicated state: the client table, which makes execution exactly-once (N1), and
//! the last agreed time (N6). It belongs to every checkpoint, before the service's chunks.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use pbft_crypto::{Digest, Malformed};
use pbft_messages::{
    ClientId, Outcome, Parameters, Refusal, RequestId, RequestNumber, Sequence, SessionId, Timestamp, codec,
};

/// Where a ledger chunk is full: 256 KiB. A chunk holds at least one record, so one large reply may exceed it.
const CHUNK_BYTES: usize = 256 << 10;

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
    /// `None` only while the batch is being executed, and never in a checkpoint.
    result: Option<Bytes>,
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
        self.last_time = proposed.max(Timestamp(self.last_time.0.saturating_add(1)));
        self.last_time
    }

    /// The last agreed time.
    pub(crate) fn last_time(&self) -> Timestamp {
        self.last_time
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
                _ if stored.digest != digest => refuse(Refusal::DifferentRequest),
                Some(result) => Judgement::Answer(stored.sequence, Outcome::Executed(result.clone())),
                None => Judgement::Repeated,
            };
        }
        if id.number < session.next {
            return refuse(Refusal::TooOld);
        }
        if id.number.0 - session.next.0 >= limits.session_window {
            return refuse(Refusal::BeyondWindow);
        }
        session.begin(id.number, StoredReply { digest, sequence, result: None }, limits.session_window);
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
                entry.insert(Client { highest: id, sessions: BTreeMap::from([(id, session)]) });
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
    pub(crate) fn complete(&mut self, id: RequestId, result: Bytes) {
        // A session of 64 requests in one batch with many openings may be evicted before its results come; the
        // reply still goes out, and is not kept.
        if let Some(reply) = self.session_mut(id).and_then(|session| session.replies.get_mut(&id.number)) {
            reply.result = Some(result);
        }
    }

    /// The kept answer to exactly this request, if it was executed: a repeated request need not be ordered again.
    pub(crate) fn answer(&self, id: RequestId, digest: Digest) -> Option<(Sequence, Outcome)> {
        let session = self.clients.get(&id.client)?.sessions.get(&id.session)?;
        if id.number == RequestNumber(0) {
            return Some((session.opened, Outcome::Opened));
        }
        let reply = session.replies.get(&id.number).filter(|reply| reply.digest == digest)?;
        Some((reply.sequence, Outcome::Executed(reply.result.clone()?)))
    }

    fn session_mut(&mut self, id: RequestId) -> Option<&mut Session> {
        self.clients.get_mut(&id.client)?.sessions.get_mut(&id.session)
    }
}

impl Client {
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
            if let Some(evicted) = least_recent.map(|(id, _)| *id) {
                self.sessions.remove(&evicted);
            }
        }
        let opened = session.opened;
        self.highest = id;
        self.sessions.insert(id, session);
        Some(opened)
    }
}

impl Session {
    /// Notes that a new request is being executed, and forgets replies that have left the window.
    fn begin(&mut self, number: RequestNumber, reply: StoredReply, window: u64) {
        self.last_executed = reply.sequence;
        self.replies.insert(number, reply);
        while self.replies.contains_key(&self.next) {
            self.next = RequestNumber(self.next.0.saturating_add(1));
        }
        let highest = self.replies.keys().next_back().map_or(0, |number| number.0);
        // Numbers run less than W ahead of `next`, so what is dropped here is below `next`.
        self.replies.retain(|number, _| number.0 + window > highest);
    }
}

/// The ledger in a snapshot: small records, so that no chunk grows with the number of clients.
#[derive(Serialize, Deserialize)]
enum Record {
    Time(Timestamp),
    Client { client: ClientId, highest: SessionId },
    Session { id: SessionId, opened: Sequence, last_executed: Sequence, next: RequestNumber },
    Reply { number: RequestNumber, reply: StoredReply },
}

/// The first chunk of every snapshot.
#[derive(Serialize, Deserialize)]
struct Header {
    /// The format of the ledger's chunks.
    format: u32,
    /// How many of the snapshot's first chunks are the ledger, this one included.
    ledger_chunks: u64,
}

const FORMAT: u32 = 1;

impl Ledger {
    /// The ledger's chunks, which depend on its content alone (C2).
    pub(crate) fn chunks(&self) -> Vec<Bytes> {
        let mut packer = Packer::default();
        packer.add(&Record::Time(self.last_time));
        for (id, client) in &self.clients {
            packer.cut();
            packer.add(&Record::Client { client: *id, highest: client.highest });
            for (id, session) in &client.sessions {
                let Session { opened, last_executed, next, replies } = session;
                packer.add(&Record::Session {
                    id: *id,
                    opened: *opened,
                    last_executed: *last_executed,
                    next: *next,
                });
                for (number, reply) in replies {
                    packer.add(&Record::Reply { number: *number, reply: reply.clone() });
                }
            }
        }
        packer.cut();
        let header = Header { format: FORMAT, ledger_chunks: packer.chunks.len() as u64 + 1 };
        std::iter::once(codec::encode(&header).into()).chain(packer.chunks).collect()
    }

    /// Reads a ledger from the first [`ledger_chunks`] chunks of a snapshot.
    ///
    /// # Errors
    /// [`Malformed`] if they are no ledger in this program's format.
    pub(crate) fn from_chunks(chunks: &[Bytes]) -> Result<Self, Malformed> {
        let disorder = || Malformed("a ledger's records are out of order".into());
        let count = ledger_chunks(chunks)?;
        let mut ledger = Self::default();
        for chunk in chunks.get(1..count).ok_or_else(disorder)? {
            for bytes in codec::decode::<Vec<Bytes>>(chunk)? {
                match codec::decode(&bytes)? {
                    Record::Time(time) => ledger.last_time = time,
                    Record::Client { client, highest } => {
                        ledger.clients.insert(client, Client { highest, sessions: BTreeMap::new() });
                    }
                    Record::Session { id, opened, last_executed, next } => {
                        // Clients are read in the order of their keys, as they were written.
                        let mut client = ledger.clients.last_entry().ok_or_else(disorder)?;
                        let session = Session { opened, last_executed, next, replies: BTreeMap::new() };
                        client.get_mut().sessions.insert(id, session);
                    }
                    Record::Reply { number, reply } => {
                        let mut client = ledger.clients.last_entry().ok_or_else(disorder)?;
                        let mut session = client.get_mut().sessions.last_entry().ok_or_else(disorder)?;
                        session.get_mut().replies.insert(number, reply);
                    }
                }
            }
        }
        Ok(ledger)
    }
}

/// How many of a snapshot's first chunks are the ledger; the service's follow.
///
/// # Errors
/// [`Malformed`] if the first chunk is not a snapshot header of this program's format.
pub fn ledger_chunks(chunks: &[Bytes]) -> Result<usize, Malformed> {
    let first = chunks.first().ok_or_else(|| Malformed("a snapshot without chunks".into()))?;
    let Header { format, ledger_chunks } = codec::decode(first)?;
    if format != FORMAT {
        return Err(Malformed(format!("snapshot format {format}; this program reads {FORMAT}")));
    }
    usize::try_from(ledger_chunks)
        .ok()
        .filter(|count| (1..=chunks.len()).contains(count))
        .ok_or_else(|| Malformed("a snapshot's header counts more chunks than there are".into()))
}

/// Gathers encoded records into chunks.
#[derive(Default)]
struct Packer {
    chunks: Vec<Bytes>,
    records: Vec<Bytes>,
    size: usize,
}

impl Packer {
    fn add(&mut self, record: &Record) {
        let bytes = Bytes::from(codec::encode(record));
        if self.size > 0 && self.size + bytes.len() > CHUNK_BYTES {
            self.cut();
        }
        self.size += bytes.len();
        self.records.push(bytes);
    }

    fn cut(&mut self) {
        if self.size > 0 {
            self.chunks.push(codec::encode(&self.records).into());
            self.records.clear();
            self.size = 0;
        }
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
            ledger.complete(id, Bytes::copy_from_slice(operation));
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
    fn a_request_is_executed_once() {
        let mut ledger = Ledger::default();
        assert_eq!(run(&mut ledger, id(1, 0), b"", 1), opened(1));
        assert_eq!(run(&mut ledger, id(1, 1), b"a", 2), Judgement::Execute);
        assert_eq!(run(&mut ledger, id(1, 1), b"a", 3), executed(2, b"a"));
        assert_eq!(run(&mut ledger, id(1, 1), b"b", 4), refused(4, Refusal::DifferentRequest));
        assert_eq!(ledger.answer(id(1, 1), id(1, 1).digest(b"a")).unwrap().0, Sequence(2));
        assert_eq!(ledger.answer(id(1, 1), id(1, 1).digest(b"b")), None);
    }

    /// Fault 30: a huge number executes nothing and blocks nothing.
    #[test]
    fn numbers_beyond_the_window_are_refused_and_block_nothing() {
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
    fn evicted_replies_are_never_executed_again() {
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

    #[test]
    fn a_ledger_comes_back_from_its_chunks() {
        let mut ledger = Ledger::default();
        ledger.agree_time(Timestamp(10));
        for client in 0..3 {
            for session in 1..=2 {
                let open = RequestId { client: ClientId([client; 32]), ..id(session, 0) };
                run(&mut ledger, open, b"", 1);
                for number in 1..=5 {
                    let request = RequestId { client: ClientId([client; 32]), ..id(session, number) };
                    run(&mut ledger, request, &vec![client; 100_000], 2);
                }
            }
        }
        let chunks = ledger.chunks();
        assert!(chunks.len() > 6, "large ledgers have many chunks");
        assert_eq!(ledger_chunks(&chunks).unwrap(), chunks.len());
        let read = Ledger::from_chunks(&chunks).unwrap();
        assert_eq!(read, ledger);
        assert_eq!(read.chunks(), chunks);
        assert!(Ledger::from_chunks(&chunks[..chunks.len() - 1]).is_err());
        assert!(Ledger::from_chunks(&[]).is_err());
    }
}
