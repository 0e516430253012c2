//! The thread that turns snapshots into bytes, roots and files, while the service executes on.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use pbft_crypto::MerkleTree;
use pbft_messages::Sequence;
use pbft_protocol::{AuditId, Input};
use pbft_service::{CHUNK_LIMIT, Snapshot};

use super::{Audits, contained, service};
use crate::RunError;
use crate::folder::DataFolder;
use crate::inbound::{Event, Inbound};
use crate::snapshot::{self, Shelf};

/// Snapshots that wait for the thread. At the bound execution waits, or memory would fill with old states.
const QUEUE: usize = 2;

/// A state as it was, with the replica's own chunks that go before the service's.
pub(super) struct State {
    pub(super) sequence: Sequence,
    pub(super) ledger: Vec<Bytes>,
    pub(super) handle: Box<dyn Snapshot>,
    /// For whom only the root is computed; `None` for a checkpoint, which goes to a file.
    pub(super) audit: Option<AuditId>,
}

/// The handle of the thread.
pub(super) struct Snapshots {
    states: SyncSender<State>,
    thread: JoinHandle<()>,
}

/// What the thread works with.
#[derive(Clone)]
pub(crate) struct Archive {
    pub(crate) folder: DataFolder,
    pub(crate) shelf: Shelf,
    /// Whether files are synced to disk before they count.
    pub(crate) sync: bool,
    pub(crate) audits: Audits,
    pub(crate) inbound: Inbound,
}

impl Snapshots {
    pub(super) fn start(archive: Archive) -> io::Result<Self> {
        let (states, queue) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("pbft-snapshot".into()).spawn(move || {
            contained("pbft-snapshot", &archive.inbound, || run(&archive, &queue));
        })?;
        Ok(Self { states, thread })
    }

    pub(super) fn take(&self, state: State) {
        // The thread ends before its handle only after it has reported a failure, which stops the replica.
        let _ = self.states.send(state);
    }

    /// Finishes what waits and ends the thread.
    pub(super) fn stop(self) {
        drop(self.states);
        // A panic of the thread was reported as a failure by the thread itself.
        let _ = self.thread.join();
    }
}

fn run(archive: &Archive, states: &Receiver<State>) {
    for state in states {
        let (sequence, audit) = (state.sequence, state.audit);
        let done = chunks(state).and_then(|chunks| match audit {
            Some(id) => {
                let leaves = chunks.iter().map(|chunk| MerkleTree::leaf(chunk)).collect();
                archive.audits.answer(id, sequence, MerkleTree::new(leaves).root());
                Ok(())
            }
            None => archive.keep(sequence, &chunks),
        });
        if let Err(error) = done {
            archive.inbound.event(Event::Failed(error));
            return;
        }
    }
}

impl Archive {
    /// Makes a checkpoint's snapshot durable, and only then says so (C1).
    fn keep(&self, sequence: Sequence, chunks: &[Bytes]) -> Result<(), RunError> {
        let stored = snapshot::write(&self.folder, sequence, chunks, self.sync)?;
        let root = stored.root();
        self.shelf.add(stored);
        self.inbound.event(Event::Input(Input::SnapshotTaken { sequence, root }));
        Ok(())
    }
}

/// The ledger's chunks and then the service's, which must keep the service's contract: other replicas fetch them.
fn chunks(state: State) -> Result<Vec<Bytes>, RunError> {
    let State { sequence, ledger, mut handle, .. } = state;
    let doing = || format!("taking the snapshot at sequence {sequence}");
    let mut chunks = ledger;
    let first = chunks.len();
    service(doing, || chunks.extend(handle.chunks()))?;
    match chunks[first..].iter().find(|chunk| chunk.is_empty() || chunk.len() > CHUNK_LIMIT) {
        None => Ok(chunks),
        Some(chunk) => Err(RunError::Service {
            doing: doing(),
            why: format!("it made a chunk of {} bytes, and 1 to {CHUNK_LIMIT} are allowed", chunk.len()),
        }),
    }
}
