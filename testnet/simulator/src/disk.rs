//! A replica's disk: what was synced survives a crash, what was not is lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use pbft_messages::{
    Accusation, Body, Checkpoint, Commit, EvidenceKind, PeerMessage, ReplicaId, Sequence, View,
};
use pbft_protocol::{Effect, Record, WriteId};

use crate::Invariant;
use crate::archive::Archive;

/// What is to be written, in order.
pub(crate) enum Pending {
    Note(Vec<Record>),
    Collect(Sequence, BTreeSet<Sequence>),
    Persist { id: WriteId, records: Vec<Record>, then: Vec<Effect> },
}

/// The disk.
#[derive(Default)]
pub(crate) struct Disk {
    records: BTreeMap<Vec<u8>, Rc<Record>>,
    pub(crate) archive: Archive,
    pending: VecDeque<Pending>,
    /// Whether a checksum does not hold: of a record or a chunk that has rotted, was written elsewhere, or not at all.
    pub(crate) is_damaged: bool,
    /// When the last write that was issued is done: none is done before one that was issued earlier.
    pub(crate) busy_until: Duration,
    /// Whether the next sync fails.
    pub(crate) fails: bool,
    /// What was written that takes back what was there, in words.
    pub(crate) taken_back: Option<(Invariant, String)>,
}

impl Disk {
    pub(crate) fn new(initial: Vec<Record>) -> Self {
        let mut disk = Self::default();
        disk.apply(initial);
        disk
    }

    /// What is on it, as it is.
    pub(crate) fn image(&self) -> Self {
        Self { records: self.records.clone(), archive: self.archive.clone(), ..Self::default() }
    }

    pub(crate) fn issue(&mut self, pending: Pending) {
        self.pending.push_back(pending);
    }

    /// Makes everything up to and including one write durable; gives what waited for it, and for those before it: a
    /// processor that has too much to do may hear of the later one first.
    pub(crate) fn sync(&mut self, through: WriteId) -> Vec<Effect> {
        let is_covered = |it: &Pending| matches!(it, Pending::Persist { id, .. } if *id <= through);
        let count = self.pending.iter().rposition(is_covered).map_or(0, |last| last + 1);
        let mut released = Vec::new();
        for pending in self.pending.drain(..count).collect::<Vec<_>>() {
            match pending {
                Pending::Note(records) => self.apply(records),
                Pending::Collect(sequence, keep) => self.collect(sequence, &keep),
                Pending::Persist { records, then, .. } => {
                    self.apply(records);
                    released.extend(then);
                }
            }
        }
        released
    }

    /// How many writes are not synced.
    pub(crate) fn unsynced(&self) -> usize {
        self.pending.len()
    }

    /// Writes the oldest of what is not synced, though nobody has heard of it.
    pub(crate) fn sync_oldest(&mut self, count: usize) {
        for _ in 0..count {
            match self.pending.pop_front() {
                Some(Pending::Note(records) | Pending::Persist { records, .. }) => self.apply(records),
                Some(Pending::Collect(sequence, keep)) => self.collect(sequence, &keep),
                None => return,
            }
        }
    }

    /// The power goes: what was not synced is lost.
    pub(crate) fn crash(&mut self) {
        self.pending.clear();
        self.busy_until = Duration::ZERO;
    }

