//! Carrying effects out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pbft_messages::{
    ClientId, Evidence, Outcome, PeerMessage, ReadAnswer, ReplicaMessage, Reply, RequestNumber, SessionId,
    codec,
};
use pbft_protocol::{Effect, Input, Record, WriteId};
use pbft_transport::{ClientListener, Lane, PeerNetwork};

use super::Driver;
use crate::events::EventLog;
use crate::execution::{ChunkServer, Executor, Gatherer};
use crate::store::Writer;
use crate::verify::Sessions;
use crate::{Durability, RunError};

/// Everything that effects reach.
pub(crate) struct World {
    pub(crate) network: PeerNetwork,
    pub(crate) listener: ClientListener,
    pub(crate) sessions: Sessions,
    pub(crate) writer: Writer,
    pub(crate) durability: Durability,
    pub(crate) executor: Executor,
    pub(crate) chunks: ChunkServer,
    pub(crate) gatherer: Gatherer,
    pub(crate) events: EventLog,
    pub(crate) evidence: EvidenceBook,
}

/// Replies that go in one frame, by the size of their results. One larger result goes in a frame of its own.
const REPLY_BYTES: usize = 256 << 10;

impl World {
    /// Lets the threads finish what they were given, and ends them.
    pub(super) fn stop(self) {
        self.executor.stop();
        self.chunks.stop();
        self.writer.stop();
        self.gatherer.stop();
    }

    fn send_to_client(&self, client: ClientId, session: SessionId, message: &ReplicaMessage) {
        let connections = self.sessions.connections(client, session);
        if connections.is_empty() {
            // The client is connected elsewhere, or gone; it asks again if it still wants to know.
            return;
        }
        let frame = bytes::Bytes::from(codec::encode(message));
        for connection in connections {
            self.listener.send(connection, frame.clone());
        }
    }

    fn reply(&self, client: ClientId, session: SessionId, replies: Vec<Reply>) {
        let (mut frame, mut bytes) = (Vec::new(), 0);
        for reply in replies {
            let size = match &reply.outcome {
                Outcome::Executed(result) => result.len(),
                Outcome::Opened | Outcome::Refused(_) => 0,
            };
            if bytes + size > REPLY_BYTES && !frame.is_empty() {
                let full = std::mem::take(&mut frame);
                self.send_to_client(client, session, &ReplicaMessage::Replies(full));
                bytes = 0;
            }
            bytes += size;
            frame.push(reply);
        }
        if !frame.is_empty() {
            self.send_to_client(client, session, &ReplicaMessage::Replies(frame));
        }
    }

    fn answer_read(&self, client: ClientId, session: SessionId, answer: ReadAnswer) {
        self.send_to_client(client, session, &ReplicaMessage::Read(answer));
    }

    fn busy(&self, client: ClientId, session: SessionId, first: RequestNumber) {
        self.send_to_client(client, session, &ReplicaMessage::Busy { session, first });
    }
}

impl Driver {
    /// Carries out one effect that has passed the outlet.
    pub(super) fn carry_out(&mut self, effect: Effect) -> Result<(), RunError> {
        let world = &self.world;
        match effect {
            Effect::Send { to, message } => world.network.send(to, lane(&message), message.encode()),
            // Encoded once, however many replicas there are.
            Effect::Broadcast(message) => world.network.broadcast(lane(&message), message.encode()),
            Effect::Persist { id, records, then } => return self.persist(id, records, then),
            Effect::Note(records) => self.note(records),
            Effect::Collect { through, keep } => match world.durability {
                Durability::Sync => world.writer.collect(through, keep),
                Durability::Memory => world.writer.collect_unstored(through, keep),
            },
            Effect::SetTimer { timer, at } => self.timers.set(timer, at),
            Effect::Execute(execution) => world.executor.execute(execution),
            Effect::Snapshot { sequence, ledger } => world.executor.snapshot(sequence, ledger),
            Effect::Audit { id, sequence, ledger } => world.executor.audit(id, sequence, ledger),
            Effect::ServePart { to, id } => world.chunks.serve(to, id),
            Effect::Gather { sequence, leaves } => world.gatherer.gather(sequence, leaves),
            Effect::KeepChunk(chunk) => world.gatherer.keep(chunk),
            Effect::Install(certificate) => world.executor.install(certificate.get().statement.sequence),
            Effect::Reply { client, session, replies } => world.reply(client, session, replies),
            Effect::Busy { client, session, first } => world.busy(client, session, first),
            Effect::Query(query) => world.executor.query(query),
            Effect::AnswerRead { client, session, answer } => world.answer_read(client, session, answer),
            Effect::Report(report) => world.events.record(self.clock.now().wall, report),
            Effect::Halt(halt) => return Err(halt.into()),
        }
        Ok(())
    }

    fn persist(&mut self, id: WriteId, records: Vec<Record>, then: Vec<Effect>) -> Result<(), RunError> {
        self.issued = id;
        match self.world.durability {
            Durability::Sync => {
                self.world.evidence.add(&records);
                self.world.writer.persist(id, records, then);
                Ok(())
            }
            // Nothing is stored, so nothing is waited for (D8).
            Durability::Memory => {
                self.note(records);
                self.durable = id;
                self.local.push_back(Input::Durable(id));
                then.into_iter().try_for_each(|effect| self.carry_out(effect))
            }
        }
    }

    fn note(&mut self, mut records: Vec<Record>) {
        self.world.evidence.add(&records);
        if self.world.durability == Durability::Memory {
            // Evidence is kept in either mode: it is about others, and true whatever this replica forgets.
            records.retain(|record| matches!(record, Record::Evidence(_)));
        }
        if !records.is_empty() {
            self.world.writer.note(records);
        }
    }
}

fn lane(message: &PeerMessage) -> Lane {
    if message.is_bulk() { Lane::Bulk } else { Lane::Votes }
}

/// The evidence that this replica holds, for the control socket. Cloning gives another handle on it.
#[derive(Clone, Default)]
pub(crate) struct EvidenceBook(Arc<Mutex<BTreeMap<Vec<u8>, Evidence>>>);

impl EvidenceBook {
    /// Adds the evidence among records.
    pub(crate) fn add(&self, records: &[Record]) {
        for record in records {
            if let Record::Evidence(evidence) = record {
                self.book().insert(record.key(), evidence.clone());
            }
        }
    }

    /// All evidence.
    pub(crate) fn list(&self) -> Vec<Evidence> {
        self.book().values().cloned().collect()
    }

    fn book(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Evidence>> {
        // Nothing under the lock panics half-way, so a poisoned lock still guards a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
