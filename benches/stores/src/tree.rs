//! redb: a copy-on-write B-tree in one file.

use std::path::Path;

use redb::{Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::{Outcome, Store, VALUE};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

pub struct Tree(Database);

impl Store for Tree {
    const NAME: &'static str = "redb 4.4";

    fn open(folder: &Path) -> Outcome<(Self, usize)> {
        let mut database = Builder::new().set_cache_size(32 << 20).create(folder.join("tree"))?;
        // As the replica does: pages are compared with their checksums, and then every record is read.
        database.check_integrity()?;
        let transaction = database.begin_write()?;
        transaction.open_table(TABLE)?;
        transaction.commit()?;
        let mut held = 0;
        for entry in database.begin_read()?.open_table(TABLE)?.iter()? {
            held += usize::from(entry?.1.value().len() == VALUE);
        }
        Ok((Self(database), held))
    }

    fn commit(&mut self, records: &[(u64, [u8; VALUE])]) -> Outcome<()> {
        let transaction = self.0.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in records {
                table.insert(&key.to_be_bytes()[..], &value[..])?;
            }
        }
        Ok(transaction.commit()?)
    }
}