    /// Everything that is written, one record a key.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.values().map(|record| (**record).clone()).collect()
    }

    fn apply(&mut self, records: Vec<Record>) {
        for record in records {
            let key = record.key();
            if let Some(before) = self.records.get(&key) {
                self.taken_back = self.taken_back.take().or_else(|| takes_back(before, &record));
            }
            self.records.insert(key, Rc::new(record));
        }
    }

    /// What it holds evidence of, that which is still to be written included.
    pub(crate) fn proofs(&self) -> impl Iterator<Item = Accusation> {
        let pending = self.pending.iter().flat_map(|pending| match pending {
            Pending::Note(records) | Pending::Persist { records, .. } => &records[..],
            Pending::Collect(..) => &[],
        });
        let accusation = |record: &Record| match record {
            Record::Evidence(evidence) => evidence.accusation().ok(),
            _ => None,
        };
        self.records.values().map(|record| &**record).chain(pending).filter_map(accusation)
    }

    /// Whom that convicts, and of what.
    pub(crate) fn convictions(&self) -> BTreeSet<(ReplicaId, EvidenceKind)> {
        self.proofs().map(|it| (it.accused, it.kind)).collect()
    }

    /// The rule by which its owner may not send a message yet, since what must be durable before is not on it.
    pub(crate) fn forbids(&self, owner: ReplicaId, message: &PeerMessage) -> Option<Invariant> {
        // What is passed on for others is theirs to answer for.
        let (invariant, is_backed) = match message {
            PeerMessage::Proposal(header, _) if header.claimed_signer() == owner => {
                (Invariant::D2, header.peek().is_ok_and(|it| self.reserves(it.view, it.sequence)))
            }
            PeerMessage::Prepare(vote, _) => {
                (Invariant::D2, vote.peek().is_ok_and(|it| self.reserves(it.view, it.sequence)))
            }
            PeerMessage::Commit(vote) => (Invariant::D1, vote.peek().is_ok_and(|it| self.backs(&it))),
            PeerMessage::Checkpoint(vote) => (Invariant::C1, vote.peek().is_ok_and(|it| self.has_state(&it))),
            PeerMessage::ViewChange(it) => (Invariant::D3, self.holds(&Record::ViewChange(it.clone()))),
            PeerMessage::NewView(it) => {
                let entered = it.peek().map(|new_view| Record::View(new_view.view, Some(it.clone())));
                (Invariant::D3, entered.is_ok_and(|record| self.holds(&record)))
            }
            _ => return None,
        };
        (!is_backed).then_some(invariant)
    }

    fn holds(&self, record: &Record) -> bool {
        self.records.get(&record.key()).is_some_and(|it| **it == *record)
    }

    /// Whether votes at this place are reserved.
    fn reserves(&self, view: View, sequence: Sequence) -> bool {
        let reservation = self.records.get(&Record::Reservation(view, sequence).key());
        matches!(reservation.map(|it| &**it), Some(Record::Reservation(of, through)) if *of == view && sequence <= *through)
    }

    /// Whether the snapshot of a CHECKPOINT is on it, or a stable one took its place.
    fn has_state(&self, vote: &Checkpoint) -> bool {
        self.holds(&Record::Snapshot(vote.sequence, vote.root)) || self.is_stable(vote.sequence)
    }

    fn is_stable(&self, sequence: Sequence) -> bool {
        let stable = |record: &Rc<Record>| matches!(&**record, Record::Stable(it) if it.statement.sequence >= sequence);
        self.records.values().any(stable)
    }

    /// Whether what a COMMIT claims is on it: the certificate and the body; or what took their place, a certificate of a
    /// later view or a stable checkpoint.
    fn backs(&self, vote: &Commit) -> bool {
        let Commit { view, sequence, digest } = vote;
        let [low, high] = [sequence.0 - 1, sequence.0].map(|it| Record::key_above(Record::LOG, Sequence(it)));
        let here = || self.records.range(low.clone()..high.clone()).map(|(_, record)| &**record);
        let mut certificates = here().filter_map(|record| match record {
            Record::Prepared(certificate) => Some(certificate.proposal()),
            _ => None,
        });
        let mut bodies = here().filter_map(|record| match record {
            Record::Body(_, body) => Some(body.digest()),
            _ => None,
        });
        let is_held = *digest == Body::null_digest() || bodies.any(|body| body == *digest);
        certificates.any(|it| it.view > *view || (it.view, it.digest) == (*view, *digest) && is_held)
            || self.is_stable(*sequence)
    }

    fn collect(&mut self, through: Sequence, keep: &BTreeSet<Sequence>) {
        let above = |prefix, sequence| Record::key_above(prefix, sequence);
        let (log, snapshots) =
            (above(Record::LOG, through), above(Record::SNAPSHOT, Sequence(through.0 - 1)));
        self.records.retain(|key, _| {
            !(key[0] == Record::LOG && *key < log || key[0] == Record::SNAPSHOT && *key < snapshots)
        });
        self.archive.collect(through, keep);
    }
}

/// What may not be written over what was there, in words.
fn takes_back(before: &Record, after: &Record) -> Option<(Invariant, String)> {
    match (before, after) {
        (Record::View(before, _), Record::View(after, _)) if after < before => {
            Some((Invariant::VC8, format!("went back from view {before} to {after}")))
        }
        (Record::Stable(before), Record::Stable(after))
            if after.statement.sequence < before.statement.sequence =>
        {
            let [before, after] = [before, after].map(|it| it.statement.sequence);
            Some((Invariant::C1, format!("wrote stable checkpoint {after} over {before}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::RecoveryNonce;
    use pbft_protocol::{Instant, Timer};

    use super::*;

    /// Nothing that waits is forgotten where the end of a later write is heard of first, and nothing done twice.
    #[test]
    fn a_write_covers_those_before_it() {
        let mut disk = Disk::default();
        let effect = |second| Effect::SetTimer {
            timer: Timer::Status,
            at: Some(Instant::after_start(Duration::from_secs(second))),
        };
        for id in 1..=3 {
            disk.issue(Pending::Note(vec![Record::Recovery(Some(RecoveryNonce([id as u8; 32])))]));
            disk.issue(Pending::Persist { id: WriteId(id), records: vec![], then: vec![effect(id)] });
        }
        assert_eq!(disk.sync(WriteId(2)), [effect(1), effect(2)]);
        assert_eq!((disk.sync(WriteId(1)), disk.unsynced()), (vec![], 2));
        assert_eq!(disk.records(), [Record::Recovery(Some(RecoveryNonce([2; 32])))]);
        assert_eq!(disk.sync(WriteId(3)), [effect(3)]);
    }
}
