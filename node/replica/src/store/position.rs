//! The position: how many transactions the store has acknowledged, in a file beside it.
//!
//! It is written after each commit and without an fsync, so it costs next to nothing, it is exact unless the machine
//! itself went down, and never ahead of what was durable.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::folder::write_durably;

const LENGTH: usize = 12;

/// The open position file.
#[derive(Debug)]
pub(super) struct Position(File);

/// Makes the file for a new store.
pub(super) fn create(path: &Path, count: u64) -> io::Result<()> {
    write_durably(path, &encode(count))
}

/// Opens the file; with it comes the count, or `None` if the file is damaged.
pub(super) fn open(path: &Path) -> io::Result<(Position, Option<u64>)> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut bytes = Vec::new();
    // One byte more than there should be shows that there is too much.
    file.by_ref().take(LENGTH as u64 + 1).read_to_end(&mut bytes)?;
    Ok((Position(file), decode(&bytes)))
}

impl Position {
    /// Notes that this many transactions are durable. The bytes lie within one sector, so they do not tear.
    pub(super) fn advance(&self, count: u64) -> io::Result<()> {
        self.0.write_all_at(&encode(count), 0)
    }
}

fn encode(count: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(&count.to_le_bytes());
    bytes[8..].copy_from_slice(&crc32fast::hash(&count.to_le_bytes()).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
    let (count, _) = bytes.split_first_chunk()?;
    let count = u64::from_le_bytes(*count);
    (encode(count) == *bytes).then_some(count)
}
