//! The store's snapshot: how the state is cut into chunks, and put together again.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use pbft_crypto::{Digest, MerkleTree};
use pbft_messages::codec;

use super::history::{Life, Version};
use super::state::State;
use super::{MAX_KEY, MAX_VALUE};
use crate::{RestoreError, Snapshot};

/// The format of the header and of the records. Another one gets another number.
const FORMAT: u32 = 1;

/// Of this many keys one, on average, ends a chunk: about 64 KiB of records with keys of 20 bytes and values of 100.
const KEYS_PER_CHUNK: u32 = 384;

/// A chunk that reaches this size before such a key is ended all the same. Only one that holds a single record may
/// be larger, up to the largest key and value.
const MAX_CHUNK: usize = 256 << 10;

/// The first chunk, on its own since nearly every operation changes it.
#[derive(Serialize, Deserialize)]
struct Header {
    /// First in all formats, so that it can be read from each.
    format: u32,
    revision: u64,
    compacted: u64,
    retained: u64,
    keys: u64,
    records: u64,
}

/// One change of one key, which is what all other chunks are lists of, in order of key and revision. A key's history
/// may be spread over several chunks.
#[derive(Serialize, Deserialize)]
struct Record {
    key: Bytes,
    mod_revision: u64,
    /// What the change made of the key; `None` is a deletion.
    life: Option<RecordedLife>,
}

#[derive(Serialize, Deserialize)]
struct RecordedLife {
    create_revision: u64,
    version: u64,
    value: Bytes,
}

impl Record {
    fn new(key: Bytes, version: Version) -> Self {
        let life = version.life.map(|Life { create_revision, version, value, .. }| RecordedLife {
            create_revision,
            version,
            value,
        });
        Self { key, mod_revision: version.mod_revision, life }
    }

    /// The length of the encoding.
    fn size(&self) -> usize {
        17 + self.key.len() + self.life.as_ref().map_or(0, |life| 24 + life.value.len())
    }
}

/// Whether a chunk ends after this key's last record. It depends on the key alone, so a change elsewhere moves no
/// other boundary. The checksum is a fixed standard (CRC-32 as in ISO-HDLC); keys chosen to never or always hit can
/// make chunks of any size up to the maximum, or small ones, and nothing worse.
fn ends_chunk(key: &[u8]) -> bool {
    crc32fast::hash(key).is_multiple_of(KEYS_PER_CHUNK)
}

/// A state that is to be cut into chunks, and the chunks once it is.
pub(super) struct StateSnapshot {
    state: State,
    chunks: OnceCell<Vec<Bytes>>,
}

impl StateSnapshot {
    pub(super) fn new(state: State) -> Self {
        Self { state, chunks: OnceCell::new() }
    }

    fn all(&self) -> &[Bytes] {
        self.chunks.get_or_init(|| self.state.clone().chunks().collect())
    }
}

impl Snapshot for StateSnapshot {
    fn leaves(&mut self) -> Vec<Digest> {
        self.all().iter().map(|chunk| MerkleTree::leaf(chunk)).collect()
    }

    fn chunk(&self, index: usize) -> Bytes {
        self.all()[index].clone()
    }
}

impl State {
    fn chunks(self) -> impl Iterator<Item = Bytes> {
        let header = codec::encode(&Header {
            format: FORMAT,
            revision: self.revision,
            compacted: self.compacted,
            retained: self.retained.get(),
            keys: self.history.keys() as u64,
            records: self.history.versions() as u64,
        });
        let records = self.history.into_versions().map(|(key, version)| Record::new(key, version));
        std::iter::once(header.into()).chain(Chunks { records: records.peekable() })
    }
}

/// The chunks of records. Each chunk starts where a key or the maximum ended the one before, and both depend on
/// nothing but the records since the last key that ended one.
struct Chunks<I: Iterator<Item = Record>> {
    records: Peekable<I>,
}

impl<I: Iterator<Item = Record>> Iterator for Chunks<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let first = self.records.next()?;
        let (mut size, mut chunk) = (first.size(), vec![first]);
        while let (Some(next), Some(last)) = (self.records.peek(), chunk.last()) {
            let is_end = next.key != last.key && ends_chunk(&last.key);
            if is_end || size + next.size() > MAX_CHUNK {
                break;
            }
            size += next.size();
            chunk.extend(self.records.next());
        }
        Some(codec::encode(&chunk).into())
    }
}

