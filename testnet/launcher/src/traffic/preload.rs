//! Many records put at once, before any recorded load: what a cluster holds that has been running for long.

use bytes::Bytes;
use serde::Deserialize;

use pbft_client::{Client, KvError};
use pbft_service::kv::{Answer, MAX_STEPS, Operation, Put, Reply, Step, Txn};

use crate::check::{Entry, FinalState};

/// What all keys that are put here begin with, and no other.
const PREFIX: &[u8] = b"preload/";

/// How much to put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preload {
    /// How many keys.
    pub keys: usize,
    /// How long each value is, in bytes.
    pub value_bytes: usize,
}

/// What was put and acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preloaded {
    /// The store's revision after it: 1 if nothing was put.
    pub revision: u64,
    /// Every record, in the order of the keys.
    pub entries: Vec<(Bytes, Entry)>,
}

/// Nothing, in an empty store.
impl Default for Preloaded {
    fn default() -> Self {
        Self { revision: 1, entries: Vec::new() }
    }
}

impl Preload {
    /// Puts all of it, in large transactions that are under way many at a time. The store must be empty.
    ///
    /// # Errors
    /// [`KvError`], from the first transaction that failed.
    pub async fn put(self, client: &Client) -> Result<Preloaded, KvError> {
        let places: Vec<usize> = (0..self.keys).collect();
        let transactions = places.chunks(MAX_STEPS).map(|places| {
            let puts = places.iter().map(|place| {
                let (key, value) = self.record(*place);
                Step::Put(Put { key, value, previous: false })
            });
            Operation::Txn(Txn { success: puts.collect(), ..Txn::default() }).encode()
        });
        let results = client.execute_all(transactions.collect()).await;
        let mut preloaded = Preloaded::default();
        for (places, result) in places.chunks(MAX_STEPS).zip(results) {
            let revision = revision(&result?.result)?;
            preloaded.revision = preloaded.revision.max(revision);
            preloaded.entries.extend(places.iter().map(|place| {
                let (key, value) = self.record(*place);
                (key, Entry { value, create_revision: revision, mod_revision: revision, version: 1 })
            }));
        }
        Ok(preloaded)
    }

    /// The key and the value at a place; keys are in the order of their places.
    fn record(self, place: usize) -> (Bytes, Bytes) {
        let key = [PREFIX, format!("{place:09}").as_bytes()].concat();
        let value = format!("{place:09} ").into_bytes().into_iter().cycle().take(self.value_bytes);
        (key.into(), value.collect())
    }
}

/// The revision of a transaction that was made.
fn revision(result: &[u8]) -> Result<u64, KvError> {
    let reply = Reply::decode(result).map_err(|_| KvError::ForeignAnswer)??;
    match reply.answer {
        Answer::Txn(_) => Ok(reply.revision),
        _ => Err(KvError::ForeignAnswer),
    }
}

impl Preloaded {
    /// Takes what was put here out of a final state, so that the rest is a history's own; how many records are not
    /// as they were put.
    pub fn take_from(&self, end: &mut FinalState) -> usize {
        let entries = std::mem::take(&mut end.entries);
        let (put, rest): (Vec<_>, _) = entries.into_iter().partition(|(key, _)| key.starts_with(PREFIX));
        (end.entries, end.first_revision) = (rest, self.revision);
        let found = FinalState { entries: put, ..FinalState::default() };
        self.entries.iter().filter(|(key, entry)| found.entry(key) != Some(entry)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_or_changed_is_counted_and_the_rest_is_the_history_s() {
        let preload = Preload { keys: 3, value_bytes: 25 };
        let records = (0..3).map(|place| preload.record(place));
        let entry = |value| Entry { value, create_revision: 2, mod_revision: 2, version: 1 };
        let entries: Vec<_> = records.map(|(key, value)| (key, entry(value))).collect();
        assert!(entries.iter().all(|(_, entry)| entry.value.len() == 25));
        let preloaded = Preloaded { revision: 2, entries };

        let own = (Bytes::from("own"), entry("1".into()));
        let mut entries = [vec![own.clone()], preloaded.entries.clone()].concat();
        let whole = FinalState { revision: 3, entries: entries.clone(), ..FinalState::default() };
        let mut end = whole.clone();
        assert_eq!(preloaded.take_from(&mut end), 0);
        assert_eq!(end, FinalState { first_revision: 2, revision: 3, entries: vec![own], strangers: false });

        entries[1].1.value = "other".into();
        entries.pop();
        assert_eq!(preloaded.take_from(&mut FinalState { entries, ..whole }), 2);
    }
}
