//! The open store: one redb table, and the position beside it.

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use pbft_protocol::Record;

use super::batch::Batch;
use super::position::Position;
use super::{StoreError, record_bytes};

pub(super) const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// The key of the binding. Keys of records start with a byte above 0, so these two are the store's own.
pub(super) const BINDING: &[u8] = &[0, 0];
/// The key of the number of transactions.
pub(super) const COUNT: &[u8] = &[0, 1];

/// redb's page cache. The store is read at boot only, so a small one does.
pub(super) const CACHE_BYTES: usize = 32 << 20;

/// A store that is open and was found sound.
#[derive(Debug)]
pub(crate) struct StoreFile {
    pub(super) folder: PathBuf,
    pub(super) database: Database,
    pub(super) position: Position,
    pub(super) count: u64,
}

impl StoreFile {
    /// Where the store is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a batch; when this returns, it is on disk.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let count = self.count + 1;
        self.write(batch, count).map_err(|error| StoreError::WriteFailed {
            folder: self.folder.clone(),
            why: error.to_string(),
        })?;
        self.count = count;
        self.position.advance(count).map_err(|error| StoreError::WriteFailed {
            folder: self.folder.clone(),
            why: format!("its position: {error}"),
        })
    }

    fn write(&self, batch: &Batch, count: u64) -> Result<(), redb::Error> {
        // Immediate durability, an fsync, is redb's default and what this store is for.
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (from, to) in batch.forgotten() {
                table.retain_in(&from[..]..&to[..], |_, _| false)?;
            }
            for (key, value) in batch.records() {
                table.insert(key, value)?;
            }
            let sealed = record_bytes::seal(COUNT, &count.to_le_bytes());
            table.insert(COUNT, &sealed[..])?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Everything in a table, each piece checked.
pub(super) struct Content {
    pub(super) binding: Vec<u8>,
    pub(super) count: u64,
    pub(super) records: Vec<Record>,
}

/// Reads the whole table. The error says what is damaged.
pub(super) fn read(database: &Database) -> Result<Content, String> {
    let (mut binding, mut count, mut records) = (None, None, Vec::new());
    let failed = |error: redb::Error| error.to_string();
    let transaction = database.begin_read().map_err(|error| failed(error.into()))?;
    let table = transaction.open_table(TABLE).map_err(|error| failed(error.into()))?;
    for entry in table.iter().map_err(|error| failed(error.into()))? {
        let (key, value) = entry.map_err(|error| failed(error.into()))?;
        match key.value() {
            BINDING => binding = Some(record_bytes::unseal(BINDING, value.value())?.to_vec()),
            COUNT => {
                let bytes = record_bytes::unseal(COUNT, value.value())?;
                count = Some(u64::from_le_bytes(bytes.try_into().map_err(|_| "its count is cut short")?));
            }
            key => records.push(record_bytes::read(key, value.value())?),
        }
    }
    let binding = binding.ok_or("it does not say whose it is")?;
    let count = count.ok_or("it does not say how far it has come")?;
    Ok(Content { binding, count, records })
}
