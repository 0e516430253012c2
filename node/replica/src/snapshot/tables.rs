//! The tables of the file: which chunks are held, and what they are needed for.

use std::collections::HashSet;

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable as _, Table, TableDefinition, WriteTransaction};

use pbft_crypto::Digest;
use pbft_messages::Sequence;

type Result<T> = std::result::Result<T, redb::Error>;

/// Where the content of each chunk is that is held. It is apart from the contents, so that looking a digest up reads
/// none of them.
const HELD: TableDefinition<'_, &[u8; Digest::LENGTH], u64> = TableDefinition::new("held");
/// The contents, numbered as they came: chunks of one snapshot lie side by side.
const CONTENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("contents");
/// The leaves of each snapshot, all of whose chunks are held.
const SNAPSHOTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshots");
/// The leaves of the one snapshot that is being fetched, some of whose chunks are held.
const GATHERING: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("gathering");

/// Makes the tables, all empty.
pub(super) fn create(transaction: &WriteTransaction) -> Result<()> {
    transaction.open_table(HELD)?;
    transaction.open_table(CONTENTS)?;
    transaction.open_table(SNAPSHOTS)?;
    transaction.open_table(GATHERING)?;
    Ok(())
}

/// The chunks, to be looked up.
pub(super) struct Held {
    held: ReadOnlyTable<&'static [u8; Digest::LENGTH], u64>,
    contents: ReadOnlyTable<u64, &'static [u8]>,
}

impl Held {
    pub(super) fn open(transaction: &ReadTransaction) -> Result<Self> {
        Ok(Self { held: transaction.open_table(HELD)?, contents: transaction.open_table(CONTENTS)? })
    }

    pub(super) fn contains(&self, digest: &Digest) -> Result<bool> {
        Ok(self.held.get(digest.as_bytes())?.is_some())
    }

    /// A chunk's content, not compared with its digest.
    pub(super) fn content(&self, digest: &Digest) -> Result<Option<Bytes>> {
        let Some(place) = self.held.get(digest.as_bytes())? else { return Ok(None) };
        let content = self.contents.get(place.value())?;
        Ok(content.map(|content| Bytes::copy_from_slice(content.value())))
    }

    /// The chunks that are held and not named.
    pub(super) fn unnamed(&self, named: &HashSet<Digest>) -> Result<Vec<Digest>> {
        let mut unnamed = Vec::new();
        for entry in self.held.iter()? {
            let digest = Digest::from_bytes(*entry?.0.value());
            if !named.contains(&digest) {
                unnamed.push(digest);
            }
        }
        Ok(unnamed)
    }
}

/// The chunks, to be changed.
pub(super) struct Chunks<'a> {
    held: Table<'a, &'static [u8; Digest::LENGTH], u64>,
    contents: Table<'a, u64, &'static [u8]>,
    next: u64,
}

impl<'a> Chunks<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self> {
        let (held, contents) = (transaction.open_table(HELD)?, transaction.open_table(CONTENTS)?);
        let next = contents.last()?.map_or(0, |(last, _)| last.value() + 1);
        Ok(Self { held, contents, next })
    }

    /// Adds a chunk, unless it is held.
    pub(super) fn add(&mut self, digest: &Digest, content: &[u8]) -> Result<()> {
        if self.held.get(digest.as_bytes())?.is_none() {
            self.held.insert(digest.as_bytes(), self.next)?;
            self.contents.insert(self.next, content)?;
            self.next += 1;
        }
        Ok(())
    }

    /// Removes a chunk, if it is held.
    pub(super) fn remove(&mut self, digest: &Digest) -> Result<()> {
        let place = self.held.remove(digest.as_bytes())?.map(|place| place.value());
        if let Some(place) = place {
            self.contents.remove(place)?;
        }
        Ok(())
    }
}

/// Notes that all chunks of a snapshot are held.
pub(super) fn add_snapshot(
    transaction: &WriteTransaction,
    sequence: Sequence,
    leaves: &[Digest],
) -> Result<()> {
    transaction.open_table(SNAPSHOTS)?.insert(sequence.0, &encode(leaves)[..])?;
    Ok(())
}

pub(super) fn remove_snapshot(transaction: &WriteTransaction, sequence: Sequence) -> Result<()> {
    transaction.open_table(SNAPSHOTS)?.remove(sequence.0)?;
    Ok(())
}

/// Sets what is being fetched, if anything.
pub(super) fn set_gathering(
    transaction: &WriteTransaction,
    gathering: Option<(Sequence, &[Digest])>,
) -> Result<()> {
    let mut table = transaction.open_table(GATHERING)?;
    table.retain(|_, _| false)?;
    if let Some((sequence, leaves)) = gathering {
        table.insert(sequence.0, &encode(leaves)[..])?;
    }
    Ok(())
}

/// Leaves, by the sequence of their checkpoint.
pub(super) type Lists = Vec<(Sequence, Vec<Digest>)>;

/// All snapshots, and what is being fetched.
pub(super) fn lists(transaction: &ReadTransaction) -> Result<(Lists, Lists)> {
    let read = |table: TableDefinition<'_, u64, &'static [u8]>| -> Result<Lists> {
        let mut lists = Vec::new();
        for entry in transaction.open_table(table)?.iter()? {
            let (sequence, leaves) = entry?;
            lists.push((Sequence(sequence.value()), decode(leaves.value())?));
        }
        Ok(lists)
    };
    Ok((read(SNAPSHOTS)?, read(GATHERING)?))
}

fn encode(leaves: &[Digest]) -> Vec<u8> {
    leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect()
}

fn decode(bytes: &[u8]) -> Result<Vec<Digest>> {
    match bytes.as_chunks() {
        (leaves, []) => Ok(leaves.iter().map(|leaf| Digest::from_bytes(*leaf)).collect()),
        _ => Err(redb::Error::Corrupted("a list of chunks is cut short".into())),
    }
}
