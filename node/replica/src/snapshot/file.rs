//! Writing a snapshot file, loading one at boot, and reading single chunks of one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;

use pbft_crypto::{Digest, MerkleTree};
use pbft_messages::{Chunk, ChunkId, Sequence};

use super::SnapshotError;
use super::header::Header;
use crate::folder::{DataFolder, sync_folder, unfinished};

/// A snapshot on disk, with what it takes to hand out its chunks: the file is open, so that a chunk can be read even
/// after the file was removed.
#[derive(Debug)]
pub(crate) struct StoredSnapshot {
    sequence: Sequence,
    tree: MerkleTree,
    /// Where each chunk begins in the file, and where the last one ends.
    offsets: Vec<u64>,
    file: File,
}

/// Writes a snapshot so that it is durable when this returns; in memory mode (`sync` is false) it is only as durable
/// as the machine. A file of the same sequence is replaced.
pub(crate) fn write(
    folder: &DataFolder,
    sequence: Sequence,
    chunks: &[Bytes],
    sync: bool,
) -> Result<StoredSnapshot, SnapshotError> {
    let path = folder.snapshot(sequence);
    let tree = MerkleTree::new(chunks.iter().map(|chunk| MerkleTree::leaf(chunk)).collect());
    // A chunk fits a frame, so its length fits four bytes.
    let lengths = chunks.iter().map(|chunk| chunk.len() as u32).collect();
    let header = Header { sequence, root: tree.root(), lengths };
    let write = || -> io::Result<()> {
        let unfinished = unfinished(&path);
        let mut writer = BufWriter::new(File::create(&unfinished)?);
        writer.write_all(&header.encode())?;
        chunks.iter().try_for_each(|chunk| writer.write_all(chunk))?;
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&unfinished, &path)?;
        if sync { sync_folder(&folder.snapshots()) } else { Ok(()) }
    };
    let io = |source| SnapshotError::Io { path: path.clone(), source };
    write().map_err(io)?;
    let file = File::open(&path).map_err(io)?;
    Ok(StoredSnapshot::new(&header, tree, file))
}

/// Loads the snapshot that a record in the store names, and all of its chunks.
///
/// # Errors
/// [`SnapshotError`] if the file is not there, or is not whole, or does not have this root.
pub(crate) fn load(
    folder: &DataFolder,
    sequence: Sequence,
    root: Digest,
) -> Result<(StoredSnapshot, Vec<Bytes>), SnapshotError> {
    let path = folder.snapshot(sequence);
    let damaged = |why: &str| SnapshotError::Damaged { path: path.clone(), why: why.into() };
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => damaged("it is missing"),
        _ => SnapshotError::Io { path: path.clone(), source },
    };
    let content = Bytes::from(fs::read(&path).map_err(io)?);
    let (header, rest) = Header::decode(&content).map_err(|why| damaged(&why))?;
    let mut rest = content.slice_ref(rest);
    let chunks: Vec<Bytes> = header.lengths.iter().map(|length| rest.split_to(*length as usize)).collect();
    let tree = MerkleTree::new(chunks.iter().map(|chunk| MerkleTree::leaf(chunk)).collect());
    if tree.root() != header.root {
        return Err(damaged("its chunks do not have its root"));
    }
    if (header.sequence, header.root) != (sequence, root) {
        return Err(damaged("it is another snapshot than the store says"));
    }
    let file = File::open(&path).map_err(io)?;
    Ok((StoredSnapshot::new(&header, tree, file), chunks))
}

impl StoredSnapshot {
    fn new(header: &Header, tree: MerkleTree, file: File) -> Self {
        let mut end = header.size();
        let mut offsets = vec![end];
        offsets.extend(header.lengths.iter().map(|length| {
            end += u64::from(*length);
            end
        }));
        Self { sequence: header.sequence, tree, offsets, file }
    }

    /// The checkpoint's sequence.
    pub(crate) fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The Merkle root of the chunks.
    pub(crate) fn root(&self) -> Digest {
        self.tree.root()
    }

    /// Reads a chunk, with the proof that it belongs to the root; `None` if there is no such chunk.
    ///
    /// What is read is not checked again: a chunk that rotted since boot does not match its proof, and whoever asked
    /// for it finds out.
    pub(crate) fn chunk(&self, index: u64) -> io::Result<Option<Chunk>> {
        let Some(place) = usize::try_from(index).ok().filter(|place| *place < self.tree.len()) else {
            return Ok(None);
        };
        let Some(proof) = self.tree.proof(place) else { return Ok(None) };
        let (from, to) = (self.offsets[place], self.offsets[place + 1]);
        let mut content = vec![0; (to - from) as usize];
        self.file.read_exact_at(&mut content, from)?;
        let id = ChunkId { sequence: self.sequence, index };
        Ok(Some(Chunk { id, count: self.tree.len() as u64, content: content.into(), proof }))
    }
}
