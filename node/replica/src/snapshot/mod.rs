//! Snapshots on disk: one for each checkpoint that this replica may have to show (C1), and what a state transfer has
//! gathered so far (C3).
//!
//! A snapshot is the list of its chunks' digests, and a chunk that several need is held once: of a checkpoint only
//! what changed since the one before is written, and of a state that is fetched only what is not here already. They
//! lie in a redb database of their own, apart from the log's, so that large writes do not hold up its group commit.
//!
//! * A snapshot's entry is written last, in the transaction after which all its chunks are durable, and nobody hears
//!   of it before (fault 14). Entries that no record in the store names were never announced; they, and chunks that
//!   nothing names, are removed at boot (fault 17).
//! * Every chunk is compared with its digest when it is read, and the digests with the root that the store's record
//!   or a certificate names. So the file needs no binding to its cluster and key: the content of any other file is
//!   either the same state or refused. The pages around the chunks have redb's checksums, which boot verifies.

mod error;
mod file;
mod gathering;
mod reading;
mod store;
mod stored;
mod summary;
mod tables;
#[cfg(test)]
mod tests;

pub use error::SnapshotError;
pub use summary::{SnapshotSummary, summarize_snapshots};

pub(crate) use store::ChunkStore;
