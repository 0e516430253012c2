//! What a worker asks next.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Plan;
use crate::check::{Done, Entry, Observation, Operation};

/// One worker's stream of operations: about a third writes to keys of its own, the rest reads, writes, deletions and
/// transactions on keys that all share, and increments of its own counter.
pub(super) struct Mix {
    worker: usize,
    random: StdRng,
    shared_keys: usize,
    own_keys: u64,
    written: u64,
    /// The revision at which this worker last saw each shared key change; 0 if it was not there.
    seen: BTreeMap<Bytes, u64>,
}

impl Mix {
    pub(super) fn new(plan: &Plan, worker: usize) -> Self {
        let random = StdRng::seed_from_u64(plan.seed.wrapping_mul(1_000_003).wrapping_add(worker as u64));
        let (shared_keys, own_keys) = (plan.shared_keys.max(1), plan.own_keys as u64);
        Self { worker, random, shared_keys, own_keys, written: 0, seen: BTreeMap::new() }
    }

    /// The record at a place.
    pub(super) fn record(&mut self, place: usize) -> Operation {
        Operation::Put { key: format!("record/{place:06}").into(), value: self.value() }
    }

    /// The next operation of the mixed traffic.
    pub(super) fn next(&mut self) -> Operation {
        match self.random.random_range(0..100) {
            0..35 => Operation::Put { key: self.own_key(), value: self.value() },
            35..50 => Operation::Put { key: self.shared_key(), value: self.value() },
            50..80 => Operation::Get { key: self.shared_key() },
            80..85 => Operation::Delete { key: self.shared_key() },
            85..95 => {
                let key = self.shared_key();
                let expected = self.seen.get(&key).copied().unwrap_or(0);
                Operation::Swap { key, expected, value: self.value() }
            }
            _ => Operation::Increment {
                key: format!("counter/{:02}", self.worker).into(),
                value: self.value(),
            },
        }
    }

    /// Learns from an answer, so that later swaps sometimes succeed.
    pub(super) fn learn(&mut self, operation: &Operation, done: &Done) {
        let revision = |entry: &Option<Entry>| entry.as_ref().map_or(0, |entry| entry.mod_revision);
        let seen = match &done.observation {
            Observation::Put | Observation::Swapped | Observation::Incremented(_) => done.revision,
            Observation::Read(entry) | Observation::NotSwapped(entry) => revision(entry),
            Observation::Deleted(_) => 0,
        };
        if let Some(last) = self.seen.get_mut(operation.key()) {
            *last = seen;
        }
    }

    /// Some key that all workers use; remembered as one to learn about.
    fn shared_key(&mut self) -> Bytes {
        let key = Bytes::from(format!("shared/{:03}", self.random.random_range(0..self.shared_keys)));
        self.seen.entry(key.clone()).or_insert(0);
        key
    }

    /// A key that only this worker writes: one that is never overwritten, if keys are not to be saved.
    fn own_key(&mut self) -> Bytes {
        let place = match self.own_keys {
            0 => self.written + 1,
            keys => self.random.random_range(0..keys),
        };
        format!("own/{:02}/{place:06}", self.worker).into()
    }

    /// A value that no other operation of the whole history has.
    fn value(&mut self) -> Bytes {
        self.written += 1;
        format!("value {} of worker {}, written once and never again", self.written, self.worker).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn values_are_unique_and_a_seed_gives_the_same_stream() {
        let stream = |seed, worker| {
            let mut mix = Mix::new(&Plan { seed, ..Plan::default() }, worker);
            (0..500).map(|_| mix.next()).collect::<Vec<_>>()
        };
        assert_eq!(stream(1, 0), stream(1, 0));
        assert_ne!(stream(1, 0), stream(2, 0));
        let both = [stream(1, 0), stream(1, 1)].concat();
        let values: Vec<_> = both.iter().filter_map(Operation::value).collect();
        assert_eq!(values.iter().collect::<BTreeSet<_>>().len(), values.len());
    }
}
