//! Doing an operation: all of it, or nothing.

use bytes::Bytes;

use super::history::Life;
use super::state::State;
use super::{
    Answer, Compare, Delete, DeleteAnswer, Error, KeyValue, MAX_CHANGES, MAX_REPLY, Operation, Put,
    PutAnswer, Range, RangeAnswer, Relation, Reply, Step, StepAnswer, Target, Txn, TxnAnswer,
};

/// At least the bytes of an encoded answer besides its entries.
const ANSWER_OVERHEAD: usize = 64;

/// Does an operation, and tells which keys changed. On an error the state is as before.
pub(super) fn run(state: &mut State, operation: Operation) -> Result<(Reply, Vec<Bytes>), Error> {
    operation.check()?;
    let mut transaction = Transaction {
        revision: state.revision + 1,
        state,
        budget: MAX_REPLY - ANSWER_OVERHEAD,
        changed: Vec::new(),
    };
    let answer = match operation {
        Operation::Put(put) => transaction.put(put).map(Answer::Put),
        Operation::Range(range) => transaction.range(&range).map(Answer::Range),
        Operation::Delete(delete) => transaction.delete(&delete).map(Answer::Delete),
        Operation::Txn(txn) => transaction.txn(txn).map(Answer::Txn),
        Operation::Compact(revision) => transaction.state.compact(revision).map(|()| Answer::Compact),
    }?;
    let Transaction { state, changed, .. } = transaction;
    // As in etcd, what changes nothing (a delete of absent keys, say) has no revision.
    if !changed.is_empty() {
        state.commit(&changed);
    }
    Ok((Reply { revision: state.revision, answer }, changed))
}

/// An operation that is being done. Each step makes its checks before it changes the state, so an operation of one
/// step needs no way back.
struct Transaction<'a> {
    state: &'a mut State,
    /// The revision of what it changes.
    revision: u64,
    /// How many bytes of entries the reply may yet have.
    budget: usize,
    /// The keys that it changed; none appears twice.
    changed: Vec<Bytes>,
}

impl Transaction<'_> {
    fn txn(&mut self, txn: Txn) -> Result<TxnAnswer, Error> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let steps = if succeeded { txn.success } else { txn.failure };
        self.budget -= steps.len() * ANSWER_OVERHEAD;
        // A clone makes the steps copy the nodes that they change, so it is made only where it is needed.
        let before = (steps.len() > 1).then(|| self.state.clone());
        match steps.into_iter().map(|step| self.step(step)).collect() {
            Ok(steps) => Ok(TxnAnswer { succeeded, steps }),
            Err(error) => {
                if let Some(before) = before {
                    *self.state = before;
                }
                Err(error)
            }
        }
    }

    fn step(&mut self, step: Step) -> Result<StepAnswer, Error> {
        match step {
            Step::Put(put) => self.put(put).map(StepAnswer::Put),
            Step::Range(range) => self.range(&range).map(StepAnswer::Range),
            Step::Delete(delete) => self.delete(&delete).map(StepAnswer::Delete),
        }
    }

    fn put(&mut self, Put { key, value, previous }: Put) -> Result<PutAnswer, Error> {
        self.may_change(1)?;
        let previous = previous.then(|| Some(self.state.history.newest(&key)?.entry(&key))).flatten();
        self.pay_for(previous.as_slice())?;
        let revision = self.revision;
        self.write(key, |before| Some(Life::put(before, revision, value)));
        Ok(PutAnswer { previous })
    }

    fn delete(&mut self, delete: &Delete) -> Result<DeleteAnswer, Error> {
        let found = self.state.history.scan(&delete.keys, u64::MAX).map(|(key, life)| life.entry(key));
        // One more than may be changed at all tells that there are too many, without going through all of them.
        let found: Vec<KeyValue> = found.take(MAX_CHANGES + 1).collect();
        self.may_change(found.len())?;
        if delete.previous {
            self.pay_for(&found)?;
        }
        for entry in &found {
            self.write(entry.key.clone(), |_| None);
        }
        let deleted = found.len() as u64;
        Ok(DeleteAnswer { deleted, previous: if delete.previous { found } else { Vec::new() } })
    }

    fn range(&mut self, range: &Range) -> Result<RangeAnswer, Error> {
        if let Some(revision) = range.revision {
            self.state.check_readable(revision)?;
        }
        let mut found = self.state.history.scan(&range.keys, range.revision.unwrap_or(u64::MAX));
        if range.count_only {
            let count = Some(found.count() as u64);
            return Ok(RangeAnswer { count, ..RangeAnswer::default() });
        }
        let limit = if range.limit == 0 { usize::MAX } else { range.limit as usize };
        let (mut entries, mut more, mut budget) = (Vec::new(), false, self.budget);
        while let Some((key, life)) = found.next()
            && !more
        {
            let mut entry = life.entry(key);
            if range.keys_only {
                entry.value = Bytes::new();
            }
            match budget.checked_sub(entry.weight()) {
                Some(left) if entries.len() < limit => {
                    budget = left;
                    entries.push(entry);
                }
                _ => more = true,
            }
        }
        drop(found);
        // An answer cut before its first entry would leave the client where it was.
        if more && entries.is_empty() {
            return Err(Error::ReplyTooLarge);
        }
        self.budget = budget;
        let count = (!more).then_some(entries.len() as u64);
        Ok(RangeAnswer { entries, more, count })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let life = self.state.history.newest(&compare.key);
        let ordering = match &compare.target {
            Target::Value(value) => match life {
                Some(life) => life.value.cmp(value),
                None => return false,
            },
            Target::Version(version) => life.map_or(0, |life| life.version).cmp(version),
            Target::CreateRevision(revision) => life.map_or(0, |life| life.create_revision).cmp(revision),
            Target::ModRevision(revision) => life.map_or(0, |life| life.mod_revision).cmp(revision),
        };
        match compare.relation {
            Relation::Equal => ordering.is_eq(),
            Relation::NotEqual => ordering.is_ne(),
            Relation::Less => ordering.is_lt(),
            Relation::Greater => ordering.is_gt(),
        }
    }

    fn may_change(&self, count: usize) -> Result<(), Error> {
        if self.changed.len() + count > MAX_CHANGES {
            return Err(Error::TooManyChanges);
        }
        Ok(())
    }

    /// Takes the weight of entries that can't be left out of the reply from its budget.
    fn pay_for(&mut self, entries: &[KeyValue]) -> Result<(), Error> {
        let weight = entries.iter().map(KeyValue::weight).sum();
        self.budget = self.budget.checked_sub(weight).ok_or(Error::ReplyTooLarge)?;
        Ok(())
    }

    fn write(&mut self, key: Bytes, make: impl FnOnce(Option<&Life>) -> Option<Life>) {
        self.changed.push(key.clone());
        self.state.history.push(key, self.revision, make);
    }
}
