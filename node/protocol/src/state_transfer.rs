//! State transfer (C3): a replica from behind the window, or with an empty disk, fetches a stable checkpoint's snapshot.
//!
//! The certificate comes first. Then the digests of the snapshot's chunks, page by page, each page proven against the
//! certified root. Then the chunks that are not held already, from several replicas at a time, each compared with its
//! digest; so a source can delay and cannot lie (fault 35). A chunk that was kept stays kept, whatever becomes of the
//! transfer: after a restart, or for a newer checkpoint, only what is missing is fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use pbft_crypto::{Digest, MerkleTree, mutant};
use pbft_messages::{
    Chunk, LeafPage, Part, PartId, PeerMessage, Proven, ReplicaId, Sequence, StableCertificate, Timestamp,
};

use crate::ledger::Ledger;
use crate::replica::Replica;
use crate::{Effect, Effects, Halt, Now, Record, Rejection, Report, Transferring};

/// How many parts each source is asked for at a time.
const OUTSTANDING: usize = 8;

/// How many chunks may be on their way to the disk. While there are more, none are asked for.
const KEEPING: usize = 32;

/// After how many statuses without a part a source is dropped, at first and at most: a source that is silent on purpose may
/// be the last one, while the others hold a newer snapshot only.
const PATIENCE: (u32, u32) = (10, 40);

/// After how many statuses without a part a source is asked again. In a transfer this doubles each time: where a line is
/// slow, nothing was lost, and each part that comes twice takes the time of one that is missing.
const AGAIN: u32 = 5;

/// For how many statuses a transfer from f sources or fewer goes on, at first.
const FEW: u32 = 40;

/// For how long a snapshot is kept after it was last asked for.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// A transfer under way.
#[derive(Debug)]
pub(crate) struct Transfer {
    target: Proven<StableCertificate>,
    /// Whom to ask. Those that gave a wrong part, none in time, or no longer hold the snapshot are gone from here.
    sources: BTreeMap<ReplicaId, Source>,
    /// Whether one of those gave none in time.
    lost_to_quiet: bool,
    /// At how many statuses f sources or fewer owed a part, and there were no others.
    few_rounds: u32,
    stage: Stage,
}

/// How much is borne of sources, in statuses. A state that was installed brings both back.
#[derive(Debug)]
pub(crate) struct SourcePatience {
    /// How many they may let pass without a part. It doubles each time that a transfer that lost some to it ends without
    /// a state, however it lost the others, for it may be the lines that take longer.
    quiet: u32,
    /// For how many a transfer goes on when f sources or fewer are left: they may all be liars that drip, while the others
    /// hold a newer snapshot. It doubles each time that a transfer ends so, without end, for they may be correct and slow,
    /// and the only ones that hold what is asked for.
    few: u32,
}

impl Default for SourcePatience {
    fn default() -> Self {
        Self { quiet: PATIENCE.0, few: FEW }
    }
}

/// A replica that is asked.
#[derive(Debug)]
struct Source {
    asked: BTreeSet<Part>,
    /// How many statuses ago it last gave something that it was asked for.
    quiet_rounds: u32,
    /// After how many of them it is asked again.
    again: u32,
    /// How many answers may come from it that are of no use, for it was asked again, or with all others for the first page.
    /// They take a slow line's time, in which the source is not silent.
    spare: u32,
}

impl Default for Source {
    fn default() -> Self {
        Self { asked: BTreeSet::new(), quiet_rounds: 0, again: AGAIN, spare: 1 }
    }
}

/// How far a transfer has come.
#[derive(Debug)]
enum Stage {
    /// The digests of the chunks are fetched. How many there are is known with the first page.
    Leaves { count: Option<u64>, pages: BTreeMap<u64, Vec<Digest>> },
    /// The driver looks which of the chunks it holds.
    Gathering(Arc<[Digest]>),
    /// The others are fetched: `missing` has not come, `keeping` is on its way to the disk.
    Chunks { leaves: Arc<[Digest]>, missing: BTreeSet<u64>, keeping: BTreeSet<u64> },
    /// The service is restoring from all of them.
    Installing { chunks: u64 },
}

impl Transfer {
    fn new(target: Proven<StableCertificate>, sources: impl Iterator<Item = ReplicaId>) -> Self {
        Self {
            target,
            sources: sources.map(|replica| (replica, Source::default())).collect(),
            lost_to_quiet: false,
            few_rounds: 0,
            stage: Stage::Leaves { count: None, pages: BTreeMap::new() },
        }
    }

