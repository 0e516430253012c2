//! The store of chunks: how it is opened, and how snapshots go in and are removed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use pbft_crypto::Digest;
use pbft_messages::Sequence;

use super::SnapshotError;
use super::file::ChunkFile;
use super::stored::Stored;
use super::tables::{self, Chunks, Held};
use crate::folder::DataFolder;

/// How many bytes of chunks are written in one transaction, beyond which the next begins: 8 MiB. So a first snapshot
/// takes little memory. What else would change what is held waits until all of it is written.
const GROUP_BYTES: usize = 8 << 20;

/// The snapshots of this replica, all durable, and the one that it fetches. Cloning gives another handle on them.
#[derive(Clone, Debug)]
pub(crate) struct ChunkStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: ChunkFile,
    snapshots: Mutex<BTreeMap<Sequence, Arc<Stored>>>,
    /// The unfinished state transfer. Whoever changes what is held, has this: one at a time.
    gathering: Mutex<Option<Gathering>>,
}

#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) sequence: Sequence,
    pub(super) leaves: Arc<[Digest]>,
}

impl ChunkStore {
    /// Opens the store, or makes an empty one, and removes what neither `named`, the snapshots in the log's records
    /// with their roots, nor an unfinished gathering needs. In memory mode (`sync` is false) what is written is only
    /// as durable as the machine.
    ///
    /// # Errors
    /// [`SnapshotError`], also if the latest of the named snapshots is not there. An earlier one was for others, who
    /// have other sources.
    pub(crate) fn open(
        folder: &DataFolder,
        named: &BTreeMap<Sequence, Digest>,
        sync: bool,
    ) -> Result<Self, SnapshotError> {
        let (store, unnamed) = Self::listed(ChunkFile::open(&folder.chunks(), sync)?, named)?;
        store.remove_orphans(&unnamed)?;
        Ok(store)
    }

    /// Opens the store of a stopped replica to read it, and removes nothing.
    ///
    /// # Errors
    /// As [`ChunkStore::open`], and if there is no store.
    pub(crate) fn inspect(
        folder: &DataFolder,
        named: &BTreeMap<Sequence, Digest>,
    ) -> Result<Self, SnapshotError> {
        Ok(Self::listed(ChunkFile::open_existing(&folder.chunks(), true)?, named)?.0)
    }

    /// The store that a file holds, and the snapshots in it that nobody names.
    fn listed(
        file: ChunkFile,
        named: &BTreeMap<Sequence, Digest>,
    ) -> Result<(Self, Vec<Sequence>), SnapshotError> {
        let (snapshots, mut gatherings) = file.read(tables::lists)?;
        let (mut kept, mut unnamed) = (BTreeMap::new(), Vec::new());
        for (sequence, leaves) in snapshots {
            let stored = Stored::new(sequence, leaves);
            if named.get(&sequence) == Some(&stored.root()) {
                kept.insert(sequence, Arc::new(stored));
            } else {
                unnamed.push(sequence);
            }
        }
        for sequence in named.keys().filter(|sequence| !kept.contains_key(sequence)) {
            let why = format!("that of sequence {sequence} is missing, or another than the store says");
            if named.last_key_value().is_some_and(|(latest, _)| latest == sequence) {
                return Err(file.damaged(why));
            }
            tracing::warn!("an earlier snapshot is not served: {why}");
        }
        let gathering =
            gatherings.pop().map(|(sequence, leaves)| Gathering { sequence, leaves: leaves.into() });
        let (snapshots, gathering) = (Mutex::new(kept), Mutex::new(gathering));
        Ok((Self(Arc::new(Shared { file, snapshots, gathering })), unnamed))
    }

    /// Removes snapshots that nobody names, and chunks that belong to nothing: a crash left them.
    fn remove_orphans(&self, unnamed: &[Sequence]) -> Result<(), SnapshotError> {
        let needed = needed(&self.snapshots(), self.changing().as_ref());
        let orphans = self.file().read(|transaction| Held::open(transaction)?.unnamed(&needed))?;
        if unnamed.is_empty() && orphans.is_empty() {
            return Ok(());
        }
        self.file().write(|transaction| {
            unnamed.iter().try_for_each(|sequence| tables::remove_snapshot(transaction, *sequence))?;
            let mut chunks = Chunks::open(transaction)?;
            orphans.iter().try_for_each(|digest| chunks.remove(digest))
        })
    }

