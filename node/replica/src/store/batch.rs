//! What one transaction writes.

use std::collections::BTreeMap;

use pbft_messages::{Sequence, codec};
use pbft_protocol::Record;

use super::record_bytes::seal;

/// Changes that become durable together, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Of several records with one key the last counts.
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The values' bytes.
    bytes: usize,
    /// Everything of the log at or below this, and snapshots' records below it, is to go.
    through: Option<Sequence>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.through.is_none()
    }

    /// About how many bytes it writes. Values that were replaced or forgotten before they were written count too.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a record.
    pub(super) fn write(&mut self, record: &Record) {
        let key = record.key();
        let value = seal(&key, &codec::encode(record));
        self.bytes += value.len();
        self.records.insert(key, value);
    }

    /// Forgets the log through a sequence, and the snapshots below it.
    pub(super) fn collect(&mut self, through: Sequence) {
        self.through = self.through.max(Some(through));
        // What was to be written before and is to be forgotten now need not be written.
        for (from, to) in Self::ranges(through) {
            self.records.retain(|key, _| *key < from || *key >= to);
        }
    }

    /// Which keys go, each range from its first key to the one after its last.
    pub(super) fn forgotten(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.through.map(Self::ranges).unwrap_or_default()
    }

    /// Which keys and values are written, after the forgotten ones are gone.
    pub(super) fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.records.iter().map(|(key, value)| (&key[..], &value[..]))
    }

    fn ranges(through: Sequence) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut ranges = vec![(vec![Record::LOG], Record::key_above(Record::LOG, through))];
        if through > Sequence(0) {
            let below = Sequence(through.0 - 1);
            ranges.push((vec![Record::SNAPSHOT], Record::key_above(Record::SNAPSHOT, below)));
        }
        ranges
    }
}
