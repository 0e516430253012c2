//! State transfer (C3): a replica from behind the window fetches a stable checkpoint's snapshot, chunk by chunk.
//! The certificate comes first; every chunk is proven against its root, so a source can delay and cannot lie
//! (fault 35).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use pbft_messages::{Chunk, ChunkId, PeerMessage, Proven, ReplicaId, Sequence, StableCertificate, Timestamp};

use crate::ledger::{Ledger, ledger_chunks};
use crate::replica::Replica;
use crate::{Effect, Effects, Halt, Install, Now, Record, Rejection, Report};

/// How many chunks are asked for at a time.
const OUTSTANDING: usize = 8;

/// After how many statuses without a chunk the next source is asked.
const PATIENCE: u32 = 10;

/// For how long a snapshot is kept after it was last asked for.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// A transfer under way.
#[derive(Debug)]
pub(crate) struct Transfer {
    target: Proven<StableCertificate>,
    source: ReplicaId,
    /// Sources that gave a wrong chunk, none in time, or no longer hold the snapshot.
    dropped: BTreeSet<ReplicaId>,
    /// How many chunks there are; known with the first.
    count: Option<u64>,
    chunks: BTreeMap<u64, Bytes>,
    asked: BTreeSet<u64>,
    quiet_rounds: u32,
    installing: bool,
}

impl Transfer {
    /// The checkpoint that is fetched.
    pub(crate) fn sequence(&self) -> Sequence {
        self.target.get().statement.sequence
    }

    /// Whether everything is fetched, and the service is restoring from it.
    pub(crate) fn is_installing(&self) -> bool {
        self.installing
    }

    /// Asks for chunks until enough are outstanding.
    fn ask(&mut self, effects: &mut Effects) {
        let sequence = self.sequence();
        for index in 0..self.count.unwrap_or(1) {
            if self.asked.len() >= OUTSTANDING {
                return;
            }
            if !self.chunks.contains_key(&index) && self.asked.insert(index) {
                effects.send(self.source, PeerMessage::FetchChunk(ChunkId { sequence, index }));
            }
        }
    }
}

impl Replica {
    /// Starts a transfer when this replica's log cannot bring it to the stable checkpoint, and looks after one.
    pub(crate) fn tick_transfer(&mut self, effects: &mut Effects) {
        match &mut self.transfer {
            Some(transfer) if transfer.installing => {}
            Some(transfer) => {
                transfer.quiet_rounds += 1;
                if transfer.sequence() <= self.last_executed {
                    // The log sufficed after all.
                    self.transfer = None;
                } else if transfer.quiet_rounds > PATIENCE {
                    self.drop_source(effects);
                }
            }
            None => self.try_transfer(effects),
        }
    }

    fn try_transfer(&mut self, effects: &mut Effects) {
        let Some(target) = self.stable.clone() else { return };
        let next = self.last_executed.next();
        let can_execute =
            self.executing.is_some() || self.log.get(next).is_some_and(|slot| slot.decided().is_some());
        if target.get().statement.sequence < next || can_execute {
            return;
        }
        effects.report(Report::TransferStarted { sequence: target.get().statement.sequence });
        self.transfer = Some(Transfer {
            target,
            source: self.other_replica(self.last_executed.0),
            dropped: BTreeSet::new(),
            count: None,
            chunks: BTreeMap::new(),
            asked: BTreeSet::new(),
            quiet_rounds: 0,
            installing: false,
        });
        self.ask_source(effects);
    }

    fn ask_source(&mut self, effects: &mut Effects) {
        if let Some(transfer) = &mut self.transfer {
            transfer.ask(effects);
        }
    }

    /// A source that lies, or gives nothing in time, is asked no more.
    fn drop_source(&mut self, effects: &mut Effects) {
        if let Some(transfer) = &self.transfer {
            effects.report(Report::SourceDropped { replica: transfer.source });
            self.next_source(effects);
        }
    }

    /// Goes on with the next source. When none is left, the whole transfer starts anew, for the newest checkpoint.
    fn next_source(&mut self, effects: &mut Effects) {
        let Some(transfer) = &mut self.transfer else { return };
        transfer.dropped.insert(transfer.source);
        let next = self.configuration.replicas().find(|it| *it != self.me && !transfer.dropped.contains(it));
        match next {
            Some(source) => {
                transfer.source = source;
                transfer.asked.clear();
                transfer.quiet_rounds = 0;
                transfer.ask(effects);
            }
            None => {
                self.transfer = None;
                self.try_transfer(effects);
            }
        }
    }

