use std::io;
use std::path::PathBuf;

use pbft_messages::Sequence;
use pbft_protocol::{Halt, Unreadable};
use pbft_service::RestoreError;
use pbft_transport::BindError;

use crate::snapshot::SnapshotError;
use crate::store::StoreError;

/// Why a replica did not start, or stopped. Each message is one line that names the thing and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store could not be opened, or a write failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A snapshot could not be read or written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The records are sound as bytes, and are not what a replica of this cluster writes.
    #[error("{}: {source}; this replica counts as faulty, one of the f; run `pbft-node recover --unsafe-discard-store`, which keeps the old store and lets the replica rejoin", folder.display())]
    Records {
        /// The data folder.
        folder: PathBuf,
        /// What is wrong.
        source: Unreadable,
    },
    /// The service does not take a state that has the right root.
    #[error(
        "the service cannot restore the snapshot at sequence {sequence}: {source}; run the version and the service parameters that wrote it"
    )]
    Restore {
        /// The checkpoint's sequence.
        sequence: Sequence,
        /// What the service said.
        source: RestoreError,
    },
    /// A socket could not be opened.
    #[error("the socket for {whom}: {source}")]
    Bind {
        /// For whom it was to be: replicas or clients.
        whom: &'static str,
        /// The reason.
        source: BindError,
    },
    /// The control socket could not be opened.
    #[error("the control socket {}: {source}", path.display())]
    Control {
        /// Where it was to be.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file of events could not be opened.
    #[error("the file of events {}: {source}", path.display())]
    Events {
        /// Where it was to be.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The operating system gave no thread.
    #[error("no thread could be started: {0}; raise the limit of processes")]
    Thread(#[from] io::Error),
    /// The service broke its contract.
    #[error("the service failed while {doing}: {why}; it would fail again at this place, so repair it first")]
    Service {
        /// What it was to do.
        doing: String,
        /// Its panic's message, or the rule that it broke.
        why: String,
    },
    /// The protocol stopped the replica, since going on would not be safe.
    #[error(transparent)]
    Halted(#[from] Halt),
    /// A thread of the replica panicked: an error of this program.
    #[error(
        "the thread {0} panicked: this is an error of pbft-node; its message stands above, please report it"
    )]
    Panicked(&'static str),
    /// A stop in good order did not become durable in time.
    #[error(
        "the last writes did not become durable within {0} seconds; the next start abstains where it must"
    )]
    SlowStop(u64),
}

/// The text of a panic.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}