    /// Stores a snapshot and gives its root; it is durable when this returns. `content` is asked for the chunks that
    /// are not held, each of which must have its digest in `leaves`. A snapshot that is stored already stays as it
    /// is, whatever `leaves` are: it was announced.
    ///
    /// # Errors
    /// [`SnapshotError`], or what `content` returned. The snapshot is not stored then.
    pub(crate) fn put<E: From<SnapshotError>>(
        &self,
        sequence: Sequence,
        leaves: Vec<Digest>,
        mut content: impl FnMut(usize) -> Result<Bytes, E>,
    ) -> Result<Digest, E> {
        let _changing = self.changing();
        let stored = Stored::new(sequence, leaves);
        let root = stored.root();
        if self.snapshots().contains_key(&sequence) {
            return Ok(root);
        }
        let (mut group, mut size) = (Vec::new(), 0);
        for (index, digest) in self.missing(stored.leaves())? {
            let content = content(index)?;
            size += content.len();
            group.push((digest, content));
            if size >= GROUP_BYTES {
                self.file().write(|transaction| add(&mut Chunks::open(transaction)?, &group))?;
                (group, size) = (Vec::new(), 0);
            }
        }
        let leaves: Vec<_> = stored.leaves().copied().collect();
        self.file().write(|transaction| {
            add(&mut Chunks::open(transaction)?, &group)?;
            tables::add_snapshot(transaction, sequence, &leaves)
        })?;
        self.snapshots().insert(sequence, Arc::new(stored));
        Ok(root)
    }

    /// Removes the snapshots below a sequence, once the log has durably forgotten them, but for those in `keep`; a
    /// gathering through it, which came too late or is a snapshot now; and the chunks that nothing else names.
    pub(crate) fn remove_below(
        &self,
        sequence: Sequence,
        keep: &BTreeSet<Sequence>,
    ) -> Result<(), SnapshotError> {
        let mut gathering = self.changing();
        let ended = gathering.take_if(|it| it.sequence <= sequence);
        let (gone, needed) = {
            let mut snapshots = self.snapshots();
            let gone: Vec<_> = snapshots.extract_if(..sequence, |at, _| !keep.contains(at)).collect();
            (gone, needed(&snapshots, gathering.as_ref()))
        };
        if gone.is_empty() && ended.is_none() {
            return Ok(());
        }
        let leaves = gone.iter().flat_map(|(_, stored)| stored.leaves());
        let leaves = leaves.chain(ended.iter().flat_map(|ended| ended.leaves.iter()));
        let unneeded: HashSet<_> = leaves.filter(|digest| !needed.contains(digest)).collect();
        self.file().write(|transaction| {
            gone.iter().try_for_each(|(at, _)| tables::remove_snapshot(transaction, *at))?;
            if ended.is_some() {
                tables::set_gathering(transaction, None)?;
            }
            let mut chunks = Chunks::open(transaction)?;
            unneeded.iter().try_for_each(|digest| chunks.remove(digest))
        })
    }

    /// The digests that are not held, each once, with their places.
    pub(super) fn missing<'a>(
        &self,
        leaves: impl Iterator<Item = &'a Digest>,
    ) -> Result<Vec<(usize, Digest)>, SnapshotError> {
        self.file().read(|transaction| {
            let (held, mut seen, mut missing) = (Held::open(transaction)?, HashSet::new(), Vec::new());
            for (index, digest) in leaves.enumerate() {
                if seen.insert(digest) && !held.contains(digest)? {
                    missing.push((index, *digest));
                }
            }
            Ok(missing)
        })
    }

    pub(super) fn file(&self) -> &ChunkFile {
        &self.0.file
    }

    /// The error that says that what is stored makes no sense.
    pub(crate) fn damaged(&self, why: impl Into<String>) -> SnapshotError {
        self.0.file.damaged(why)
    }

    /// The right to change what is held.
    pub(super) fn changing(&self) -> MutexGuard<'_, Option<Gathering>> {
        // It is set after the file was written; and who panics in between stops the replica.
        self.0.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshots(&self) -> MutexGuard<'_, BTreeMap<Sequence, Arc<Stored>>> {
        // No operation under the lock can panic half-way, so a poisoned lock still guards a whole map.
        self.0.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All chunks that snapshots and a gathering name.
pub(super) fn needed(
    snapshots: &BTreeMap<Sequence, Arc<Stored>>,
    gathering: Option<&Gathering>,
) -> HashSet<Digest> {
    let gathered = gathering.into_iter().flat_map(|gathering| gathering.leaves.iter());
    snapshots.values().flat_map(|stored| stored.leaves()).chain(gathered).copied().collect()
}

pub(super) fn add(chunks: &mut Chunks<'_>, group: &[(Digest, Bytes)]) -> Result<(), redb::Error> {
    group.iter().try_for_each(|(digest, content)| chunks.add(digest, content))
}
