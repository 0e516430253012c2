mod damage;
mod gathering;
mod keeping;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use bytes::Bytes;

use pbft_crypto::{Digest, MerkleTree};
use pbft_messages::{Part, PartId, PeerMessage, Sequence};

use super::tables::{Chunks, Held};
use super::{ChunkStore, SnapshotError};
use crate::folder::DataFolder;

const AT: Sequence = Sequence(8);

/// A data folder that goes away after the test.
struct Folder {
    _temporary: tempfile::TempDir,
    folder: DataFolder,
}

impl Folder {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::new(temporary.path().join("data"));
        folder.create().unwrap();
        Self { _temporary: temporary, folder }
    }

    /// What a machine that lost power now would find, as far as it was written.
    fn killed(&self) -> Self {
        let copy = Self::new();
        fs::copy(self.folder.chunks(), copy.folder.chunks()).unwrap();
        copy
    }

    /// Opens the store as after a run whose records name these snapshots.
    fn open(&self, named: &[(Sequence, Digest)]) -> Result<ChunkStore, SnapshotError> {
        ChunkStore::open(&self.folder, &BTreeMap::from_iter(named.iter().copied()), true)
    }
}

/// Chunks of different contents and sizes.
fn contents(which: impl IntoIterator<Item = u64>) -> Vec<Bytes> {
    let content = |number: u64| vec![number as u8; 1000 + 7 * number as usize].into();
    which.into_iter().map(content).collect()
}

fn leaves(contents: &[Bytes]) -> Vec<Digest> {
    contents.iter().map(|content| MerkleTree::leaf(content)).collect()
}

/// Stores a snapshot; gives its root and the chunks that were asked for.
fn put(store: &ChunkStore, sequence: Sequence, contents: &[Bytes]) -> (Digest, Vec<usize>) {
    let mut asked = Vec::new();
    let root = store.put(sequence, leaves(contents), |index| -> Result<_, SnapshotError> {
        asked.push(index);
        Ok(contents[index].clone())
    });
    (root.unwrap(), asked)
}

fn read(store: &ChunkStore, sequence: Sequence) -> Result<Vec<Bytes>, SnapshotError> {
    store.chunks(sequence).collect()
}

fn serves(store: &ChunkStore, sequence: Sequence, index: u64) -> bool {
    matches!(store.answer(PartId { sequence, part: Part::Chunk(index) }), PeerMessage::Chunk(_))
}

/// How many chunks are held.
fn held(store: &ChunkStore) -> usize {
    let all = |transaction: &redb::ReadTransaction| Held::open(transaction)?.unnamed(&Default::default());
    store.file().read(all).unwrap().len()
}

impl ChunkStore {
    /// Puts another content in the place of a chunk's, as a disk that rots would.
    pub(crate) fn rot(&self, content: &Bytes) {
        let digest = MerkleTree::leaf(content);
        let replace = |transaction: &redb::WriteTransaction| {
            let mut chunks = Chunks::open(transaction)?;
            chunks.remove(&digest)?;
            chunks.add(&digest, b"rotted")
        };
        self.file().write(replace).unwrap();
    }
}
