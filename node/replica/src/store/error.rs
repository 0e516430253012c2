use std::io;
use std::path::PathBuf;

/// Why a store cannot be made, opened or written. Each message is one line that names the thing and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no store: this is no first start, for that is `init`'s (D6).
    #[error(
        "there is no store in {}: run `pbft-node init` if this replica never ran; if it did, its votes are lost, and `pbft-node recover` lets it rejoin, one of the f that may be faulty until it has", folder.display()
    )]
    Absent {
        /// The data folder.
        folder: PathBuf,
    },
    /// `init` found a store; it never overwrites one.
    #[error("there is a store in {} already: start it, or choose another data folder", folder.display())]
    Exists {
        /// The data folder.
        folder: PathBuf,
    },
    /// `recover` found a store that is sound: its votes are not lost.
    #[error(
        "the store in {} can be read, so this replica's votes are not lost: run `pbft-node start`; only if they are not its latest (an old copy of the disk was restored, say), run `pbft-node recover --unsafe-discard-store`", folder.display()
    )]
    Readable {
        /// The data folder.
        folder: PathBuf,
    },
    /// Another process has the store open.
    #[error("the store in {} is in use by another process: stop that one first", folder.display())]
    InUse {
        /// The data folder.
        folder: PathBuf,
    },
    /// The store was made for another replica, or for another cluster.
    #[error(
        "the store in {} was made for {what} {stored}, and the configuration says {configured}: use the data folder, key and cluster.toml that belong together", folder.display()
    )]
    Mismatch {
        /// The data folder.
        folder: PathBuf,
        /// What differs.
        what: &'static str,
        /// As the store has it.
        stored: String,
        /// As the configuration has it.
        configured: String,
    },
    /// The store is of no replica of the cluster.
    #[error(
        "the store in {} belongs to key {key}, which is no replica's in the cluster file: use the cluster.toml that belongs to it", folder.display()
    )]
    Stranger {
        /// The data folder.
        folder: PathBuf,
        /// The key that the store was made for.
        key: String,
    },
    /// The store has another format.
    #[error(
        "the store in {} has format {found}, and this program reads format {supported}: use the version of pbft-node that wrote it", folder.display()
    )]
    Format {
        /// The data folder.
        folder: PathBuf,
        /// The store's format.
        found: u32,
        /// This program's.
        supported: u32,
    },
    /// The store is damaged: what this replica voted for is not known any more.
    #[error(
        "the store in {} is damaged ({why}): this replica has forgotten votes and counts as faulty, one of the f; run `pbft-node recover`, which keeps the damaged store and lets the replica rejoin", folder.display()
    )]
    Unreadable {
        /// The data folder.
        folder: PathBuf,
        /// What was found.
        why: String,
    },
    /// The replica ran in memory mode and stopped, so it has forgotten its votes (D8).
    #[error(
        "the replica of {} ran in memory mode and stopped: its votes are forgotten, and to start it as if it had cast none could break agreement (rule D8); run `pbft-node recover`, then start it; more than f such restarts at once lose the cluster", folder.display()
    )]
    Forgotten {
        /// The data folder.
        folder: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: {source}; check that the disk has room and that this user may write there", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A write did not become durable (D7).
    #[error(
        "a write to the store in {} failed ({why}): the replica stopped before it could vote on what it could not store; repair the disk or make room, then start it again", folder.display()
    )]
    WriteFailed {
        /// The data folder.
        folder: PathBuf,
        /// What the store said.
        why: String,
    },
}
