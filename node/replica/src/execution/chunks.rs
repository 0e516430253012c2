//! The thread that reads parts of snapshots for replicas that fetch the state.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use pbft_messages::{PartId, ReplicaId};
use pbft_protocol::Effect;

use super::contained;
use crate::inbound::{Event, Inbound};
use crate::snapshot::ChunkStore;

/// Questions that wait. More are dropped: whoever asked asks again, or another replica.
const QUEUE: usize = 256;

/// The handle of the thread. Answers go back to the driver, for the outlet sees all that leaves.
pub(crate) struct ChunkServer {
    questions: SyncSender<(ReplicaId, PartId)>,
    thread: JoinHandle<()>,
}

impl ChunkServer {
    pub(crate) fn start(chunks: ChunkStore, inbound: Inbound) -> io::Result<Self> {
        let (questions, queue) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("pbft-chunks".into()).spawn(move || {
            contained("pbft-chunks", &inbound, || {
                for (to, id) in queue {
                    inbound.event(Event::Effect(Effect::Send { to, message: chunks.answer(id) }));
                }
            });
        })?;
        Ok(Self { questions, thread })
    }

    /// [`Effect::ServePart`].
    pub(crate) fn serve(&self, to: ReplicaId, id: PartId) {
        // A full queue drops the question.
        let _ = self.questions.try_send((to, id));
    }

    pub(crate) fn stop(self) {
        drop(self.questions);
        // A panic of the thread was reported as a failure by the thread itself.
        let _ = self.thread.join();
    }
}
