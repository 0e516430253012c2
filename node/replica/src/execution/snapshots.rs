//! The thread that turns snapshots into roots and chunks on disk, while the service executes on.
//!
//! Of a key-value store with 1 GiB in values of 16 KiB, and eight random puts a batch, the longest time from giving a
//! batch to its being executed was 11 ms with snapshots and 4 ms without (release build on two cores;
//! `execution/pauses.rs` measures it). Taking a snapshot is a clone; what is left is the contention for the cores. The
//! first snapshot was durable after 9 s, the next ones after 7 s falling to 1 s, by how much had changed.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use pbft_crypto::{Digest, MerkleTree};
use pbft_messages::Sequence;
use pbft_protocol::{AuditId, Input};
use pbft_service::{CHUNK_LIMIT, Snapshot};

use super::{Audits, contained, service};
use crate::RunError;
use crate::inbound::{Event, Inbound};
use crate::snapshot::ChunkStore;

/// Snapshots that wait for the thread. At the bound execution waits, or memory would fill with old states. Only
/// checkpoints wait: a root that somebody asks for while the thread is at work is not computed.
const QUEUE: usize = 2;

/// A state as it was, with the replica's own chunks that go before the service's.
pub(super) struct State {
    pub(super) sequence: Sequence,
    pub(super) ledger: Vec<Bytes>,
    pub(super) handle: Box<dyn Snapshot>,
    /// For whom only the root is computed; `None` for a checkpoint, which is stored.
    pub(super) audit: Option<AuditId>,
}

/// The handle of the thread.
pub(super) struct Snapshots {
    states: SyncSender<State>,
    /// How many states were given and are not done with.
    pending: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What the thread works with.
#[derive(Clone)]
pub(crate) struct Archive {
    pub(crate) chunks: ChunkStore,
    pub(crate) audits: Audits,
    pub(crate) inbound: Inbound,
}

impl Snapshots {
    pub(super) fn start(archive: Archive) -> io::Result<Self> {
        let (states, queue) = sync_channel(QUEUE);
        let (pending, stopping) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (given, stopped) = (Arc::clone(&pending), Arc::clone(&stopping));
        let thread = thread::Builder::new().name("pbft-snapshot".into()).spawn(move || {
            contained("pbft-snapshot", &archive.inbound, || run(&archive, &queue, &given, &stopped));
        })?;
        Ok(Self { states, pending, stopping, thread })
    }

    /// Whether nothing is being made into a snapshot, nor waits for it.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }

    pub(super) fn take(&self, state: State) {
        self.pending.fetch_add(1, Ordering::AcqRel);
        // The thread ends before its handle only after it has reported a failure, which stops the replica.
        let _ = self.states.send(state);
    }

    /// Finishes the snapshot that is being made, drops those that wait, for nobody would announce them, and ends the
    /// thread.
    pub(super) fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        drop(self.states);
        // A panic of the thread was reported as a failure by the thread itself.
        let _ = self.thread.join();
    }
}

fn run(archive: &Archive, states: &Receiver<State>, pending: &AtomicUsize, stopping: &AtomicBool) {
    let mut digests = LedgerDigests::default();
    for mut state in states {
        if stopping.load(Ordering::Acquire) {
            return;
        }
        let made = state.leaves(&mut digests).and_then(|leaves| archive.root(&state, leaves));
        pending.fetch_sub(1, Ordering::AcqRel);
        match (made, state.audit) {
            (Ok(root), Some(id)) => archive.audits.answer(id, state.sequence, root),
            (Ok(root), None) => {
                let sequence = state.sequence;
                archive.inbound.event(Event::Input(Input::SnapshotTaken { sequence, root }));
            }
            (Err(error), _) => return archive.inbound.event(Event::Failed(error)),
        }
    }
}

impl Archive {
    /// The root of a state. A checkpoint's snapshot is durable then (C1).
    fn root(&self, state: &State, leaves: Vec<Digest>) -> Result<Digest, RunError> {
        if state.audit.is_some() {
            return Ok(MerkleTree::new(leaves).root());
        }
        let expected = leaves.clone();
        self.chunks.put(state.sequence, leaves, |index| state.chunk(index, &expected[index]))
    }
}

impl State {
    fn doing(&self) -> impl FnOnce() -> String + use<> {
        let sequence = self.sequence;
        move || format!("taking the snapshot at sequence {sequence}")
    }

    /// The digests of the ledger's chunks and then of the service's.
    fn leaves(&mut self, digests: &mut LedgerDigests) -> Result<Vec<Digest>, RunError> {
        let mut leaves = digests.of(&self.ledger);
        leaves.extend(service(self.doing(), || self.handle.leaves())?);
        Ok(leaves)
    }

    /// A chunk. The service must keep its contract: other replicas fetch what it gives.
    fn chunk(&self, index: usize, digest: &Digest) -> Result<Bytes, RunError> {
        if let Some(chunk) = self.ledger.get(index) {
            return Ok(chunk.clone());
        }
        let index = index - self.ledger.len();
        let chunk = service(self.doing(), || self.handle.chunk(index))?;
        let broke = |why| Err(RunError::Service { doing: self.doing()(), why });
        match chunk.len() {
            1..=CHUNK_LIMIT if MerkleTree::leaf(&chunk) == *digest => Ok(chunk),
            1..=CHUNK_LIMIT => broke(format!("its chunk {index} does not have the digest that it gave")),
            size => broke(format!("it made a chunk of {size} bytes, and 1 to {CHUNK_LIMIT} are allowed")),
        }
    }
}

/// The digests of the last snapshot's ledger: most of its chunks are in the next one too, as the very same bytes. They
/// are kept with the digests, so nothing else can be where they are.
#[derive(Default)]
struct LedgerDigests(HashMap<(usize, usize), (Bytes, Digest)>);

impl LedgerDigests {
    fn of(&mut self, ledger: &[Bytes]) -> Vec<Digest> {
        let mut last = std::mem::take(&mut self.0);
        let leaf = |chunk: &Bytes| {
            let place = (chunk.as_ptr().addr(), chunk.len());
            let known = last.remove(&place).unwrap_or_else(|| (chunk.clone(), MerkleTree::leaf(chunk)));
            let digest = known.1;
            self.0.insert(place, known);
            digest
        };
        ledger.iter().map(leaf).collect()
    }
}
