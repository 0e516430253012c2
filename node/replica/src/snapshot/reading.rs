//! Reading what is stored: for replicas that ask, and for the service.

use bytes::Bytes;

use pbft_crypto::{Digest, MerkleTree};
use pbft_messages::{Chunk, Part, PartId, PeerMessage, Sequence};

use super::tables::Held;
use super::{ChunkStore, SnapshotError};

impl ChunkStore {
    /// What to answer to a replica that asks for a part of a snapshot (C3).
    pub(crate) fn answer(&self, id: PartId) -> PeerMessage {
        let none = PeerMessage::NoSnapshot(id.sequence);
        match self.part(id) {
            Ok(part) => part.unwrap_or(none),
            Err(error) => {
                tracing::error!(sequence = %id.sequence, %error, "a snapshot could not be read");
                none
            }
        }
    }

    fn part(&self, PartId { sequence, part }: PartId) -> Result<Option<PeerMessage>, SnapshotError> {
        let Some(stored) = self.snapshots().get(&sequence).cloned() else { return Ok(None) };
        match part {
            Part::Leaves(page) => Ok(stored.page(page).map(PeerMessage::Leaves)),
            Part::Chunk(index) => {
                let Some(digest) = stored.leaf(index) else { return Ok(None) };
                let content = self.content(digest)?;
                Ok(Some(PeerMessage::Chunk(Chunk { sequence, index, content })))
            }
        }
    }

    /// The chunks of a stored snapshot, in order, read and checked one by one.
    pub(crate) fn chunks(
        &self,
        sequence: Sequence,
    ) -> impl ExactSizeIterator<Item = Result<Bytes, SnapshotError>> + '_ {
        let stored = self.snapshots().get(&sequence).cloned();
        let count = stored.as_ref().map_or(0, |stored| stored.len());
        (0..count).map(move |index| {
            let digest = stored.as_ref().and_then(|stored| stored.leaf(index as u64));
            self.content(digest.ok_or_else(|| self.damaged("a chunk is missing"))?)
        })
    }

    /// The chunk with this digest.
    fn content(&self, digest: &Digest) -> Result<Bytes, SnapshotError> {
        match self.read(digest)? {
            Some(content) if MerkleTree::leaf(&content) == *digest => Ok(content),
            Some(_) => Err(self.damaged("a chunk does not have its digest")),
            None => Err(self.damaged("a chunk is missing")),
        }
    }

    pub(super) fn read(&self, digest: &Digest) -> Result<Option<Bytes>, SnapshotError> {
        self.file().read(|transaction| Held::open(transaction)?.content(digest))
    }
}
