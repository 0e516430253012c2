//! The store of a replica that does not run, for people and tools.

use std::fs;
use std::io;

use redb::{Builder, DatabaseError, ReadOnlyDatabase, StorageBackend as _, backends::InMemoryBackend};

use pbft_crypto::PublicKey;
use pbft_messages::{Configuration, Evidence, ReplicaId};
use pbft_protocol::Record;

use super::boot::guarded;
use super::file::{self, CACHE_BYTES, Content};
use super::{Binding, StoreError, position};
use crate::folder::DataFolder;

/// What the store of a stopped replica holds.
#[derive(Debug)]
pub struct Inspection {
    /// Whose store it is.
    pub replica: ReplicaId,
    /// How many transactions it has seen.
    pub transactions: u64,
    /// All its records, each with a good checksum. The signatures in them are not checked.
    pub records: Vec<Record>,
}

/// Reads the store of a stopped replica of a cluster; the replica's key is not needed. The store stays as it is.
///
/// # Errors
/// [`StoreError`], as at a start; [`StoreError::InUse`] if the replica runs.
pub fn inspect(folder: &DataFolder, configuration: &Configuration) -> Result<Inspection, StoreError> {
    let Content { binding, count, records } = read(folder)?;
    let key = Binding::key_in(&binding, folder.path())?;
    let owner = PublicKey::from_bytes(&key).ok().and_then(|key| Some((key, configuration.replica_of(&key)?)));
    let Some((key, replica)) = owner else {
        return Err(StoreError::Stranger { folder: folder.path().into(), key: hex::encode(key) });
    };
    Binding::new(configuration, &key).check(&binding, folder.path())?;
    let unreadable = |why: String| StoreError::Unreadable { folder: folder.path().into(), why };
    let acknowledged = match position::open(&folder.position()) {
        Ok((_, acknowledged)) => {
            acknowledged.ok_or_else(|| unreadable("store.position is damaged".into()))?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(unreadable("store.position is missing".into()));
        }
        Err(source) => return Err(StoreError::Io { path: folder.position(), source }),
    };
    if count < acknowledged {
        return Err(unreadable(format!("it holds {count} of {acknowledged} acknowledged transactions")));
    }
    Ok(Inspection { replica, transactions: count, records })
}

/// Reads the evidence that a stopped replica has gathered, whichever cluster it is of. The store stays as it is.
///
/// Whoever gets evidence checks it anew: it needs nothing but the cluster's public keys.
///
/// # Errors
/// [`StoreError::Absent`], [`StoreError::InUse`], [`StoreError::Io`] or [`StoreError::Unreadable`].
pub fn read_evidence(folder: &DataFolder) -> Result<Vec<Evidence>, StoreError> {
    let evidence = read(folder)?.records.into_iter().filter_map(|record| match record {
        Record::Evidence(evidence) => Some(evidence),
        _ => None,
    });
    Ok(evidence.collect())
}

/// Reads a store into memory, so that it stays as it is, also that of a killed replica, which redb would repair before
/// it reads it.
fn read(folder: &DataFolder) -> Result<Content, StoreError> {
    let path = folder.store();
    let io = |source| StoreError::Io { path: path.clone(), source };
    if !path.try_exists().map_err(io)? {
        return Err(StoreError::Absent { folder: folder.path().into() });
    }
    guarded(folder, || {
        // Only the lock is looked at: everything else is found again below.
        if let Err(DatabaseError::DatabaseAlreadyOpen) = ReadOnlyDatabase::open(&path) {
            return Err(StoreError::InUse { folder: folder.path().into() });
        }
        let bytes = fs::read(&path).map_err(io)?;
        let unreadable = |why: String| StoreError::Unreadable { folder: folder.path().into(), why };
        let backend = InMemoryBackend::new();
        backend.set_len(bytes.len() as u64).and_then(|()| backend.write(0, &bytes)).map_err(io)?;
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(|error| unreadable(error.to_string()))?;
        file::read(&database).map_err(unreadable)
    })
}
