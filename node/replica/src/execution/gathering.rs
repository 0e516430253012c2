//! The thread that stores what a state transfer fetches, and removes old snapshots.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use pbft_crypto::Digest;
use pbft_messages::{Chunk, Sequence};
use pbft_protocol::Input;

use super::contained;
use crate::inbound::{Event, Inbound};
use crate::snapshot::{ChunkStore, SnapshotError};

enum Order {
    Gather { sequence: Sequence, leaves: Arc<[Digest]> },
    Keep(Chunk),
    Remove { below: Sequence, keep: BTreeSet<Sequence> },
}

/// The handle of the thread. Orders are carried out as they were given; nobody waits for them. The protocol bounds
/// how many chunks are on their way to the disk, and there is one gathering and one removal a checkpoint.
pub(crate) struct Gatherer {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

impl Gatherer {
    pub(crate) fn start(chunks: ChunkStore, inbound: Inbound) -> io::Result<Self> {
        let (orders, queue) = channel();
        let thread = thread::Builder::new().name("pbft-gather".into()).spawn(move || {
            contained("pbft-gather", &inbound, || {
                if let Err(error) = run(&chunks, &queue, &inbound) {
                    inbound.event(Event::Failed(error.into()));
                }
            });
        })?;
        Ok(Self { orders, thread })
    }

    /// [`pbft_protocol::Effect::Gather`].
    pub(crate) fn gather(&self, sequence: Sequence, leaves: Arc<[Digest]>) {
        // The thread ends before its handle only after it has reported a failure, which stops the replica.
        let _ = self.orders.send(Order::Gather { sequence, leaves });
    }

    /// [`pbft_protocol::Effect::KeepChunk`].
    pub(crate) fn keep(&self, chunk: Chunk) {
        // As above.
        let _ = self.orders.send(Order::Keep(chunk));
    }

    /// What removes the snapshots below a sequence but those to keep, for the log's writer, which knows when. It must
    /// be dropped before [`Gatherer::stop`].
    pub(crate) fn remover(&self) -> impl Fn(Sequence, BTreeSet<Sequence>) + Send + 'static {
        let orders = self.orders.clone();
        move |below, keep| {
            // As above.
            let _ = orders.send(Order::Remove { below, keep });
        }
    }

    /// Finishes what waits and ends the thread.
    pub(crate) fn stop(self) {
        drop(self.orders);
        // A panic of the thread was reported as a failure by the thread itself.
        let _ = self.thread.join();
    }
}

fn run(chunks: &ChunkStore, orders: &Receiver<Order>, inbound: &Inbound) -> Result<(), SnapshotError> {
    while let Ok(first) = orders.recv() {
        let mut queue: VecDeque<_> = std::iter::once(first).chain(orders.try_iter()).collect();
        while let Some(order) = queue.pop_front() {
            match order {
                Order::Gather { sequence, leaves } => {
                    let missing = chunks.gather(sequence, leaves)?;
                    inbound.event(Event::Input(Input::Gathering { sequence, missing }));
                }
                Order::Keep(chunk) => {
                    // One commit for all that have queued up.
                    let mut group = vec![chunk];
                    while let Some(Order::Keep(chunk)) = queue.pop_front_if(|it| matches!(it, Order::Keep(_)))
                    {
                        group.push(chunk);
                    }
                    for (sequence, index) in chunks.keep(&group)? {
                        inbound.event(Event::Input(Input::ChunkKept { sequence, index }));
                    }
                }
                Order::Remove { below, keep } => chunks.remove_below(below, &keep)?,
            }
        }
    }
    Ok(())
}
