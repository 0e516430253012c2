//! The store as one would write it with no thought for time or memory: a log of all changes, replayed for each read.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use pbft_service::kv::{
    Answer, Compare, Delete, DeleteAnswer, Error, KeyValue, Keys, Operation, Put, PutAnswer, Range,
    RangeAnswer, Relation, Reply, Step, StepAnswer, Target, Txn, TxnAnswer,
};

type Changes = Vec<(Bytes, Option<Bytes>)>;

pub(crate) struct Model {
    /// The changes of revision 2, of revision 3, and so on.
    pub(crate) log: Vec<Changes>,
    pub(crate) compacted: u64,
    pub(crate) retained: u64,
}

impl Model {
    pub(crate) fn new(retained: u64) -> Self {
        Self { log: Vec::new(), compacted: 0, retained }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.log.len() as u64 + 1
    }

    pub(crate) fn apply(&mut self, operation: &Operation) -> Result<Reply, Error> {
        let mut pending = Changes::new();
        let answer = match operation {
            Operation::Put(put) => Answer::Put(self.put(put, &mut pending)),
            Operation::Range(range) => Answer::Range(self.range(range, &pending)?),
            Operation::Delete(delete) => Answer::Delete(self.delete(delete, &mut pending)),
            Operation::Txn(txn) => Answer::Txn(self.txn(txn, &mut pending)?),
            Operation::Compact(revision) => {
                if *revision <= self.compacted {
                    return Err(Error::Compacted { requested: *revision, oldest: self.compacted });
                }
                self.check_revision(*revision)?;
                self.compacted = *revision;
                Answer::Compact
            }
        };
        if !pending.is_empty() {
            self.log.push(pending);
            self.compacted = self.compacted.max((self.revision() + 1).saturating_sub(self.retained));
        }
        Ok(Reply { revision: self.revision(), answer })
    }

    fn check_revision(&self, requested: u64) -> Result<(), Error> {
        if requested < self.compacted {
            return Err(Error::Compacted { requested, oldest: self.compacted });
        }
        if requested > self.revision() {
            return Err(Error::FutureRevision { requested, newest: self.revision() });
        }
        Ok(())
    }

    /// The keys after all changes up to a revision, and after the pending ones if that is the next one.
    fn at(&self, revision: u64, pending: &Changes) -> BTreeMap<Bytes, KeyValue> {
        let mut keys = BTreeMap::<Bytes, KeyValue>::new();
        for (changes, mod_revision) in self.log.iter().chain([pending]).zip(2..=revision) {
            for (key, value) in changes {
                let Some(value) = value else {
                    keys.remove(key);
                    continue;
                };
                let before = keys.get(key);
                let entry = KeyValue {
                    key: key.clone(),
                    create_revision: before.map_or(mod_revision, |before| before.create_revision),
                    mod_revision,
                    version: before.map_or(0, |before| before.version) + 1,
                    value: value.clone(),
                };
                keys.insert(key.clone(), entry);
            }
        }
        keys
    }

    fn find(&self, keys: &Keys, revision: u64, pending: &Changes) -> Vec<KeyValue> {
        let is_wanted = |key: &Bytes| match keys {
            Keys::Single(single) => key == single,
            Keys::Span { start, end } => key >= start && end.as_ref().is_none_or(|end| key < end),
        };
        self.at(revision, pending).into_values().filter(|entry| is_wanted(&entry.key)).collect()
    }

    fn put(&self, put: &Put, pending: &mut Changes) -> PutAnswer {
        let before = self.find(&Keys::Single(put.key.clone()), u64::MAX, pending).pop();
        pending.push((put.key.clone(), Some(put.value.clone())));
        PutAnswer { previous: before.filter(|_| put.previous) }
    }

    fn delete(&self, delete: &Delete, pending: &mut Changes) -> DeleteAnswer {
        let found = self.find(&delete.keys, u64::MAX, pending);
        pending.extend(found.iter().map(|entry| (entry.key.clone(), None)));
        let deleted = found.len() as u64;
        DeleteAnswer { deleted, previous: if delete.previous { found } else { Vec::new() } }
    }

    fn range(&self, range: &Range, pending: &Changes) -> Result<RangeAnswer, Error> {
        range.revision.map_or(Ok(()), |revision| self.check_revision(revision))?;
        let mut entries = self.find(&range.keys, range.revision.unwrap_or(u64::MAX), pending);
        let total = entries.len() as u64;
        if range.count_only {
            return Ok(RangeAnswer { entries: Vec::new(), more: false, count: Some(total) });
        }
        if range.limit > 0 {
            entries.truncate(range.limit as usize);
        }
        if range.keys_only {
            entries.iter_mut().for_each(|entry| entry.value.clear());
        }
        let more = (entries.len() as u64) < total;
        Ok(RangeAnswer { entries, more, count: (!more).then_some(total) })
    }

    fn txn(&self, txn: &Txn, pending: &mut Changes) -> Result<TxnAnswer, Error> {
        for steps in [&txn.success, &txn.failure] {
            check_duplicates(steps)?;
        }
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let mut answers = Vec::new();
        for step in if succeeded { &txn.success } else { &txn.failure } {
            answers.push(match step {
                Step::Put(put) => StepAnswer::Put(self.put(put, pending)),
                Step::Range(range) => StepAnswer::Range(self.range(range, pending)?),
                Step::Delete(delete) => StepAnswer::Delete(self.delete(delete, pending)),
            });
        }
        Ok(TxnAnswer { succeeded, steps: answers })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let entry = self.find(&Keys::Single(compare.key.clone()), u64::MAX, &Changes::new()).pop();
        let number = |field: fn(&KeyValue) -> u64| entry.as_ref().map_or(0, field);
        let ordering = match &compare.target {
            Target::Value(value) => match &entry {
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

fn check_duplicates(steps: &[Step]) -> Result<(), Error> {
    let puts = steps.iter().filter_map(|step| match step {
        Step::Put(put) => Some(put.key.clone()),
        _ => None,
    });
    let mut seen = BTreeSet::new();
    for key in puts {
        if !seen.insert(key.clone()) {
            return Err(Error::DuplicateKey { key });
        }
    }
    for step in steps {
        if let Step::Delete(delete) = step
            && let Some(key) = seen.iter().find(|key| delete.keys.contains(key))
        {
            return Err(Error::DuplicateKey { key: key.clone() });
        }
    }
    Ok(())
}
