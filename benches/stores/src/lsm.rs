//! fjall: a log-structured merge tree behind a journal.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::{Outcome, Store, VALUE};

pub struct Lsm {
    database: Database,
    records: Keyspace,
}

impl Store for Lsm {
    const NAME: &'static str = "fjall 3.1";

    fn open(folder: &Path) -> Outcome<(Self, usize)> {
        let database = Database::builder(folder.join("lsm")).open()?;
        let records = database.keyspace("records", KeyspaceCreateOptions::default)?;
        let mut held = 0;
        for entry in records.iter() {
            held += usize::from(entry.into_inner()?.1.len() == VALUE);
        }
        Ok((Self { database, records }, held))
    }

    fn commit(&mut self, records: &[(u64, [u8; VALUE])]) -> Outcome<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in records {
            batch.insert(&self.records, key.to_be_bytes(), value);
        }
        Ok(batch.commit()?)
    }
}
