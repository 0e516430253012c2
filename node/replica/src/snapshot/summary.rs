use std::collections::BTreeMap;

use pbft_crypto::Digest;
use pbft_messages::Sequence;

use super::{ChunkStore, SnapshotError};
use crate::DataFolder;

/// What a stored snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// After which sequence it was taken.
    pub sequence: Sequence,
    /// Its Merkle root.
    pub root: Digest,
    /// How many chunks it has.
    pub chunks: usize,
    /// How many bytes they have together.
    pub bytes: u64,
}

/// Reads the snapshots of a stopped replica that its records name with their roots, and compares each chunk with its
/// digest. An earlier snapshot that is not there is left out.
///
/// # Errors
/// [`SnapshotError`]
pub fn summarize_snapshots(
    folder: &DataFolder,
    named: &BTreeMap<Sequence, Digest>,
) -> Result<Vec<SnapshotSummary>, SnapshotError> {
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let store = ChunkStore::inspect(folder, named)?;
    let mut summaries = Vec::new();
    for (&sequence, &root) in named {
        let mut summary = SnapshotSummary { sequence, root, chunks: 0, bytes: 0 };
        for chunk in store.chunks(sequence) {
            summary.chunks += 1;
            summary.bytes += chunk?.len() as u64;
        }
        summaries.extend(Some(summary).filter(|summary| summary.chunks > 0));
    }
    Ok(summaries)
}
