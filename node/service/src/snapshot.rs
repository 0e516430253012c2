use bytes::Bytes;

use pbft_crypto::{Digest, Malformed, MerkleTree};

/// The most bytes that a chunk of a snapshot may have: 1.5 MiB. Replicas fetch chunks one by one, each within a
/// frame.
pub const CHUNK_LIMIT: usize = 3 << 19;

/// A state of a [`Service`](crate::Service) as it was at one moment, whatever is executed since then.
pub trait Snapshot: Send {
    /// The digests of the state's chunks, in order, each made by [`MerkleTree::leaf`]. Asked again, it gives the same.
    ///
    /// Two things are asked of the division into chunks. It depends on the state alone, never on how the state
    /// came about or on what an earlier snapshot looked like: replicas compare a Merkle root over the chunks (C2),
    /// and one that was restored yesterday must find the same root as one that has run for a year. And a small
    /// change of a large state should change few chunks, since unchanged ones need not be stored or fetched again.
    ///
    /// A service with a large state should remember the digests of its last snapshot, and serialize and hash only
    /// what changed since then (C2).
    fn leaves(&mut self) -> Vec<Digest>;

    /// Serializes one chunk: 1 to [`CHUNK_LIMIT`] bytes with the digest `leaves()[index]`. Only chunks that are
    /// stored nowhere yet are asked for.
    ///
    /// `index` must be below the number of leaves.
    fn chunk(&self, index: usize) -> Bytes;

    /// All chunks in order, for states that are small enough to be held twice.
    fn chunks(&mut self) -> Vec<Bytes> {
        (0..self.leaves().len()).map(|index| self.chunk(index)).collect()
    }
}

/// Why a snapshot could not be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The chunks end before the state is complete.
    #[error("the snapshot is incomplete")]
    Incomplete,
    /// A chunk is not in the expected encoding.
    #[error("a chunk of the snapshot is {0}")]
    Malformed(#[from] Malformed),
    /// The snapshot was written by a program with another format.
    #[error("the snapshot has format {found}, this program reads format {supported}")]
    UnsupportedFormat {
        /// The snapshot's format.
        found: u32,
        /// The format that this program reads.
        supported: u32,
    },
    /// The chunks can be read, but what they hold can't be a state of this service.
    #[error("the snapshot contradicts itself or this service's parameters: {0}")]
    Inconsistent(String),
}

/// A snapshot for services with a small state: bytes that were serialized when it was taken, cut into pieces of a
/// fixed size. Bytes inserted at the front change all pieces, so it does not suit states of many megabytes.
#[derive(Clone, Debug)]
pub struct WholeSnapshot {
    state: Bytes,
}

impl WholeSnapshot {
    /// The size of each chunk but the last: 64 KiB.
    const PIECE: usize = 64 << 10;

    /// A snapshot with `state` as its content.
    #[must_use]
    pub fn new(state: impl Into<Bytes>) -> Self {
        Self { state: state.into() }
    }

    /// Puts the chunks of such a snapshot together again; for use in [`Service::restore`](crate::Service::restore).
    ///
    /// # Errors
    /// [`RestoreError::Inconsistent`] as soon as the chunks hold more than `limit` bytes.
    pub fn collect(chunks: &mut dyn Iterator<Item = Bytes>, limit: usize) -> Result<Vec<u8>, RestoreError> {
        let mut state = Vec::new();
        for chunk in chunks {
            if chunk.len() > limit - state.len() {
                return Err(RestoreError::Inconsistent(format!("the state is larger than {limit} bytes")));
            }
            state.extend_from_slice(&chunk);
        }
        Ok(state)
    }
}

impl Snapshot for WholeSnapshot {
    fn leaves(&mut self) -> Vec<Digest> {
        self.state.chunks(Self::PIECE).map(MerkleTree::leaf).collect()
    }

    fn chunk(&self, index: usize) -> Bytes {
        let start = index * Self::PIECE;
        self.state.slice(start..self.state.len().min(start + Self::PIECE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_snapshots_come_back_in_pieces() {
        for length in [0, 1, WholeSnapshot::PIECE, WholeSnapshot::PIECE * 2 + 1] {
            let state: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let mut snapshot = WholeSnapshot::new(state.clone());
            let chunks = snapshot.chunks();
            assert_eq!(chunks.len(), length.div_ceil(WholeSnapshot::PIECE));
            let leaves: Vec<_> = chunks.iter().map(|chunk| MerkleTree::leaf(chunk)).collect();
            assert_eq!(snapshot.leaves(), leaves);
            assert_eq!(WholeSnapshot::collect(&mut chunks.clone().into_iter(), length), Ok(state));
            if length > 0 {
                assert!(WholeSnapshot::collect(&mut chunks.into_iter(), length - 1).is_err());
            }
        }
    }
}
