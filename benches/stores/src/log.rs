//! The floor: records written one after the other to a file that has its length already, and one `fdatasync` a commit.
//! It collects nothing, finds nothing by key, and checks nothing.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::{Outcome, Store, VALUE};

pub struct Log {
    file: File,
    end: u64,
}

/// The key plus one, so that what was never written is no record.
const RECORD: usize = 8 + VALUE;

/// A growing file would have its length written at each sync as well.
const LENGTH: u64 = 64 << 20;

impl Store for Log {
    const NAME: &'static str = "append, sync";

    fn open(folder: &Path) -> Outcome<(Self, usize)> {
        let path = folder.join("log");
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        file.set_len(LENGTH)?;
        file.sync_all()?;
        let content = std::fs::read(&path)?;
        let held = content.chunks_exact(RECORD).take_while(|record| record[..8] != [0; 8]).count();
        Ok((Self { file, end: (held * RECORD) as u64 }, held))
    }

    fn commit(&mut self, records: &[(u64, [u8; VALUE])]) -> Outcome<()> {
        let mut bytes = Vec::with_capacity(records.len() * RECORD);
        for (key, value) in records {
            bytes.extend((key + 1).to_be_bytes());
            bytes.extend(value);
        }
        self.file.write_all_at(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(self.file.sync_data()?)
    }
}
