//! The key-value store once more, written for the checker: what every reply must be (I4), and what keys were after each
//! sequence (N5). It knows the newest state alone, and shares the store's vocabulary and nothing of its code.

use std::collections::BTreeMap;

use bytes::Bytes;

use pbft_messages::Sequence;
use pbft_service::kv::{
    Answer, Compare, Delete, DeleteAnswer, KeyValue, Keys, Operation, Put, PutAnswer, Range, RangeAnswer,
    Relation, Reply, Step, StepAnswer, Target, Txn, TxnAnswer,
};

/// What becomes of keys, `None` where one is deleted.
type Changes = BTreeMap<Bytes, Option<KeyValue>>;

/// The store after some sequence, and how its keys came to be so.
pub(crate) struct Model {
    revision: u64,
    state: BTreeMap<Bytes, KeyValue>,
    /// Each key's changes, oldest first.
    changes: BTreeMap<Bytes, Vec<(Sequence, Option<KeyValue>)>>,
    /// How many keys there were after each sequence that changed something, oldest first.
    counts: Vec<(Sequence, u64)>,
}

impl Default for Model {
    fn default() -> Self {
        Self { revision: 1, state: BTreeMap::new(), changes: BTreeMap::new(), counts: Vec::new() }
    }
}

impl Model {
    /// Executes an operation; gives the answer, or `None` if the model does not know what it must be: for operations
    /// that are malformed or look at old revisions, which change nothing.
    pub(crate) fn execute(&mut self, sequence: Sequence, operation: &[u8]) -> Option<Reply> {
        let operation = Operation::decode(operation).ok().filter(|it| it.check().is_ok())?;
        let mut pending = Changes::new();
        let answer = match &operation {
            Operation::Put(put) => Answer::Put(self.put(put, &mut pending)),
            Operation::Range(range) => Answer::Range(self.range(range, &pending)?),
            Operation::Delete(delete) => Answer::Delete(self.delete(delete, &mut pending)),
            Operation::Txn(txn) => Answer::Txn(self.transact(txn, &mut pending)?),
            Operation::Compact(_) => return None,
        };
        self.commit(sequence, pending);
        Some(Reply { revision: self.revision, answer })
    }

    /// The lowest sequence from `known` on after which an unordered read shows this result.
    pub(crate) fn shown_after(&self, known: Sequence, operation: &[u8], result: &[u8]) -> Option<Sequence> {
        let Ok(Operation::Range(range)) = Operation::decode(operation) else { return None };
        let Answer::Range(shown) = Reply::decode(result).ok()?.ok()?.answer else { return None };
        if range.count_only {
            return since(&self.counts, known, 0, |count| shown.count == Some(*count));
        }
        let Keys::Single(key) = &range.keys else { return None };
        let changes = self.changes.get(key).map_or(&[][..], |changes| changes);
        since(changes, known, None, |entry| shown.entries.first() == entry.as_ref())
    }

    fn commit(&mut self, sequence: Sequence, pending: Changes) {
        if pending.is_empty() {
            return;
        }
        self.revision += 1;
        for (key, entry) in pending {
            match &entry {
                Some(entry) => self.state.insert(key.clone(), entry.clone()),
                None => self.state.remove(&key),
            };
            self.changes.entry(key).or_default().push((sequence, entry));
        }
        self.counts.push((sequence, self.state.len() as u64));
    }

    fn entry<'a>(&'a self, key: &Bytes, pending: &'a Changes) -> Option<&'a KeyValue> {
        pending.get(key).map_or_else(|| self.state.get(key), Option::as_ref)
    }

    fn find(&self, keys: &Keys, pending: &Changes) -> Vec<KeyValue> {
        let (start, end) = match keys {
            Keys::Single(key) => return self.entry(key, pending).cloned().into_iter().collect(),
            Keys::Span { start, end } => (start, end),
        };
        let mut found: BTreeMap<_, _> =
            self.state.range(start.clone()..).map(|(key, entry)| (key, Some(entry))).collect();
        found.extend(pending.range(start.clone()..).map(|(key, entry)| (key, entry.as_ref())));
        let wanted = found.into_iter().take_while(|(key, _)| end.as_ref().is_none_or(|end| *key < end));
        wanted.filter_map(|(_, entry)| entry.cloned()).collect()
    }

    fn put(&self, put: &Put, pending: &mut Changes) -> PutAnswer {
        let before = self.entry(&put.key, pending).cloned();
        let mod_revision = self.revision + 1;
        let entry = KeyValue {
            key: put.key.clone(),
            create_revision: before.as_ref().map_or(mod_revision, |before| before.create_revision),
            mod_revision,
            version: before.as_ref().map_or(0, |before| before.version) + 1,
            value: put.value.clone(),
        };
        pending.insert(put.key.clone(), Some(entry));
        PutAnswer { previous: before.filter(|_| put.previous) }
    }

    fn delete(&self, delete: &Delete, pending: &mut Changes) -> DeleteAnswer {
        let found = self.find(&delete.keys, pending);
        pending.extend(found.iter().map(|entry| (entry.key.clone(), None)));
        let deleted = found.len() as u64;
        DeleteAnswer { deleted, previous: if delete.previous { found } else { Vec::new() } }
    }