/// Reads a state with the given number of retained revisions back from its chunks.
pub(super) fn restore(
    retained: NonZeroU64,
    chunks: &mut dyn Iterator<Item = Bytes>,
) -> Result<State, RestoreError> {
    let first = chunks.next().ok_or(RestoreError::Incomplete)?;
    let found = codec::decode(first.get(..size_of::<u32>()).ok_or(RestoreError::Incomplete)?)?;
    if found != FORMAT {
        return Err(RestoreError::UnsupportedFormat { found, supported: FORMAT });
    }
    let header: Header = codec::decode(&first)?;
    if header.retained != retained.get() {
        return Err(inconsistent(format!(
            "it was made by a store that retains {} revisions, this one retains {retained}",
            header.retained
        )));
    }
    if header.compacted > header.revision {
        return Err(inconsistent("a future revision is compacted"));
    }
    let state = State { revision: header.revision, compacted: header.compacted, ..State::new(retained) };
    let mut restoration = Restoration { state, last: None, changes: BTreeMap::new() };
    for chunk in chunks {
        for record in codec::decode::<Vec<Record>>(&chunk)? {
            restoration.add(record)?;
        }
    }
    let state = restoration.finish()?;
    if (state.history.keys() as u64, state.history.versions() as u64) != (header.keys, header.records) {
        return Err(RestoreError::Incomplete);
    }
    Ok(state)
}

/// A state that is being put together. The chunks are known to be what a quorum vouched for; the checks here keep a
/// mistake from becoming a state that no sequence of operations leads to.
struct Restoration {
    state: State,
    /// Key and revision of the last record.
    last: Option<(Bytes, u64)>,
    changes: BTreeMap<u64, Vec<Bytes>>,
}

impl Restoration {
    fn add(&mut self, record: Record) -> Result<(), RestoreError> {
        let Record { key, mod_revision, life } = record;
        let value_length = life.as_ref().map_or(0, |life| life.value.len());
        if key.is_empty() || key.len() > MAX_KEY || value_length > MAX_VALUE {
            return Err(inconsistent("a key or a value exceeds its limit"));
        }
        // Revision 1 is the empty store, so the first change made revision 2.
        if !(2..=self.state.revision).contains(&mod_revision) {
            return Err(inconsistent("a key changed at a revision that never was"));
        }
        let is_first = match &self.last {
            Some((last, newest)) if (last, *newest) >= (&key, mod_revision) => {
                return Err(inconsistent("the records are out of order"));
            }
            Some((last, _)) => *last != key,
            None => true,
        };
        let life = self.check_change(&key, is_first, mod_revision, life)?;
        self.state.history.push(&key, Version { mod_revision, life });
        if mod_revision > self.state.compacted {
            self.changes.entry(mod_revision).or_default().push(key.clone());
        }
        self.last = Some((key, mod_revision));
        Ok(())
    }

    /// Checks that a change can have followed the key's earlier ones.
    fn check_change(
        &self,
        key: &[u8],
        is_first: bool,
        mod_revision: u64,
        life: Option<RecordedLife>,
    ) -> Result<Option<Life>, RestoreError> {
        let is_base = mod_revision <= self.state.compacted;
        if is_base && !is_first {
            return Err(inconsistent("a key has two versions at or below the compacted revision"));
        }
        let before = self.state.history.newest(key);
        let Some(RecordedLife { create_revision, version, value }) = life else {
            // A key that does not exist can't be deleted, and compaction leaves no deletion behind.
            return match before {
                Some(_) => Ok(None),
                None => Err(inconsistent("a key is deleted that did not exist")),
            };
        };
        let is_possible = if is_base {
            // What went before is compacted: all that is known is that each change had a revision of its own.
            let changes_since = mod_revision.checked_sub(create_revision);
            create_revision >= 2
                && version >= 1
                && changes_since.is_some_and(|since| version - 1 <= since && (version == 1) == (since == 0))
        } else {
            let expected = Life::put(before, mod_revision, Bytes::new());
            (create_revision, version) == (expected.create_revision, expected.version)
        };
        if !is_possible {
            return Err(inconsistent("a key's version does not follow from the one before"));
        }
        Ok(Some(Life { create_revision, mod_revision, version, value }))
    }

    fn finish(mut self) -> Result<State, RestoreError> {
        // No revision comes about without a change, so a missing one means missing records.
        if self.changes.len() as u64 != self.state.revision - self.state.compacted.max(1) {
            return Err(RestoreError::Incomplete);
        }
        self.state.changes =
            self.changes.into_iter().map(|(revision, keys)| (revision, Arc::from(keys))).collect();
        Ok(self.state)
    }
}

fn inconsistent(reason: impl Into<String>) -> RestoreError {
    RestoreError::Inconsistent(reason.into())
}