    /// How many parts the source is asked for that is asked for most, and how many are on their way to the disk.
    pub(crate) fn under_way(&self) -> (usize, usize) {
        let asked = self.sources.values().map(|source| source.asked.len()).max();
        let keeping = match &self.stage {
            Stage::Chunks { keeping, .. } => keeping.len(),
            _ => 0,
        };
        (asked.unwrap_or(0), keeping)
    }

    /// The checkpoint that is fetched.
    fn sequence(&self) -> Sequence {
        self.target.get().statement.sequence
    }

    /// Whether the service is restoring.
    pub(crate) fn is_installing(&self) -> bool {
        matches!(self.stage, Stage::Installing { .. })
    }

    /// For people: how much there is, and how much of it is held.
    pub(crate) fn progress(&self) -> Transferring {
        let (chunks, held) = match &self.stage {
            Stage::Leaves { count, .. } => (*count, 0),
            Stage::Gathering(leaves) => (Some(leaves.len() as u64), 0),
            Stage::Chunks { leaves, missing, keeping } => {
                let chunks = leaves.len() as u64;
                (Some(chunks), chunks - (missing.len() + keeping.len()) as u64)
            }
            Stage::Installing { chunks } => (Some(*chunks), *chunks),
        };
        Transferring { sequence: self.sequence(), chunks, held, installing: self.is_installing() }
    }

    /// The parts that have not come, in the order in which they are fetched.
    fn lacking(&self) -> Box<dyn Iterator<Item = Part> + '_> {
        match &self.stage {
            Stage::Leaves { count, pages } => {
                let all = count.map_or(1, |count| count.div_ceil(MerkleTree::PAGE as u64));
                Box::new((0..all).filter(|page| !pages.contains_key(page)).map(Part::Leaves))
            }
            Stage::Chunks { missing, keeping, .. } if keeping.len() < KEEPING => {
                Box::new(missing.iter().copied().map(Part::Chunk))
            }
            Stage::Chunks { .. } | Stage::Gathering(_) | Stage::Installing { .. } => {
                Box::new(std::iter::empty())
            }
        }
    }

    /// Asks every source for the first page. From now on each keeps the snapshot for this replica, whoever of them answers
    /// late: else they would collect it under load while a liar that was asked alone delays.
    fn begin(&mut self, effects: &mut Effects) {
        let id = PartId { sequence: self.sequence(), part: Part::Leaves(0) };
        for (to, source) in &mut self.sources {
            source.asked.insert(id.part);
            effects.send(*to, PeerMessage::FetchPart(id));
        }
    }

    /// Asks every source for as much as it may be asked for at a time, for what nobody was asked for. When nothing of
    /// that is left, a source with nothing to do is asked for what a slow one has not given yet.
    fn ask(&mut self, effects: &mut Effects) {
        let asked_of = |slow: bool| {
            let sources = self.sources.values().filter(move |source| !slow || source.quiet_rounds > 0);
            sources.flat_map(|source| source.asked.iter().copied()).collect::<BTreeSet<Part>>()
        };
        let (asked, slow) = (asked_of(false), asked_of(true));
        let room = (OUTSTANDING * self.sources.len()).saturating_sub(asked.len());
        let unasked: Vec<_> = self.lacking().filter(|part| !asked.contains(part)).take(room).collect();
        let (mut unasked, mut again) = (unasked.into_iter(), slow.into_iter());
        let sequence = self.sequence();
        let mut sources: Vec<_> = self.sources.iter_mut().collect();
        // The source with the least to do goes first.
        while let Some((to, source)) = sources.iter_mut().min_by_key(|(_, source)| source.asked.len()) {
            if source.asked.len() >= OUTSTANDING {
                return;
            }
            let idle = source.asked.is_empty();
            let Some(part) = unasked.next().or_else(|| again.next().filter(|_| idle)) else { return };
            source.asked.insert(part);
            effects.send(**to, PeerMessage::FetchPart(PartId { sequence, part }));
        }
    }

    /// Notes that a part has come, whoever was asked for it.
    fn arrived(&mut self, from: ReplicaId, part: Part) {
        for source in self.sources.values_mut() {
            source.asked.remove(&part);
        }
        if let Some(source) = self.sources.get_mut(&from) {
            source.quiet_rounds = 0;
        }
    }

    /// The digests, once every page is there.
    fn take_leaves(&mut self) -> Option<Arc<[Digest]>> {
        match &mut self.stage {
            Stage::Leaves { count: Some(count), pages }
                if pages.len() as u64 == count.div_ceil(MerkleTree::PAGE as u64) =>
            {
                Some(std::mem::take(pages).into_values().flatten().collect())
            }
            _ => None,
        }
    }

    /// Starts installing if every chunk is kept; says whether.
    fn install(&mut self) -> bool {
        match &self.stage {
            Stage::Chunks { leaves, missing, keeping } if missing.is_empty() && keeping.is_empty() => {
                self.stage = Stage::Installing { chunks: leaves.len() as u64 };
                true
            }
            _ => false,
        }
    }
}

