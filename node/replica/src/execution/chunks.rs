//! The thread that reads chunks for replicas that fetch the state.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use pbft_messages::{ChunkId, ReplicaId};
use pbft_protocol::Effect;

use crate::inbound::{Event, Inbound};
use crate::snapshot::Shelf;

/// Questions that wait. More are dropped: whoever asked asks again, or another replica.
const QUEUE: usize = 256;

/// The handle of the thread. Answers go back to the driver, for the outlet sees all that leaves.
pub(crate) struct ChunkServer {
    questions: SyncSender<(ReplicaId, ChunkId)>,
    thread: JoinHandle<()>,
}

impl ChunkServer {
    pub(crate) fn start(shelf: Shelf, inbound: Inbound) -> io::Result<Self> {
        let (questions, queue) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("pbft-chunks".into()).spawn(move || {
            for (to, id) in queue {
                inbound.event(Event::Effect(Effect::Send { to, message: shelf.answer(id) }));
            }
        })?;
        Ok(Self { questions, thread })
    }

    /// [`Effect::ServeChunk`].
    pub(crate) fn serve(&self, to: ReplicaId, id: ChunkId) {
        // A full queue drops the question.
        let _ = self.questions.try_send((to, id));
    }

    pub(crate) fn stop(self) {
        drop(self.questions);
        // The thread does not panic; if it did, chunks were missing and nothing else.
        let _ = self.thread.join();
    }
}
