//! How the state is cut into chunks.
//!
//! The first chunk is the header. All others are runs of records, the changes of single keys, in order of key and
//! revision. Where a run ends depends on nothing but its own records and on at most those of the next 256 KiB: there
//! is no state that could differ between two replicas, and what is far from a change keeps its chunks (C2).
//!
//! From 32 KiB on, a record ends its chunk if a checksum of its key and revision says so, with a probability in
//! proportion to its size, so that a chunk has 64 KiB on average whether it holds hundreds of small records or one
//! large one. A run of 256 KiB without such a record is cut after the one with the least checksum in its second
//! half, which is likely to be found again when the run is cut from another start.
//!
//! Taking a snapshot and asking for its leaves takes, of processor time on a machine of 2 cores, with keys of 20 bytes,
//! values of 100, and up to 10,000 old versions besides:
//!
//! | keys      | 1 changed | 100 changed all over | from nothing |
//! |----------:|----------:|---------------------:|-------------:|
//! |     1,000 |   0.15 ms |               2.2 ms |       2.3 ms |
//! |    10,000 |   0.11 ms |               4.2 ms |       4.2 ms |
//! |   100,000 |   0.15 ms |                15 ms |        31 ms |
//! | 1,000,000 |   0.36 ms |                14 ms |       252 ms |
//!
//! Changes that are next to each other cost like one. What grows in the first column is the copy of the digests.
//!
//! Clients choose keys, and the checksum is a fixed standard (CRC-32 as in ISO-HDLC). One who searches for keys that
//! never end a chunk gets chunks of 128 to 256 KiB; one who also lets their checksums rise with the keys makes
//! each change of such a run cost all of the run behind it, until a key of someone else ends it. That is
//! work in proportion to what the client itself has stored, once a checkpoint, on the thread of the snapshots.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use pbft_messages::codec;

use super::history::{History, Life, Position};
use super::state::State;

/// The format of the header and of the records. Another one gets another number.
pub(super) const FORMAT: u32 = 1;

/// A chunk that is smaller does not end, unless it is the last; one that is not ends, on average, after as much again.
const MIN_CHUNK: usize = 32 << 10;

/// The most bytes of a chunk, unless it holds a single record, which may be larger: the largest key and value.
const MAX_CHUNK: usize = 256 << 10;

/// The first chunk, on its own since nearly every operation changes it.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    /// First in all formats, so that it can be read from each.
    pub(super) format: u32,
    pub(super) revision: u64,
    pub(super) compacted: u64,
    pub(super) retained: u64,
    pub(super) keys: u64,
    pub(super) records: u64,
}

impl Header {
    pub(super) fn new(state: &State) -> Self {
        Self {
            format: FORMAT,
            revision: state.revision,
            compacted: state.compacted,
            retained: state.retained.get(),
            keys: state.history.keys() as u64,
            records: state.history.versions() as u64,
        }
    }
}

/// One change of one key. A key's history may be spread over several chunks. What is written borrows its bytes from the
/// history.
#[derive(Serialize, Deserialize)]
pub(super) struct Record<B = Bytes> {
    pub(super) key: B,
    pub(super) mod_revision: u64,
    /// What the change made of the key; `None` is a deletion.
    pub(super) life: Option<RecordedLife<B>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RecordedLife<B = Bytes> {
    pub(super) create_revision: u64,
    pub(super) version: u64,
    pub(super) value: B,
}

impl<'a> Record<&'a Bytes> {
    pub(super) fn new((key, mod_revision, life): (&'a Bytes, u64, Option<&'a Life>)) -> Self {
        let life = life.map(|life| RecordedLife {
            create_revision: life.create_revision,
            version: life.version,
            value: &life.value,
        });
        Self { key, mod_revision, life }
    }

    fn position(&self) -> Position {
        (self.key.clone(), self.mod_revision)
    }

    /// The length of the encoding.
    fn size(&self) -> usize {
        17 + self.key.len() + self.life.as_ref().map_or(0, |life| 24 + life.value.len())
    }

    /// Multiplied, as the plain checksums of numbered keys come in clusters.
    pub(super) fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.key);
        hasher.update(&self.mod_revision.to_le_bytes());
        hasher.finalize().wrapping_mul(0x9E37_79B1)
    }
}

/// A chunk's records, and what they were found by.
pub(super) struct Cut<'a> {
    pub(super) records: Vec<Record<&'a Bytes>>,
    /// Where the next chunk starts; `None` after the last one.
    pub(super) next: Option<Position>,
    /// The last record that had a say in where the chunk ends, at or after `next`; `None` if all up to the end had.
    /// Whatever changes before the start or after it leaves the chunk, and the start of the next one, as they are.
    pub(super) seen: Option<Position>,
}

impl<'a> Cut<'a> {
    /// Cuts off the chunk that starts with the record at `start`.
    pub(super) fn new(history: &'a History, start: &Position) -> Self {
        let mut versions = history.versions_from(start).map(Record::new);
        let (mut records, mut size) = (Vec::new(), 0);
        // The least checksum in the second half, and how many records there are up to it.
        let mut least: Option<(u32, usize)> = None;
        for record in versions.by_ref() {
            if size + record.size() > MAX_CHUNK && !records.is_empty() {
                let seen = Some(record.position());
                let end = least.map_or(records.len(), |(_, end)| end);
                let next = records.get(end).unwrap_or(&record).position();
                records.truncate(end);
                return Self { records, next: Some(next), seen };
            }
            size += record.size();
            let checksum = record.checksum();
            let is_end =
                size >= MIN_CHUNK && u64::from(checksum) * (MIN_CHUNK as u64) < (record.size() as u64) << 32;
            records.push(record);
            if is_end {
                break;
            }
            if size > MAX_CHUNK / 2 && least.is_none_or(|(least, _)| checksum < least) {
                least = Some((checksum, records.len()));
            }
        }
        let next = versions.next().map(|record| record.position());
        Self { records, seen: next.clone(), next }
    }
}

/// The chunk of these records.
pub(super) fn encode(records: &[Record<&Bytes>]) -> Bytes {
    codec::encode(records).into()
}

/// The chunk from the record at `start` up to where the next one starts, once that is known.
pub(super) fn chunk(history: &History, start: &Position, next: Option<&Position>) -> Bytes {
    let is_next = |record: &Record<&Bytes>| {
        next.is_some_and(|(key, revision)| (record.mod_revision, record.key) == (*revision, key))
    };
    let records = history.versions_from(start).map(Record::new).take_while(|record| !is_next(record));
    encode(&records.collect::<Vec<_>>())
}