    /// Another replica asks for a chunk. While it does, its snapshot is kept here though newer ones are stable, so that
    /// a transfer that takes long comes to an end under load.
    pub(crate) fn on_fetch_chunk(&mut self, from: ReplicaId, id: ChunkId, now: Now, effects: &mut Effects) {
        if self.snapshots.contains_key(&id.sequence) {
            self.served.insert(from, (id.sequence, now.instant));
        }
        effects.push(Effect::ServeChunk { to: from, id });
    }

    /// The snapshots below `through` that other replicas are fetching: at most one for each.
    pub(crate) fn snapshots_in_use(&mut self, through: Sequence, now: Now) -> BTreeSet<Sequence> {
        self.served.retain(|_, (_, asked)| now.instant.since(*asked) < KEPT_FOR);
        self.served.values().map(|(sequence, _)| *sequence).filter(|sequence| *sequence < through).collect()
    }

    pub(crate) fn on_no_chunk(&mut self, from: ReplicaId, id: ChunkId, effects: &mut Effects) {
        let asked = |it: &Transfer| !it.installing && it.source == from && it.sequence() == id.sequence;
        if self.transfer.as_ref().is_some_and(asked) {
            // It has a newer one by now, which is no fault.
            self.next_source(effects);
        }
    }

    pub(crate) fn on_chunk(&mut self, from: ReplicaId, chunk: Chunk, effects: &mut Effects) {
        let asked = |it: &Transfer| {
            !it.installing && it.sequence() == chunk.id.sequence && it.asked.contains(&chunk.id.index)
        };
        let Some(transfer) = self.transfer.as_mut().filter(|it| it.source == from && asked(it)) else {
            return self.reject(from, Rejection::Unasked, effects);
        };
        let Chunk { id, count, content, proof } = chunk;
        if !proof.proves(&transfer.target.get().statement.root, id.index, count, &content) {
            self.reject(from, Rejection::WrongChunk, effects);
            return self.drop_source(effects);
        }
        transfer.asked.remove(&id.index);
        transfer.chunks.insert(id.index, content);
        transfer.count = Some(count);
        transfer.quiet_rounds = 0;
        if transfer.chunks.len() as u64 == count {
            self.install(effects);
        } else {
            transfer.ask(effects);
        }
    }

    /// Every chunk is there. Execution stops until the service has them.
    fn install(&mut self, effects: &mut Effects) {
        let Some(transfer) = &mut self.transfer else { return };
        if self.executing.is_some() || transfer.sequence() <= self.last_executed {
            // The log sufficed after all.
            self.transfer = None;
            return;
        }
        let chunks: Vec<_> = std::mem::take(&mut transfer.chunks).into_values().collect();
        let ledger = ledger_chunks(&chunks).and_then(|count| Ok((count, Ledger::from_chunks(&chunks)?)));
        match ledger {
            Ok((ledger_chunks, ledger)) => {
                transfer.installing = true;
                self.ledger = ledger;
                let certificate = transfer.target.clone();
                effects.push(Effect::Install(Install { certificate, chunks, ledger_chunks }));
            }
            Err(error) => {
                let (sequence, why) = (transfer.sequence(), error.to_string());
                self.halt(Halt::UnreadableSnapshot { sequence, why }, effects);
            }
        }
    }

    /// The service runs on the fetched state, and its snapshot is durable here.
    pub(crate) fn on_installed(
        &mut self,
        sequence: Sequence,
        next_deadline: Option<Timestamp>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(transfer) = self.transfer.take_if(|it| it.installing && it.sequence() == sequence) else {
            return;
        };
        let root = transfer.target.get().statement.root;
        self.last_executed = sequence;
        self.snapshots.insert(sequence, root);
        self.set_deadline(next_deadline, now);
        // Nobody here knows which of the waiting requests the state includes: it clears them all (N8).
        self.waiting.clear();
        self.persist(vec![Record::Snapshot(sequence, root)], vec![], None, effects);
        self.collect(now, effects);
        self.watch_window(now);
        self.try_new_view(now, effects);
        effects.report(Report::Transferred { sequence });
    }
}
