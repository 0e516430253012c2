//! Making a store, and opening one: absent, valid and unreadable are told apart (D6).

use std::fs;
use std::io;

use redb::{Builder, Database, DatabaseError, StorageError};

use pbft_protocol::Record;

use super::file::{self, BINDING, CACHE_BYTES, COUNT, StoreFile, TABLE};
use super::guard::guard;
use super::{Binding, StoreError, position, record_bytes};
use crate::folder::{DataFolder, sync_folder, unfinished, write_durably};

/// A store that is sound, and all that it holds.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: StoreFile,
    pub(crate) records: Vec<Record>,
}

/// Makes a store with its first records. After a crash within, there is no store, and this can be called again.
///
/// # Errors
/// [`StoreError::Exists`] if there is one; [`StoreError::Io`].
pub(crate) fn create(folder: &DataFolder, binding: &Binding, records: &[Record]) -> Result<(), StoreError> {
    let path = folder.store();
    let failed = |source| StoreError::Io { path: path.clone(), source };
    if path.try_exists().map_err(failed)? || folder.memory_mark().try_exists().map_err(failed)? {
        return Err(StoreError::Exists { folder: folder.path().into() });
    }
    write_new(folder, binding, records)
}

/// Writes a store, whether or not there is one. It is there whole, or not at all.
pub(super) fn write_new(
    folder: &DataFolder,
    binding: &Binding,
    records: &[Record],
) -> Result<(), StoreError> {
    let path = folder.store();
    let failed = |source| StoreError::Io { path: path.clone(), source };
    folder.create().map_err(|source| StoreError::Io { path: folder.path().into(), source })?;
    let unfinished = unfinished(&path);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let database = Builder::new().set_cache_size(CACHE_BYTES).create(&unfinished);
    let write = |database: &Database| -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            let mut batch = super::batch::Batch::default();
            records.iter().for_each(|record| batch.write(record));
            for (key, value) in batch.records() {
                table.insert(key, value)?;
            }
            table.insert(BINDING, &record_bytes::seal(BINDING, &binding.encode())[..])?;
            table.insert(COUNT, &record_bytes::seal(COUNT, &1u64.to_le_bytes())[..])?;
        }
        Ok(transaction.commit()?)
    };
    let database = database.map_err(|error| failed(io_error(error.into())))?;
    write(&database).map_err(|error| failed(io_error(error)))?;
    drop(database);
    // The store's own name comes last: while it is absent, nothing of this counts.
    position::create(&folder.position(), 1).map_err(failed)?;
    fs::rename(&unfinished, &path).map_err(failed)?;
    sync_folder(folder.path()).map_err(failed)
}

/// Opens a store, locks it, and reads and checks all of it.
///
/// # Errors
/// [`StoreError`], telling a store that is absent from one that is in use, someone else's, or unreadable.
pub(crate) fn open(folder: &DataFolder, binding: &Binding) -> Result<Opened, StoreError> {
    let mark = folder.memory_mark();
    if mark.try_exists().map_err(|source| StoreError::Io { path: mark, source })? {
        return Err(StoreError::Forgotten { folder: folder.path().into() });
    }
    open_whatever_ran(folder, binding)
}

/// As [`open`], also after a run in memory mode.
pub(super) fn open_whatever_ran(folder: &DataFolder, binding: &Binding) -> Result<Opened, StoreError> {
    let path = folder.store();
    let io = |source| StoreError::Io { path: path.clone(), source };
    if !path.try_exists().map_err(io)? {
        return Err(StoreError::Absent { folder: folder.path().into() });
    }
    let (database, content) = guarded(folder, || {
        let mut database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .open(&path)
            .map_err(|error| opening_failed(folder, error))?;
        let unreadable = |why| StoreError::Unreadable { folder: folder.path().into(), why };
        match database.check_integrity() {
            Ok(true) => {}
            Ok(false) => return Err(unreadable("its pages do not match their checksums".into())),
            Err(error) => return Err(opening_failed(folder, error)),
        }
        let content = file::read(&database).map_err(unreadable)?;
        Ok((database, content))
    })?;
    let unreadable = |why: &str| StoreError::Unreadable { folder: folder.path().into(), why: why.into() };
    binding.check(&content.binding, folder.path())?;
    let (position, acknowledged) = match position::open(&folder.position()) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(unreadable("store.position is missing"));
        }
        Err(source) => return Err(StoreError::Io { path: folder.position(), source }),
    };
    let acknowledged = acknowledged.ok_or_else(|| unreadable("store.position is damaged"))?;
    if content.count < acknowledged {
        return Err(unreadable(&format!(
            "it holds {} of the {acknowledged} transactions that it acknowledged",
            content.count
        )));
    }
    let file = StoreFile { folder: folder.path().into(), database, position, count: content.count };
    Ok(Opened { file, records: content.records })
}

/// Does what touches a file that may be damaged, where a panic is one more way to say so.
pub(super) fn guarded<T>(
    folder: &DataFolder,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let why = "reading it fails half-way".into();
    guard(work).unwrap_or_else(|| Err(StoreError::Unreadable { folder: folder.path().into(), why }))
}

fn opening_failed(folder: &DataFolder, error: DatabaseError) -> StoreError {
    let folder_path = folder.path().to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { folder: folder_path },
        // What the operating system says of the file as a whole is no damage; what redb finds inside is.
        DatabaseError::Storage(StorageError::Io(source)) if is_about_the_file(&source) => {
            StoreError::Io { path: folder.store(), source }
        }
        other => StoreError::Unreadable { folder: folder_path, why: other.to_string() },
    }
}

/// Whether an error says something of a file as a whole, rather than of what is in it.
pub(crate) fn is_about_the_file(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, OutOfMemory, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), NotFound | PermissionDenied | StorageFull | ReadOnlyFilesystem | OutOfMemory)
}

fn io_error(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// Leaves the mark of memory mode, durably, before the first vote: whatever runs from this folder after it has
/// forgotten what was voted for (D8).
pub(crate) fn mark_memory_mode(folder: &DataFolder) -> Result<(), StoreError> {
    let path = folder.memory_mark();
    let text = b"This replica ran in memory mode: it voted without storing its votes.\n";
    write_durably(&path, text).map_err(|source| StoreError::Io { path, source })
}
