//! Snapshots on disk: one file for each checkpoint that this replica may have to show (C1).
//!
//! A file is written under another name, synced, renamed and the folder synced, before anybody hears of it (fault 14).
//! Every byte of it is covered: the header by a checksum, the chunks by the Merkle root that CHECKPOINT messages
//! carry. Files that no record in the store names were never announced, and are removed at boot.

mod error;
mod file;
mod header;
mod shelf;
#[cfg(test)]
mod tests;

pub use error::SnapshotError;

pub(crate) use file::{StoredSnapshot, load, write};
pub(crate) use shelf::Shelf;
