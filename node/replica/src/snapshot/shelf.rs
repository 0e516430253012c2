//! The snapshots that this replica has, for whoever asks for a chunk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pbft_messages::{ChunkId, PeerMessage, Sequence};

use super::{SnapshotError, StoredSnapshot};
use crate::folder::{DataFolder, UNFINISHED};

/// All durable snapshots, by sequence. Cloning gives another handle on the same shelf.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    folder: DataFolder,
    snapshots: Arc<Mutex<BTreeMap<Sequence, Arc<StoredSnapshot>>>>,
}

impl Shelf {
    /// A shelf of the snapshots that were loaded at boot. All other files in their folder go: they were never
    /// finished, or never announced.
    pub(crate) fn new(folder: DataFolder, loaded: Vec<StoredSnapshot>) -> Result<Self, SnapshotError> {
        let snapshots: BTreeMap<_, _> =
            loaded.into_iter().map(|snapshot| (snapshot.sequence(), Arc::new(snapshot))).collect();
        let clean = || -> io::Result<()> {
            for entry in fs::read_dir(folder.snapshots())? {
                let path = entry?.path();
                let ours = snapshots.keys().any(|sequence| folder.snapshot(*sequence) == path);
                let ending = path.extension().and_then(|ending| ending.to_str());
                if !ours && matches!(ending, Some(crate::folder::SNAPSHOT | UNFINISHED)) {
                    fs::remove_file(path)?;
                }
            }
            Ok(())
        };
        clean().map_err(|source| SnapshotError::Io { path: folder.snapshots(), source })?;
        Ok(Self { folder, snapshots: Arc::new(Mutex::new(snapshots)) })
    }

    /// Adds a snapshot that is durable.
    pub(crate) fn add(&self, snapshot: StoredSnapshot) {
        self.snapshots().insert(snapshot.sequence(), Arc::new(snapshot));
    }

    /// Removes the snapshots below a sequence, once the store has durably forgotten them, but for those in `keep`.
    pub(crate) fn remove_below(&self, sequence: Sequence, keep: &BTreeSet<Sequence>) {
        let gone: Vec<_> =
            self.snapshots().extract_if(..sequence, |sequence, _| !keep.contains(sequence)).collect();
        for (sequence, _) in gone {
            // A file that stays takes room and harms nobody; the next boot tries again.
            if let Err(error) = fs::remove_file(self.folder.snapshot(sequence)) {
                tracing::warn!(%sequence, %error, "an old snapshot could not be removed");
            }
        }
    }

    /// What to answer to a replica that asks for a chunk.
    pub(crate) fn answer(&self, id: ChunkId) -> PeerMessage {
        let snapshot = self.snapshots().get(&id.sequence).cloned();
        match snapshot.map(|snapshot| snapshot.chunk(id.index)) {
            Some(Ok(Some(chunk))) => PeerMessage::Chunk(chunk),
            Some(Err(error)) => {
                tracing::error!(sequence = %id.sequence, %error, "a snapshot could not be read");
                PeerMessage::NoChunk(id)
            }
            Some(Ok(None)) | None => PeerMessage::NoChunk(id),
        }
    }

    fn snapshots(&self) -> MutexGuard<'_, BTreeMap<Sequence, Arc<StoredSnapshot>>> {
        // No operation under the lock can panic half-way, so a poisoned lock still guards a whole map.
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
