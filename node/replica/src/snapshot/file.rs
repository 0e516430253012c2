//! The file of chunks and snapshots: a redb database, and how it is opened, read and written.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase as _, StorageBackend, TableDefinition,
    WriteTransaction, backends::FileBackend,
};

use super::SnapshotError;
use super::tables;
use crate::folder::{sync_folder, unfinished};
use crate::store::{guard, is_about_the_file};

/// The format that this program writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// At a place that no format will change.
const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");

/// redb's page cache. Chunks are read once, in order, so a small one does.
const CACHE_BYTES: usize = 32 << 20;

/// The open file. Damage of any kind comes out of it as an error, never as a panic.
#[derive(Debug)]
pub(super) struct ChunkFile {
    path: PathBuf,
    database: Database,
}

impl ChunkFile {
    /// Opens the file, or makes an empty one; in memory mode (`sync` is false) nothing waits for the disk.
    pub(super) fn open(path: &Path, sync: bool) -> Result<Self, SnapshotError> {
        let io = |source| SnapshotError::Io { path: path.into(), source };
        if !path.try_exists().map_err(io)? {
            Self::create(path)?;
        }
        Self::open_existing(path, sync)
    }

    /// Opens the file, which must be there.
    pub(super) fn open_existing(path: &Path, sync: bool) -> Result<Self, SnapshotError> {
        let database = judge(path, guard(|| sound(path, sync)))?;
        let file = Self { path: path.into(), database };
        match file
            .read(|transaction| Ok(transaction.open_table(META)?.get("format")?.map(|it| it.value())))?
        {
            Some(FORMAT) => Ok(file),
            Some(found) => Err(SnapshotError::Format { path: path.into(), found, supported: FORMAT }),
            None => Err(file.damaged("it has no format")),
        }
    }

    /// Makes an empty file under another name first: one that a crash left half-made is none (fault 14).
    fn create(path: &Path) -> Result<(), SnapshotError> {
        let io = |source| SnapshotError::Io { path: path.into(), source };
        let unfinished = unfinished(path);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let made = guard(|| -> Result<(), redb::Error> {
            let database = Builder::new().set_cache_size(CACHE_BYTES).create(&unfinished)?;
            let transaction = database.begin_write()?;
            transaction.open_table(META)?.insert("format", FORMAT)?;
            tables::create(&transaction)?;
            Ok(transaction.commit()?)
        });
        judge(path, made)?;
        fs::rename(&unfinished, path).map_err(io)?;
        sync_folder(path.parent().unwrap_or(Path::new("."))).map_err(io)
    }

    /// Reads in one transaction.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, SnapshotError> {
        judge(&self.path, guard(|| work(&self.database.begin_read()?)))
    }

    /// Writes in one transaction; when this returns, it is on disk.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, SnapshotError> {
        // Immediate durability, an fsync, is redb's default.
        let written = guard(|| {
            let transaction = self.database.begin_write()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        });
        match written {
            Some(Err(redb::Error::Io(source))) => Err(SnapshotError::Io { path: self.path.clone(), source }),
            written => judge(&self.path, written),
        }
    }

    /// The error that says that the file is damaged.
    pub(super) fn damaged(&self, why: impl Into<String>) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.clone(), why: why.into() }
    }
}

/// The database, once all its pages were found to match their checksums.
fn sound(path: &Path, sync: bool) -> Result<Database, redb::Error> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let mut database = if sync {
        builder.open(path)?
    } else {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        builder.create_with_backend(Unsynced(FileBackend::new(file)?))?
    };
    match database.check_integrity() {
        Ok(true) => Ok(database),
        Ok(false) => Err(redb::Error::Corrupted("its pages do not match their checksums".into())),
        Err(error) => Err(error.into()),
    }
}

/// What came of a piece of work on the file.
fn judge<T>(path: &Path, done: Option<Result<T, redb::Error>>) -> Result<T, SnapshotError> {
    let damaged = |why| SnapshotError::Damaged { path: path.into(), why };
    match done {
        Some(Ok(value)) => Ok(value),
        Some(Err(redb::Error::DatabaseAlreadyOpen)) => Err(SnapshotError::InUse { path: path.into() }),
        Some(Err(redb::Error::PreviousIo)) => {
            let source = io::Error::other("an earlier write failed");
            Err(SnapshotError::Io { path: path.into(), source })
        }
        // What the operating system says of the file as a whole is no damage; what redb finds inside is.
        Some(Err(redb::Error::Io(source))) if is_about_the_file(&source) => {
            Err(SnapshotError::Io { path: path.into(), source })
        }
        Some(Err(other)) => Err(damaged(other.to_string())),
        None => Err(damaged("reading it fails half-way".into())),
    }
}

/// A file for memory mode: what is written to it need not survive the machine.
#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}
