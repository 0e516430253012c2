//! The ledger in a snapshot: its chunks, and back.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use pbft_crypto::Malformed;
use pbft_messages::{ClientId, RequestNumber, Sequence, SessionId, Timestamp, codec};

use super::{Client, Ledger, Session, StoredReply};

/// Where a ledger chunk is full: 256 KiB. A chunk holds at least one record, so one large reply may exceed it.
const CHUNK_BYTES: usize = 256 << 10;

/// What chunks consist of: small records, so that no chunk grows with the number of clients.
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

const FORMAT: u32 = 2;

/// A client's chunks as they were last encoded, until the client changes. It is no part of the state.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientChunks(Option<Vec<Bytes>>);

impl ClientChunks {
    /// The client has changed.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

impl PartialEq for ClientChunks {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for ClientChunks {}

impl Client {
    /// The client's chunks, encoded anew if it has changed since they last were (C2).
    fn chunks(&mut self, id: ClientId) -> &[Bytes] {
        let Self { highest, sessions, chunks, .. } = self;
        chunks.0.get_or_insert_with(|| {
            let mut packer = Packer::default();
            packer.add(&Record::Client { client: id, highest: *highest });
            for (id, session) in sessions {
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
            packer.finish()
        })
    }
}

impl Ledger {
    /// The ledger's chunks, which depend on its content alone (C2). Those of clients that have not changed are the
    /// very same bytes as last time.
    pub(crate) fn chunks(&mut self) -> Vec<Bytes> {
        let mut packer = Packer::default();
        packer.add(&Record::Time(self.last_time));
        let mut chunks = vec![Bytes::new()];
        chunks.extend(packer.finish());
        for (id, client) in &mut self.clients {
            chunks.extend_from_slice(client.chunks(*id));
        }
        let header = Header { format: FORMAT, ledger_chunks: chunks.len() as u64 };
        chunks[0] = codec::encode(&header).into();
        chunks
    }

    /// Reads a ledger from the first [`ledger_chunks`] chunks of a snapshot.
    ///
    /// # Errors
    /// [`Malformed`] if they are no ledger in this program's format.
    pub(crate) fn from_chunks(chunks: &[Bytes]) -> Result<Self, Malformed> {
        let disorder = || Malformed("a ledger's records are out of order".into());
        let count = ledger_chunks(chunks.first().ok_or_else(disorder)?)?;
        let mut ledger = Self::default();
        for chunk in chunks.get(1..count).ok_or_else(disorder)? {
            for bytes in codec::decode::<Vec<Bytes>>(chunk)? {
                match codec::decode(&bytes)? {
                    Record::Time(time) => ledger.last_time = time,
                    Record::Client { client, highest } => {
                        ledger.clients.insert(client, Client::new(highest));
                    }
                    Record::Session { id, opened, last_executed, next } => {
                        // Clients are read in the order of their keys, as they were written.
                        let mut client = ledger.clients.last_entry().ok_or_else(disorder)?;
                        let session = Session { opened, last_executed, next, replies: BTreeMap::new() };
                        client.get_mut().sessions.insert(id, session);
                    }
                    Record::Reply { number, reply } => {
                        let mut client = ledger.clients.last_entry().ok_or_else(disorder)?;
                        client.get_mut().result_bytes += reply.size();
                        let mut session = client.get_mut().sessions.last_entry().ok_or_else(disorder)?;
                        session.get_mut().replies.insert(number, reply);
                    }
                }
            }
        }
        Ok(ledger)
    }
}

/// How many of a snapshot's first chunks are the ledger, 1 or more: its very first one tells. The service's follow.
///
/// # Errors
/// [`Malformed`] if the first chunk is not a snapshot header of this program's format.
pub fn ledger_chunks(first: &[u8]) -> Result<usize, Malformed> {
    let Header { format, ledger_chunks } = codec::decode(first)?;
    if format != FORMAT {
        return Err(Malformed(format!("snapshot format {format}; this program reads {FORMAT}")));
    }
    usize::try_from(ledger_chunks)
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| Malformed("a snapshot's header counts no chunk of the ledger".into()))
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

    fn finish(mut self) -> Vec<Bytes> {
        self.cut();
        self.chunks
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Parameters, RequestId};

    use super::super::Judgement;
    use super::*;

    fn id(client: u8, session: u64, number: u64) -> RequestId {
        RequestId {
            client: ClientId([client; 32]),
            session: SessionId(session),
            number: RequestNumber(number),
        }
    }

    fn run(ledger: &mut Ledger, id: RequestId, result: &[u8]) {
        let limits = Parameters::default();
        if ledger.judge(id, id.digest(b"operation"), Sequence(2), &limits) == Judgement::Execute {
            ledger.complete(id, Bytes::copy_from_slice(result), &limits);
        }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.agree_time(Timestamp(10));
        for client in 0..3 {
            for session in 1..=2 {
                for number in 0..=5 {
                    run(&mut ledger, id(client, session, number), &vec![client; 100_000]);
                }
            }
        }
        ledger
    }

    #[test]
    fn a_ledger_comes_back_from_its_chunks() {
        let mut ledger = ledger();
        let chunks = ledger.chunks();
        assert!(chunks.len() > 6, "large ledgers have many chunks");
        assert_eq!(ledger_chunks(&chunks[0]).unwrap(), chunks.len());
        let mut read = Ledger::from_chunks(&chunks).unwrap();
        assert_eq!(read, ledger);
        assert_eq!(read.chunks(), chunks);
        assert!(Ledger::from_chunks(&chunks[..chunks.len() - 1]).is_err());
        assert!(Ledger::from_chunks(&[]).is_err());
    }

    /// C2: what has not changed is not encoded again, and what has is.
    #[test]
    fn only_clients_that_changed_are_encoded_again() {
        let mut ledger = ledger();
        let before = ledger.chunks();
        run(&mut ledger, id(1, 2, 6), b"small");
        let after = ledger.chunks();
        let fresh = Ledger::from_chunks(&after).unwrap().chunks();
        assert_eq!(after, fresh);
        let same = |one: &Bytes| before.iter().any(|other| one.as_ptr() == other.as_ptr());
        let of_others = |ledger: &mut Ledger, id: u8| {
            let client = ledger.clients.get_mut(&ClientId([id; 32])).unwrap();
            client.chunks(ClientId([id; 32])).iter().all(same)
        };
        assert!(of_others(&mut ledger, 0) && of_others(&mut ledger, 2) && !of_others(&mut ledger, 1));
    }
}
