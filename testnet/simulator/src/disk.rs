//! A replica's disk: what was synced survives a crash, what was not is lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use pbft_crypto::Digest;
use pbft_messages::{
    Accusation, Body, Checkpoint, Commit, EvidenceKind, PeerMessage, Prepare, ReplicaId, Sequence, View,
};
use pbft_protocol::{Effect, Record, WriteId};

use crate::Invariant;
use crate::archive::Archive;
use crate::left::own;
use crate::phase::Phase;

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
    /// The certificates that were ever written and had their body beside them: one of a later view takes the place of an
    /// earlier one, and a checkpoint that of them all, perhaps before the COMMIT has left that had waited for it.
    backed: BTreeSet<(View, Sequence, Digest)>,
    /// What was written of views, and gave its place to what is there of later ones, perhaps before a processor that lags has
    /// sent what had waited for it.
    overtaken: Vec<Rc<Record>>,
    pub(crate) archive: Archive,
    pending: VecDeque<Pending>,
    /// Whether a checksum does not hold: of a record or a chunk that has rotted, was written elsewhere, or not at all.
    pub(crate) is_damaged: bool,
    /// When the last write that was issued is done: none is done before one that was issued earlier.
    pub(crate) busy_until: Duration,
    /// Whether the next sync fails.
    pub(crate) fails: bool,
    /// What was written, or forgotten, that takes back what was there, in words.
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
        let certificate = |record: &Record| match record {
            Record::Prepared(certificate) => Some(certificate.proposal().clone()),
            _ => None,
        };
        let certificates: Vec<_> = records.iter().filter_map(certificate).collect();
        for record in records {
            let key = record.key();
            if let Some(before) = self.records.get(&key) {
                self.taken_back = self.taken_back.take().or_else(|| takes_back(before, &record));
            }
            let overtaken = self.records.insert(key, Rc::new(record));
            let is_of_view = |it: &Rc<Record>| {
                matches!(**it, Record::View(..) | Record::ViewChange(_) | Record::Reservation(..))
            };
            self.overtaken.extend(overtaken.filter(is_of_view));
        }
        for Prepare { view, sequence, digest } in certificates {
            if self.holds_body(sequence, digest) {
                self.backed.insert((view, sequence, digest));
            }
        }
    }

    /// What it holds evidence of, that which is still to be written included.
    pub(crate) fn proofs(&self) -> impl Iterator<Item = Accusation> {
        let accusation = |record: &Record| match record {
            Record::Evidence(evidence) => evidence.accusation().ok(),
            _ => None,
        };
        let written = self.records.values().map(|record| &**record);
        written.chain(self.unwritten()).filter_map(accusation)
    }

    /// Whom that convicts, and of what.
    pub(crate) fn convictions(&self) -> BTreeSet<(ReplicaId, EvidenceKind)> {
        self.proofs().map(|it| (it.accused, it.kind)).collect()
    }

    /// The rule by which its owner may not send a message yet, since what must be durable before is not on it.
    pub(crate) fn forbids(&self, owner: ReplicaId, message: &PeerMessage) -> Option<Invariant> {
        let own = own(owner, message);
        // Of view 0 nothing need be written.
        if own.is_some_and(|it| it.phase != Phase::NewView && it.view > self.entered()) {
            return Some(Invariant::D3);
        }
        let (invariant, is_backed) = match message {
            PeerMessage::Proposal(..) | PeerMessage::Prepare(..) => {
                (Invariant::D2, own.is_none_or(|it| self.reserves(it.view, it.sequence)))
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

    /// The view that its owner has durably entered.
    pub(crate) fn entered(&self) -> View {
        match self.records.get(&Record::View(View(0), None).key()).map(|it| &**it) {
            Some(Record::View(view, _)) => *view,
            _ => View(0),
        }
    }

    /// Whether a batch is noted as committed, the notes on their way included (D4).
    pub(crate) fn is_decided(&self, sequence: Sequence, digest: Digest) -> bool {
        let decides = |record: &Record| match record {
            Record::Committed(it) => (it.statement.sequence, it.statement.digest) == (sequence, digest),
            _ => false,
        };
        self.at(sequence).any(decides) || self.unwritten().any(decides)
    }

    /// Whether a record is on it, or was until one of a later view took its place.
    fn holds(&self, record: &Record) -> bool {
        let held = self.records.get(&record.key());
        held.into_iter().chain(&self.overtaken).any(|it| **it == *record)
    }

    /// Whether votes at this place are reserved.
    fn reserves(&self, view: View, sequence: Sequence) -> bool {
        let held = self.records.get(&Record::Reservation(view, sequence).key());
        let covers = |it: &Rc<Record>| matches!(**it, Record::Reservation(of, through) if of == view && sequence <= through);
        held.into_iter().chain(&self.overtaken).any(covers)
    }

    /// Whether the snapshot of a CHECKPOINT is on it, or a later one took its place.
    fn has_state(&self, vote: &Checkpoint) -> bool {
        self.holds(&Record::Snapshot(vote.sequence, vote.root)) || self.has_snapshot_above(vote.sequence)
    }

    fn has_snapshot_above(&self, sequence: Sequence) -> bool {
        let next = self.records.range(Record::key_above(Record::SNAPSHOT, sequence)..).next();
        next.is_some_and(|(key, _)| key[0] == Record::SNAPSHOT)
    }

    fn is_stable(&self, sequence: Sequence) -> bool {
        let stable = |record: &Rc<Record>| matches!(&**record, Record::Stable(it) if it.statement.sequence >= sequence);
        self.records.values().any(stable)
    }

    /// Whether what a COMMIT claims was written: the certificate and the body.
    fn backs(&self, vote: &Commit) -> bool {
        self.backed.contains(&(vote.view, vote.sequence, vote.digest))
    }

    fn holds_body(&self, sequence: Sequence, digest: Digest) -> bool {
        let is_it = |record: &Record| matches!(record, Record::Body(_, body) if body.digest() == digest);
        digest == Body::null_digest() || self.at(sequence).any(is_it)
    }

    /// What is in the log at a sequence.
    fn at(&self, sequence: Sequence) -> impl Iterator<Item = &Record> {
        let [low, high] = [sequence.0 - 1, sequence.0].map(|it| Record::key_above(Record::LOG, Sequence(it)));
        self.records.range(low..high).map(|(_, record)| &**record)
    }

    /// What is still to be written.
    fn unwritten(&self) -> impl Iterator<Item = &Record> {
        self.pending.iter().flat_map(|pending| match pending {
            Pending::Note(records) | Pending::Persist { records, .. } => &records[..],
            Pending::Collect(..) => &[],
        })
    }

    fn collect(&mut self, through: Sequence, keep: &BTreeSet<Sequence>) {
        if !self.is_stable(through) || !self.has_snapshot_above(Sequence(through.0 - 1)) {
            let text =
                format!("forgets its log through {through} without a durable certificate and snapshot");
            self.taken_back = self.taken_back.take().or(Some((Invariant::D5, text)));
        }
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
        (Record::Prepared(before), Record::Prepared(after))
            if after.proposal().view < before.proposal().view =>
        {
            let [before, after] = [before, after].map(|it| it.proposal().view);
            Some((Invariant::D1, format!("wrote a certificate of view {after} over one of view {before}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Domain, Signed, Statement, Verified};
    use pbft_messages::{Endorsed, PrePrepare, PreparedCertificate, RecoveryNonce, Timestamp};
    use pbft_protocol::{Instant, Timer};

    use super::*;
    use crate::{Cluster, Settings};

    /// As r1.
    fn sign<T: Statement<Signer = ReplicaId>>(cluster: &Cluster, value: T) -> Signed<T> {
        let identity = cluster.identity(ReplicaId(1));
        let scope = identity.configuration.scope();
        Verified::sign(value, identity.replica, &*identity.signer, scope).signed().clone()
    }

    /// A replica's votes in view 1, and what must be on its disk before (D1 to D3).
    #[test]
    fn votes_rest_on_the_view_the_reservation_the_certificate_and_the_body() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let (view, sequence, body) = (View(1), Sequence(3), Body::new(Timestamp(1), []));
        let digest = body.digest();
        let header = sign(&cluster, PrePrepare { view, sequence, digest });
        let vote = Prepare { view, sequence, digest };
        let prepares = Endorsed { statement: vote.clone(), signatures: vec![] };
        let certificate = PreparedCertificate { header: header.clone(), prepares };
        let prepare = PeerMessage::Prepare(sign(&cluster, vote), *header.signature());
        let commit = PeerMessage::Commit(sign(&cluster, Commit { view, sequence, digest }));
        let mut disk = Disk::new(pbft_protocol::initial_records());
        let forbids = |disk: &Disk| [&prepare, &commit].map(|message| disk.forbids(ReplicaId(1), message));
        disk.apply(vec![Record::Reservation(view, sequence), Record::Body(sequence, body.into())]);
        assert_eq!(forbids(&disk), [Some(Invariant::D3); 2]);
        disk.apply(vec![Record::View(view, None)]);
        assert_eq!(forbids(&disk), [None, Some(Invariant::D1)]);
        disk.apply(vec![Record::Prepared(certificate.clone())]);
        assert_eq!(forbids(&disk), [None, None]);
        disk.collect(sequence, &BTreeSet::new());
        assert_eq!(forbids(&disk), [None, None], "it was there");

        let bodiless = Disk::new(vec![Record::View(view, None), Record::Prepared(certificate)]);
        assert_eq!(forbids(&bodiless), [Some(Invariant::D2), Some(Invariant::D1)]);
    }

    /// A certificate that others have formed is no snapshot of one's own (C1, D5).
    #[test]
    fn a_stable_certificate_stands_for_no_snapshot() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let root = Digest::of(Domain::MerkleRoot, b"");
        let at = |sequence| Checkpoint { sequence: Sequence(sequence), root };
        let message = PeerMessage::Checkpoint(sign(&cluster, at(8)));
        let mut disk = Disk::default();
        disk.apply(vec![Record::Stable(Endorsed { statement: at(16), signatures: vec![] })]);
        assert_eq!(disk.forbids(ReplicaId(1), &message), Some(Invariant::C1));
        disk.apply(vec![Record::Snapshot(Sequence(8), root)]);
        assert_eq!(disk.forbids(ReplicaId(1), &message), None);
        disk.collect(Sequence(8), &BTreeSet::new());
        assert_eq!(disk.taken_back, None);
        disk.collect(Sequence(16), &BTreeSet::new());
        assert!(matches!(disk.taken_back.take(), Some((Invariant::D5, _))), "the snapshot is older");
        disk.apply(vec![Record::Snapshot(Sequence(24), root)]);
        assert_eq!(disk.forbids(ReplicaId(1), &message), None, "it took its place");
        disk.collect(Sequence(24), &BTreeSet::new());
        assert!(matches!(disk.taken_back.take(), Some((Invariant::D5, _))), "the certificate is older");
    }

    /// D4: that it is prepared is not enough.
    #[test]
    fn a_batch_is_decided_once_that_is_noted() {
        let digest = Body::null_digest();
        let statement = Commit { view: View(0), sequence: Sequence(3), digest };
        let mut disk = Disk::default();
        let other = Digest::of(Domain::Batch, b"");
        let is_decided = |disk: &Disk| [digest, other].map(|it| disk.is_decided(Sequence(3), it));
        assert_eq!(is_decided(&disk), [false, false]);
        disk.issue(Pending::Note(vec![Record::Committed(Endorsed { statement, signatures: vec![] })]));
        assert_eq!(is_decided(&disk), [true, false]);
        disk.sync_oldest(1);
        assert_eq!(is_decided(&disk), [true, false]);
        assert!(!disk.is_decided(Sequence(4), digest));
    }

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
