//! What a state transfer fetches, until it is a snapshot (C3).

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use pbft_crypto::{Digest, MerkleTree};
use pbft_messages::{Chunk, Sequence};

use super::store::{Gathering, add, needed};
use super::stored::Stored;
use super::tables::{self, Chunks};
use super::{ChunkStore, SnapshotError};

impl ChunkStore {
    /// Begins a gathering: gives the places of the chunks that are not held. Those that are held are compared with
    /// their digests first. Of equal chunks only the first place is given. Chunks that only an earlier gathering
    /// needs are removed.
    pub(crate) fn gather(
        &self,
        sequence: Sequence,
        leaves: Arc<[Digest]>,
    ) -> Result<BTreeSet<u64>, SnapshotError> {
        let mut gathering = self.changing();
        let begun = Gathering { sequence, leaves };
        let needed = needed(&self.snapshots(), Some(&begun));
        let old = gathering.take().map(|old| old.leaves).unwrap_or_default();
        let mut gone: HashSet<_> = old.iter().filter(|digest| !needed.contains(digest)).copied().collect();
        for digest in HashSet::<_>::from_iter(begun.leaves.iter()) {
            // A chunk that has rotted is fetched again.
            if self.read(digest)?.is_some_and(|content| MerkleTree::leaf(&content) != *digest) {
                gone.insert(*digest);
            }
        }
        self.file().write(|transaction| {
            tables::set_gathering(transaction, Some((sequence, &begun.leaves)))?;
            let mut chunks = Chunks::open(transaction)?;
            gone.iter().try_for_each(|digest| chunks.remove(digest))
        })?;
        let missing = self.missing(begun.leaves.iter())?;
        *gathering = Some(begun);
        Ok(missing.into_iter().map(|(index, _)| index as u64).collect())
    }

    /// Stores chunks of the gathering, whose digests are right; they are durable when this returns. What belongs to
    /// another gathering is left out: the result says which are kept.
    pub(crate) fn keep(&self, chunks: &[Chunk]) -> Result<Vec<(Sequence, u64)>, SnapshotError> {
        let gathering = self.changing();
        let Some(Gathering { sequence, leaves }) = gathering.as_ref() else { return Ok(Vec::new()) };
        let named = chunks.iter().filter(|chunk| chunk.sequence == *sequence).filter_map(|chunk| {
            let digest = leaves.get(usize::try_from(chunk.index).ok()?)?;
            Some((chunk.index, (*digest, chunk.content.clone())))
        });
        let (kept, group): (Vec<_>, Vec<_>) = named.unzip();
        self.file().write(|transaction| add(&mut Chunks::open(transaction)?, &group))?;
        Ok(kept.into_iter().map(|index| (*sequence, index)).collect())
    }

    /// Makes the gathering, which is complete, a snapshot. Its chunks stay gathered until a record names the
    /// snapshot, for [`ChunkStore::open`] removes one that none names.
    pub(crate) fn finish(&self, sequence: Sequence) -> Result<(), SnapshotError> {
        let gathering = self.changing();
        let leaves = gathering.as_ref().filter(|it| it.sequence == sequence).map(|it| it.leaves.to_vec());
        let leaves = leaves.ok_or_else(|| self.damaged("the snapshot that was fetched is gone"))?;
        if !self.missing(leaves.iter())?.is_empty() {
            return Err(self.damaged("chunks that were fetched are gone"));
        }
        self.file().write(|transaction| tables::add_snapshot(transaction, sequence, &leaves))?;
        self.snapshots().insert(sequence, Arc::new(Stored::new(sequence, leaves)));
        Ok(())
    }
}
