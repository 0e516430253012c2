//! What a run knows of its writes: as little as the verdict needs, so that long runs need no more memory.

use std::collections::BTreeMap;

use pbft_messages::Sequence;

/// An acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    /// Its number among all writes of the run.
    pub(crate) number: u64,
    /// The store's revision of the change.
    pub(crate) revision: u64,
    /// Where in the cluster's total order.
    pub(crate) sequence: Sequence,
}

/// What is known of the writes to one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyRecord {
    /// The acknowledged write that comes last in the cluster's order.
    pub(crate) last: Option<Write>,
    /// Acknowledged writes that were told the same revision as another one, which no two writes may share.
    pub(crate) clashes: Vec<Write>,
    /// The writes that may or may not take effect, or may yet do so.
    pub(crate) unknown: Vec<u64>,
}

/// What is known of a run's writes, by the key's number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Journal {
    /// See [`KeyRecord::last`]. The place is the key's number: this is looked into for each write, so it must be quick.
    last: Vec<Option<Write>>,
    /// The rest of those keys' records that have any.
    rest: BTreeMap<u32, KeyRecord>,
}

impl Journal {
    /// A write was acknowledged.
    pub(crate) fn acknowledge(&mut self, key: u32, write: Write) {
        let place = key as usize;
        if self.last.len() <= place {
            self.last.resize(place + 1, None);
        }
        match self.last[place] {
            Some(last) if last.revision > write.revision => {}
            Some(last) if last.revision == write.revision => {
                self.rest.entry(key).or_default().clashes.push(write);
            }
            before => {
                self.last[place] = Some(write);
                // What clashed with it still does.
                if let (Some(before), Some(rest)) = (before, self.rest.get_mut(&key))
                    && rest.clashes.iter().any(|clash| clash.revision == before.revision)
                {
                    rest.clashes.push(before);
                }
            }
        }
    }

    /// The revision of the key's acknowledged write that comes last in the cluster's order; 0 if there is none.
    pub(crate) fn newest(&self, key: u32) -> u64 {
        self.last.get(key as usize).copied().flatten().map_or(0, |last| last.revision)
    }

    /// A write may or may not take effect.
    pub(crate) fn doubt(&mut self, key: u32, number: u64) {
        self.rest.entry(key).or_default().unknown.push(number);
    }

    /// The keys with an acknowledged write, in order, with what is known of them.
    pub(crate) fn acknowledged(&self) -> impl Iterator<Item = (u32, KeyRecord)> + '_ {
        // Keys are numbered with 32 bits.
        let numbered = (0..).zip(&self.last).filter(|(_, last)| last.is_some());
        numbered.map(|(key, last)| {
            let rest = self.rest.get(&key).cloned().unwrap_or_default();
            (key, KeyRecord { last: *last, ..rest })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(number: u64, revision: u64) -> Write {
        Write { number, revision, sequence: Sequence(revision) }
    }

    #[test]
    fn the_last_write_by_revision_counts_whoever_made_it() {
        let mut journal = Journal::default();
        journal.acknowledge(1, write(10, 5));
        journal.acknowledge(1, write(20, 4));
        journal.acknowledge(2, write(21, 6));
        journal.doubt(1, 22);
        journal.doubt(3, 23);
        assert_eq!([0, 1, 2, 3].map(|key| journal.newest(key)), [0, 5, 6, 0]);
        let known: Vec<_> = journal.acknowledged().collect();
        let first = KeyRecord { last: Some(write(10, 5)), clashes: vec![], unknown: vec![22] };
        let second = KeyRecord { last: Some(write(21, 6)), ..KeyRecord::default() };
        assert_eq!(known, [(1, first), (2, second)], "a key with nothing acknowledged is not among them");
    }

    #[test]
    fn two_writes_with_one_revision_are_both_kept() {
        let mut journal = Journal::default();
        journal.acknowledge(1, write(10, 5));
        journal.acknowledge(1, write(20, 5));
        assert_eq!(journal.acknowledged().next().unwrap().1.clashes, [write(20, 5)]);
        journal.acknowledge(1, write(30, 6));
        let (_, record) = journal.acknowledged().next().unwrap();
        assert_eq!((record.last, record.clashes), (Some(write(30, 6)), vec![write(20, 5), write(10, 5)]));
    }
}
