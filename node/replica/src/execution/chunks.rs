//! The thread that reads parts of snapshots for replicas that fetch the state.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::Semaphore;

use pbft_messages::{PartId, ReplicaId};
use pbft_protocol::Effect;

use super::contained;
use crate::inbound::{Event, Inbound, Room};
use crate::snapshot::ChunkStore;

/// Questions of one replica that wait, here or as answers for the driver: twice as many as a correct one asks at a time.
/// More are dropped, so that one that asks without end costs itself (R3).
const OF_ONE: usize = 16;

/// The handle of the thread. Answers go back to the driver, for the outlet sees all that leaves.
pub(crate) struct ChunkServer {
    questions: Sender<(ReplicaId, PartId, Room)>,
    rooms: Mutex<BTreeMap<ReplicaId, Arc<Semaphore>>>,
    thread: JoinHandle<()>,
}

impl ChunkServer {
    pub(crate) fn start(chunks: ChunkStore, inbound: Inbound) -> io::Result<Self> {
        let (questions, queue) = channel();
        let thread = thread::Builder::new().name("pbft-chunks".into()).spawn(move || {
            contained("pbft-chunks", &inbound, || {
                for (to, id, room) in queue {
                    inbound.event(Event::Answer(Effect::Send { to, message: chunks.answer(id) }, room));
                }
            });
        })?;
        Ok(Self { questions, rooms: Mutex::default(), thread })
    }

    /// [`Effect::ServePart`].
    pub(crate) fn serve(&self, to: ReplicaId, id: PartId) {
        // Nothing under the lock panics half-way, so a poisoned lock still guards a whole table.
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let room = rooms.entry(to).or_insert_with(|| Arc::new(Semaphore::new(OF_ONE)));
        if let Ok(room) = room.clone().try_acquire_owned() {
            // If the thread has ended, the replica stops.
            let _ = self.questions.send((to, id, room));
        }
    }

    pub(crate) fn stop(self) {
        drop(self.questions);
        // A panic of the thread was reported as a failure by the thread itself.
        let _ = self.thread.join();
    }
}
