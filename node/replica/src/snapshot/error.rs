use std::io;
use std::path::PathBuf;

/// Why snapshots cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The operating system refused.
    #[error("snapshots in {}: {source}; check that the disk has room and that this user may write there", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another process has the file open.
    #[error("the snapshots in {} are in use by another process: stop that one first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file has another format.
    #[error(
        "the snapshots in {} have format {found}, and this program reads format {supported}: use the version of pbft-node that wrote them", path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: u32,
        /// This program's.
        supported: u32,
    },
    /// The file is not what the store says it is.
    #[error(
        "the snapshots in {} are damaged ({why}): this replica counts as faulty, one of the f; run `pbft-node recover --unsafe-discard-store`, which keeps the old store and lets the replica rejoin", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
}
