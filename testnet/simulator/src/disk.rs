//! A replica's disk: what was synced survives a crash, what was not is lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pbft_messages::Sequence;
use pbft_protocol::{Effect, Record, WriteId};

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
    records: BTreeMap<Vec<u8>, Record>,
    pub(crate) archive: Archive,
    pending: VecDeque<Pending>,
}

impl Disk {
    pub(crate) fn new(initial: Vec<Record>) -> Self {
        let mut disk = Self::default();
        disk.apply(initial);
        disk
    }

    pub(crate) fn issue(&mut self, pending: Pending) {
        self.pending.push_back(pending);
    }

    /// Makes everything up to and including one write durable; gives what waited for it.
    pub(crate) fn sync(&mut self, through: WriteId) -> Option<Vec<Effect>> {
        while let Some(pending) = self.pending.pop_front() {
            match pending {
                Pending::Note(records) => self.apply(records),
                Pending::Collect(sequence, keep) => self.collect(sequence, &keep),
                Pending::Persist { id, records, then } => {
                    self.apply(records);
                    if id == through {
                        return Some(then);
                    }
                }
            }
        }
        None
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
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.values().cloned().collect()
    }

    fn apply(&mut self, records: Vec<Record>) {
        self.records.extend(records.into_iter().map(|record| (record.key(), record)));
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