    fn range(&self, range: &Range, pending: &Changes) -> Option<RangeAnswer> {
        if range.revision.is_some() {
            return None;
        }
        let mut entries = self.find(&range.keys, pending);
        let total = entries.len() as u64;
        if range.count_only {
            return Some(RangeAnswer { entries: Vec::new(), more: false, count: Some(total) });
        }
        if range.limit > 0 {
            entries.truncate(range.limit as usize);
        }
        if range.keys_only {
            entries.iter_mut().for_each(|entry| entry.value.clear());
        }
        let more = (entries.len() as u64) < total;
        Some(RangeAnswer { entries, more, count: (!more).then_some(total) })
    }

    fn transact(&self, txn: &Txn, pending: &mut Changes) -> Option<TxnAnswer> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let steps = if succeeded { &txn.success } else { &txn.failure };
        let answers = steps.iter().map(|step| {
            Some(match step {
                Step::Put(put) => StepAnswer::Put(self.put(put, pending)),
                Step::Range(range) => StepAnswer::Range(self.range(range, pending)?),
                Step::Delete(delete) => StepAnswer::Delete(self.delete(delete, pending)),
            })
        });
        let steps = answers.collect::<Option<_>>()?;
        Some(TxnAnswer { succeeded, steps })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let entry = self.state.get(&compare.key);
        let number = |field: fn(&KeyValue) -> u64| entry.map_or(0, field);
        let ordering = match &compare.target {
            Target::Value(value) => match entry {
                Some(entry) => entry.value.cmp(value),
                None => return false,
            },
            Target::Version(right) => number(|entry| entry.version).cmp(right),
            Target::CreateRevision(right) => number(|entry| entry.create_revision).cmp(right),
            Target::ModRevision(right) => number(|entry| entry.mod_revision).cmp(right),
        };
        match compare.relation {
            Relation::Equal => ordering.is_eq(),
            Relation::NotEqual => ordering.is_ne(),
            Relation::Less => ordering.is_lt(),
            Relation::Greater => ordering.is_gt(),
        }
    }
}

/// The lowest sequence from `known` on after which a value that changed so, and was `first` before, is as wanted.
fn since<T>(
    changes: &[(Sequence, T)],
    known: Sequence,
    first: T,
    is_wanted: impl Fn(&T) -> bool,
) -> Option<Sequence> {
    let later = changes.partition_point(|(sequence, _)| *sequence <= known);
    let now = later.checked_sub(1).map_or(&first, |last| &changes[last].1);
    if is_wanted(now) {
        return Some(known);
    }
    // Of a key that changed more than once at a sequence, the last change is what is seen.
    let seen = (later..changes.len())
        .filter(|index| changes.get(index + 1).is_none_or(|next| next.0 != changes[*index].0));
    seen.map(|index| &changes[index]).find(|(_, value)| is_wanted(value)).map(|(sequence, _)| *sequence)
}

#[cfg(test)]
mod tests {
    use pbft_messages::{ClientId, SessionId, Timestamp};
    use pbft_service::kv::KeyValueStore;
    use pbft_service::{Context, Service as _};
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::workload::{Names, Workload};

    /// The model and the store answer alike, and the model finds the states that the store's reads show.
    #[test]
    fn the_model_agrees_with_the_store() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let (mut model, mut store) = (Model::default(), KeyValueStore::default());
        let workload = Workload::Mixed { keys: 4 };
        let mut names = Names::new(0);
        for sequence in (1..500).map(Sequence) {
            for _ in 0..random.random_range(0..4) {
                let operation = workload.operation(&mut names, &mut random);
                let (client, session) = (ClientId([0; 32]), SessionId(1));
                let context = Context { sequence, time: Timestamp(1), client, session };
                let result = store.execute(&context, &operation).result;
                let reply = Reply::decode(&result).unwrap().unwrap();
                assert_eq!(model.execute(sequence, &operation), Some(reply), "{operation:?}");
            }
            let read = workload.read(&mut random);
            let result = store.reader().query(&read);
            assert_eq!(model.shown_after(sequence, &read, &result), Some(sequence));
            // Some earlier state shows it too, and no later one than that.
            let first = model.shown_after(Sequence(0), &read, &result).unwrap();
            assert!(first <= sequence);
        }
    }

    #[test]
    fn a_read_of_a_state_that_never_was_is_found() {
        let (mut model, mut store) = (Model::default(), KeyValueStore::default());
        let context = Context {
            sequence: Sequence(1),
            time: Timestamp(1),
            client: ClientId([0; 32]),
            session: SessionId(1),
        };
        let get = Operation::get("a").encode();
        let mut results = vec![store.reader().query(&get)];
        for (sequence, value) in [(3, "one"), (5, "two")] {
            let put = Operation::put("a", value).encode();
            store.execute(&context, &put);
            model.execute(Sequence(sequence), &put);
            results.push(store.reader().query(&get));
        }
        let found = |known, result: usize| model.shown_after(Sequence(known), &get, &results[result]);
        assert_eq!([found(0, 0), found(2, 0), found(3, 0)], [Some(Sequence(0)), Some(Sequence(2)), None]);
        assert_eq!([found(0, 1), found(4, 1), found(5, 1)], [Some(Sequence(3)), Some(Sequence(4)), None]);
        assert_eq!([found(0, 2), found(9, 2)], [Some(Sequence(5)), Some(Sequence(9))]);
    }
}
