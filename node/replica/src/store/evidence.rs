//! The evidence in the store of a replica that does not run.

use std::fs;

use redb::{Builder, StorageBackend as _, backends::InMemoryBackend};

use pbft_messages::Evidence;
use pbft_protocol::Record;

use super::StoreError;
use super::boot::guarded;
use super::file::{self, CACHE_BYTES};
use crate::folder::DataFolder;

/// Reads the evidence that a stopped replica has gathered. The store is read into memory and stays as it is, also
/// that of a killed replica, which redb would repair before it reads it.
///
/// Whoever gets evidence checks it anew: it needs nothing but the cluster's public keys.
///
/// # Errors
/// [`StoreError::Absent`], [`StoreError::Io`] or [`StoreError::Unreadable`]; the last one also if the replica runs
/// and writes meanwhile: ask it over its control socket instead.
pub fn read_evidence(folder: &DataFolder) -> Result<Vec<Evidence>, StoreError> {
    let path = folder.store();
    let io = |source| StoreError::Io { path: path.clone(), source };
    if !path.try_exists().map_err(io)? {
        return Err(StoreError::Absent { folder: folder.path().into() });
    }
    let bytes = fs::read(&path).map_err(io)?;
    let content = guarded(folder, || {
        let unreadable = |why: String| StoreError::Unreadable { folder: folder.path().into(), why };
        let backend = InMemoryBackend::new();
        backend.set_len(bytes.len() as u64).and_then(|()| backend.write(0, &bytes)).map_err(io)?;
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(|error| unreadable(error.to_string()))?;
        file::read(&database).map_err(unreadable)
    })?;
    let evidence = content.records.into_iter().filter_map(|record| match record {
        Record::Evidence(evidence) => Some(evidence),
        _ => None,
    });
    Ok(evidence.collect())
}
