use std::io;
use std::path::PathBuf;

/// Why a snapshot file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The operating system refused.
    #[error("snapshot {}: {source}; check that the disk has room and that this user may write there", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file is not what the store says it is.
    #[error(
        "snapshot {} is damaged ({why}): this replica counts as faulty, one of the f; run `pbft-node recover --unsafe-discard-store`, which keeps the old store and lets the replica rejoin", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
}
