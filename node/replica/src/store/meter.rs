//! The store by itself, for measurements.

use pbft_crypto::Signer as _;
use pbft_protocol::{Record, initial_records};

use super::batch::Batch;
use super::file::StoreFile;
use super::{Binding, StoreError, create, open};
use crate::folder::DataFolder;
use crate::setup::Identity;

/// A store without a replica, to measure what its commits cost.
#[derive(Debug)]
pub struct StoreMeter(StoreFile);

impl StoreMeter {
    /// Makes the store of a replica that has never run, and opens it.
    ///
    /// # Errors
    /// [`StoreError`]: there is one already, or the folder cannot be written.
    pub fn create(folder: &DataFolder, identity: &Identity) -> Result<Self, StoreError> {
        let binding = Binding::new(identity.configuration(), &identity.key().public_key());
        create(folder, &binding, &initial_records())?;
        Ok(Self(open(folder, &binding)?.file))
    }

    /// Writes records in one transaction; when this returns, they are durable.
    ///
    /// # Errors
    /// [`StoreError::WriteFailed`]
    pub fn commit<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        records.into_iter().for_each(|record| batch.write(record));
        self.0.commit(&batch)
    }
}