impl Replica {
    /// Starts a transfer when this replica's log cannot bring it to the stable checkpoint, and looks after one.
    pub(crate) fn tick_transfer(&mut self, effects: &mut Effects) {
        let Some(transfer) = &mut self.transfer else { return self.try_transfer(effects) };
        let (mut quiet, sequence) = (Vec::new(), transfer.sequence());
        let few = transfer.sources.len() <= self.configuration.f();
        let mut owed = false;
        for (replica, source) in &mut transfer.sources {
            let Some(part) = source.asked.first().copied() else { continue };
            owed = true;
            source.quiet_rounds += 1;
            if source.quiet_rounds > self.source_patience.quiet {
                quiet.push(*replica);
            } else if source.quiet_rounds == source.again {
                // The question may be lost, or the answer: one part tells.
                source.again *= 2;
                source.spare += 1;
                effects.send(*replica, PeerMessage::FetchPart(PartId { sequence, part }));
            }
        }
        transfer.ask(effects);
        transfer.lost_to_quiet |= !quiet.is_empty();
        transfer.few_rounds += u32::from(few && owed);
        if transfer.few_rounds > self.source_patience.few {
            self.source_patience.few = self.source_patience.few.saturating_mul(2);
            return self.give_up_transfer();
        }
        for replica in quiet {
            effects.report(Report::SourceDropped { source: replica });
            self.drop_source(replica, effects);
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
        let others = self.configuration.replicas().filter(|replica| *replica != self.me);
        let mut transfer = Transfer::new(target, others);
        transfer.begin(effects);
        self.transfer = Some(transfer);
    }

    /// Ends a transfer that got no state. One of the newest checkpoint starts with the next status, from all sources.
    fn give_up_transfer(&mut self) {
        if self.transfer.take().is_some_and(|it| it.lost_to_quiet) {
            self.source_patience.quiet = (self.source_patience.quiet * 2).min(PATIENCE.1);
        }
    }

    /// Goes on without a source, if any is left.
    fn drop_source(&mut self, source: ReplicaId, effects: &mut Effects) {
        let Some(transfer) = self.transfer.as_mut().filter(|it| !it.is_installing()) else { return };
        transfer.sources.remove(&source);
        if transfer.sources.is_empty() {
            self.give_up_transfer();
        } else {
            transfer.ask(effects);
        }
    }

    /// Another replica asks for a part. While it does, its snapshot is kept here though newer ones are stable, so that
    /// a transfer that takes long comes to an end under load.
    pub(crate) fn on_fetch_part(&mut self, from: ReplicaId, id: PartId, now: Now, effects: &mut Effects) {
        if self.snapshots.contains_key(&id.sequence) {
            self.served.insert(from, (id.sequence, now.instant));
        }
        effects.push(Effect::ServePart { to: from, id });
    }

    /// The snapshots below `through` that other replicas are fetching: at most one for each.
    pub(crate) fn snapshots_in_use(&mut self, through: Sequence, now: Now) -> BTreeSet<Sequence> {
        self.served.retain(|_, (_, asked)| now.instant.since(*asked) < KEPT_FOR);
        self.served.values().map(|(sequence, _)| *sequence).filter(|sequence| *sequence < through).collect()
    }

    pub(crate) fn on_no_snapshot(&mut self, from: ReplicaId, sequence: Sequence, effects: &mut Effects) {
        if self.transfer.as_ref().is_some_and(|it| it.sequence() == sequence) {
            // It has a newer one by now, which is no fault.
            self.drop_source(from, effects);
        }
    }

    /// The transfer that a part belongs to, if `from` was asked for it.
    fn asked_for(&mut self, from: ReplicaId, id: PartId) -> Option<&mut Transfer> {
        self.transfer.as_mut().filter(|it| {
            it.sequence() == id.sequence
                && it.sources.get(&from).is_some_and(|source| source.asked.contains(&id.part))
        })
    }

    /// A part that is not asked for any more, or never was.
    fn on_unasked(&mut self, from: ReplicaId, sequence: Sequence, effects: &mut Effects) {
        let transfer = self.transfer.as_mut().filter(|it| it.sequence() == sequence);
        match transfer.and_then(|it| it.sources.get_mut(&from)).filter(|source| source.spare > 0) {
            Some(source) => {
                source.spare -= 1;
                source.quiet_rounds = 0;
            }
            None => self.reject(from, Rejection::Unasked, effects),
        }
    }

    pub(crate) fn on_leaves(&mut self, from: ReplicaId, page: LeafPage, effects: &mut Effects) {
        let LeafPage { sequence, page, count: claimed, leaves, proof } = page;
        let part = Part::Leaves(page);
        let Some(transfer) = self.asked_for(from, PartId { sequence, part }) else {
            return self.on_unasked(from, sequence, effects);
        };
        if !proof.proves_page(&transfer.target.get().statement.root, page, claimed, &leaves) {
            return self.on_wrong_part(from, effects);
        }
        transfer.arrived(from, part);
        if let Stage::Leaves { count, pages } = &mut transfer.stage {
            *count = Some(claimed);
            pages.insert(page, leaves);
        }
        if let Some(leaves) = transfer.take_leaves() {
            transfer.stage = Stage::Gathering(Arc::clone(&leaves));
            effects.push(Effect::Gather { sequence, leaves });
        } else {
            transfer.ask(effects);
        }
    }

    /// The driver has looked which chunks it holds: the others are fetched.
    pub(crate) fn on_gathering(&mut self, sequence: Sequence, missing: BTreeSet<u64>, effects: &mut Effects) {
        let Some(transfer) = self.transfer.as_mut().filter(|it| it.sequence() == sequence) else { return };
        if let Stage::Gathering(leaves) = &transfer.stage {
            let leaves = Arc::clone(leaves);
            let (chunks, lacking) = (leaves.len() as u64, missing.len() as u64);
            effects.report(Report::Gathering { sequence, chunks, missing: lacking });
            transfer.stage = Stage::Chunks { leaves, missing, keeping: BTreeSet::new() };
            transfer.ask(effects);
        }
    }

    pub(crate) fn on_chunk(&mut self, from: ReplicaId, chunk: Chunk, effects: &mut Effects) {
        let Chunk { sequence, index, ref content } = chunk;
        let part = Part::Chunk(index);
        let Some(transfer) = self.asked_for(from, PartId { sequence, part }) else {
            return self.on_unasked(from, sequence, effects);
        };
        let Stage::Chunks { leaves, missing, keeping } = &mut transfer.stage else { return };
        let leaf = usize::try_from(index).ok().and_then(|index| leaves.get(index));
        if leaf != Some(&MerkleTree::leaf(content)) && !mutant!("chunk-unchecked") {
            return self.on_wrong_part(from, effects);
        }
        missing.remove(&index);
        keeping.insert(index);
        transfer.arrived(from, part);
        effects.push(Effect::KeepChunk(chunk));
        transfer.ask(effects);
    }

    fn on_wrong_part(&mut self, from: ReplicaId, effects: &mut Effects) {
        self.reject(from, Rejection::WrongChunk, effects);
        effects.report(Report::SourceDropped { source: from });
        self.drop_source(from, effects);
    }

    /// A chunk is durable here.
    pub(crate) fn on_chunk_kept(&mut self, sequence: Sequence, index: u64, effects: &mut Effects) {
        let Some(transfer) = self.transfer.as_mut().filter(|it| it.sequence() == sequence) else { return };
        if let Stage::Chunks { keeping, .. } = &mut transfer.stage {
            keeping.remove(&index);
            transfer.ask(effects);
        }
    }

    /// Installs what was fetched once all of it is kept and no batch is being executed. Execution stops until the
    /// service has it.
    pub(crate) fn try_install(&mut self, effects: &mut Effects) {
        // The log may have sufficed after all.
        self.transfer.take_if(|it| it.sequence() <= self.last_executed && !it.is_installing());
        if self.executing.is_some() || self.stopped {
            return;
        }
        if let Some(transfer) = self.transfer.as_mut()
            && transfer.install()
        {
            effects.push(Effect::Install(transfer.target.clone()));
        }
    }

    /// The service runs on the fetched state, and its snapshot is durable here.
    pub(crate) fn on_installed(
        &mut self,
        sequence: Sequence,
        ledger: &[Bytes],
        next_deadline: Option<Timestamp>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(transfer) = self.transfer.take_if(|it| it.is_installing() && it.sequence() == sequence)
        else {
            return;
        };
        match Ledger::from_chunks(ledger) {
            Ok(ledger) => self.ledger = ledger,
            Err(error) => {
                let why = error.to_string();
                return self.halt(Halt::UnreadableSnapshot { sequence, why }, effects);
            }
        }
        let root = transfer.target.get().statement.root;
        self.source_patience = SourcePatience::default();
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

#[cfg(test)]
mod tests;
