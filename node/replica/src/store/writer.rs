//! The thread that owns the store's commits: group commit.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pbft_crypto::mutant;
use pbft_messages::Sequence;
use pbft_protocol::{Effect, Record, WriteId};

use super::StoreError;
use super::batch::Batch;
use super::file::StoreFile;
use super::guard::guard;

/// How long notes wait for a write that takes them along, before they are written by themselves.
const PATIENCE: Duration = Duration::from_millis(100);

/// Orders that wait for the thread. At the bound the driver waits for the disk, which is as it should be.
const QUEUE: usize = 1024;

/// Orders that one transaction takes together at most, so that the first of them does not wait for ever.
const GROUP: usize = 256;

/// And how many bytes of records, besides the last order's.
const GROUP_BYTES: usize = 16 << 20;

/// What comes of orders, in their order.
#[derive(Debug)]
pub(crate) enum Written {
    /// The write and all orders before it are durable; `then` may be carried out now.
    Durable { id: WriteId, then: Vec<Effect> },
    /// A transaction took this long, and covered so many writes.
    Committed { writes: usize, elapsed: Duration },
    /// Durably forgotten through here: files of snapshots below may go, but for those to keep.
    Collected(Sequence, BTreeSet<Sequence>),
    /// Nothing after the last report is durable, and nothing will be (D7).
    Failed(StoreError),
}

/// Where transactions go: the store, or what a test puts in its place.
pub(super) trait Commit: Send + 'static {
    fn folder(&self) -> &Path;
    /// Makes a batch durable.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;
}

impl Commit for StoreFile {
    fn folder(&self) -> &Path {
        StoreFile::folder(self)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        StoreFile::commit(self, batch)
    }
}

enum Order {
    Persist { id: WriteId, records: Vec<Record>, then: Vec<Effect> },
    Note(Vec<Record>),
    Collect { through: Sequence, keep: BTreeSet<Sequence>, stored: bool },
}

/// The handle of the thread. Orders are carried out in the order in which they are given.
#[derive(Debug)]
pub(crate) struct Writer {
    orders: SyncSender<Order>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the thread on an open store. `report` is called on it.
    pub(crate) fn start(
        store: StoreFile,
        report: impl FnMut(Written) + Send + 'static,
    ) -> std::io::Result<Self> {
        Self::start_on(store, report)
    }

    pub(super) fn start_on(
        store: impl Commit,
        report: impl FnMut(Written) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (orders, queue) = sync_channel(QUEUE);
        let thread =
            thread::Builder::new().name("pbft-store".into()).spawn(move || run(store, &queue, report))?;
        Ok(Self { orders, thread })
    }

    /// [`Effect::Persist`].
    pub(crate) fn persist(&self, id: WriteId, records: Vec<Record>, then: Vec<Effect>) {
        self.order(Order::Persist { id, records, then });
    }

    /// [`Effect::Note`].
    pub(crate) fn note(&self, records: Vec<Record>) {
        self.order(Order::Note(records));
    }

    /// [`Effect::Collect`].
    pub(crate) fn collect(&self, through: Sequence, keep: BTreeSet<Sequence>) {
        self.order(Order::Collect { through, keep, stored: true });
    }

    /// As [`Writer::collect`], for a replica that stored nothing of its log: nothing is written, and
    /// [`Written::Collected`] comes all the same.
    pub(crate) fn collect_unstored(&self, through: Sequence, keep: BTreeSet<Sequence>) {
        self.order(Order::Collect { through, keep, stored: false });
    }

    fn order(&self, order: Order) {
        // The thread ends before its handle only after it has reported a failure, which stops the replica.
        let _ = self.orders.send(order);
    }

    /// Writes what is left, closes the store and ends the thread.
    pub(crate) fn stop(self) {
        drop(self.orders);
        // A panic of the thread was reported as a failure by the thread itself.
        let _ = self.thread.join();
    }
}

/// The orders that the next transaction covers.
#[derive(Default)]
struct Group {
    batch: Batch,
    writes: Vec<(WriteId, Vec<Effect>)>,
    /// Through where snapshots' files may go once this is done, and which of them stay.
    collected: Option<(Sequence, BTreeSet<Sequence>)>,
    orders: usize,
    since: Option<Instant>,
}

impl Group {
    fn add(&mut self, order: Order) {
        self.since.get_or_insert_with(Instant::now);
        self.orders += 1;
        match order {
            Order::Persist { id, records, then } => {
                records.iter().for_each(|record| self.batch.write(record));
                self.writes.push((id, then));
            }
            Order::Note(records) => records.iter().for_each(|record| self.batch.write(record)),
            Order::Collect { through, keep, stored } => {
                // Collections come in the order of their sequences.
                self.collected = Some((through, keep));
                if stored {
                    self.batch.collect(through);
                }
            }
        }
    }

    /// Whether it takes no more orders.
    fn is_full(&self) -> bool {
        self.orders >= GROUP || self.batch.bytes() >= GROUP_BYTES
    }

    /// How long the group may wait for more; forever if it is empty.
    fn patience(&self) -> Option<Duration> {
        self.since.map(|since| PATIENCE.saturating_sub(since.elapsed()))
    }
}

fn run(mut store: impl Commit, orders: &Receiver<Order>, mut report: impl FnMut(Written)) {
    let mut group = Group::default();
    loop {
        let next = match group.patience() {
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(patience) => orders.recv_timeout(patience),
        };
        let ended = matches!(next, Err(RecvTimeoutError::Disconnected));
        let late = next.is_err();
        next.into_iter().for_each(|order| group.add(order));
        while !group.is_full()
            && let Ok(order) = orders.try_recv()
        {
            group.add(order);
        }
        if late || !group.writes.is_empty() || group.is_full() {
            let done = std::mem::take(&mut group);
            if let Err(error) = finish(&mut store, done, &mut report) {
                return report(Written::Failed(error));
            }
        }
        if ended {
            return;
        }
    }
}

/// Commits a group, and only then lets go what waited for it.
fn finish(store: &mut impl Commit, group: Group, report: &mut impl FnMut(Written)) -> Result<(), StoreError> {
    let Group { batch, writes, collected, .. } = group;
    let start = Instant::now();
    // A write with nothing in it still waits for those before it, all of which were committed.
    if !batch.is_empty() {
        // redb can panic on pages that are damaged; whatever state that leaves, nothing is written after it.
        let folder = store.folder().to_owned();
        let done = guard(|| store.commit(&batch)).unwrap_or_else(|| {
            Err(StoreError::WriteFailed { folder, why: "the store failed half-way".into() })
        });
        done.or_else(|error| if mutant!("write-error-ignored") { Ok(()) } else { Err(error) })?;
        report(Written::Committed { writes: writes.len(), elapsed: start.elapsed() });
    }
    for (id, then) in writes {
        report(Written::Durable { id, then });
    }
    if let Some((through, keep)) = collected {
        report(Written::Collected(through, keep));
    }
    Ok(())
}
