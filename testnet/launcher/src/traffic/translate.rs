//! Between the checks' words and the store's: the only place where the two meet.

use pbft_service::kv::{
    self, Answer, Compare, KeyValue, Keys, Put, Range, Relation, Step, StepAnswer, Target, Txn,
};

use crate::check::{Entry, Observation, Operation};

/// The store's operation.
pub(super) fn to_store(operation: &Operation) -> kv::Operation {
    let put = |key: &bytes::Bytes, value: &bytes::Bytes| {
        Step::Put(Put { key: key.clone(), value: value.clone(), previous: false })
    };
    let get = |key: &bytes::Bytes| Step::Range(Range::new(Keys::Single(key.clone())));
    match operation {
        Operation::Put { key, value } => kv::Operation::put(key.clone(), value.clone()),
        Operation::Get { key } => kv::Operation::get(key.clone()),
        Operation::Delete { key } => kv::Operation::delete(Keys::Single(key.clone())),
        Operation::Swap { key, expected, value } => {
            let target = Target::ModRevision(*expected);
            let compare = Compare { key: key.clone(), relation: Relation::Equal, target };
            kv::Operation::Txn(Txn {
                compares: vec![compare],
                success: vec![put(key, value)],
                failure: vec![get(key)],
            })
        }
        Operation::Increment { key, value } => {
            let success = vec![put(key, value), get(key)];
            kv::Operation::Txn(Txn { success, ..Txn::default() })
        }
    }
}

/// What the store's answer says; `None` if it is no answer to this operation.
pub(super) fn observation(operation: &Operation, answer: Answer) -> Option<Observation> {
    match (operation, answer) {
        (Operation::Put { .. }, Answer::Put(_)) => Some(Observation::Put),
        (Operation::Get { key }, Answer::Range(range)) => {
            Some(Observation::Read(single(key, range.entries)?))
        }
        (Operation::Delete { .. }, Answer::Delete(answer)) if answer.deleted <= 1 => {
            Some(Observation::Deleted(answer.deleted == 1))
        }
        (Operation::Swap { key, .. }, Answer::Txn(answer)) => {
            match (answer.succeeded, <[StepAnswer; 1]>::try_from(answer.steps)) {
                (true, Ok([StepAnswer::Put(_)])) => Some(Observation::Swapped),
                (false, Ok([StepAnswer::Range(range)])) => {
                    Some(Observation::NotSwapped(single(key, range.entries)?))
                }
                _ => None,
            }
        }
        (Operation::Increment { key, .. }, Answer::Txn(answer)) => {
            match <[StepAnswer; 2]>::try_from(answer.steps) {
                Ok([StepAnswer::Put(_), StepAnswer::Range(range)]) => {
                    Some(Observation::Incremented(single(key, range.entries)??))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The entry of a reading of one key; `None` if the answer is about something else.
fn single(key: &[u8], entries: Vec<KeyValue>) -> Option<Option<Entry>> {
    match <[KeyValue; 1]>::try_from(entries) {
        Ok([found]) => (found.key == key).then(|| Some(entry(found))),
        Err(entries) => entries.is_empty().then_some(None),
    }
}

/// The checks' form of an entry.
pub(super) fn entry(found: KeyValue) -> Entry {
    let KeyValue { create_revision, mod_revision, version, value, .. } = found;
    Entry { value, create_revision, mod_revision, version }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{ClientId, Sequence, SessionId, Timestamp};
    use pbft_service::kv::{KeyValueStore, Reply};
    use pbft_service::{Context, Service as _};

    use super::super::Plan;
    use super::super::mix::Mix;
    use super::*;
    use crate::check::Model;

    /// The plain model and the real store say the same, in the words of both.
    #[test]
    fn the_model_and_the_store_agree() {
        let mut mix = Mix::new(&Plan { shared_keys: 4, ..Plan::default() }, 0);
        let (mut model, mut store) = (Model::default(), KeyValueStore::default());
        for number in 1..2000 {
            let operation = mix.next();
            let (client, session) = (ClientId([0; 32]), SessionId(1));
            let context = Context { sequence: Sequence(number), time: Timestamp(number), client, session };
            let result = store.execute(&context, &to_store(&operation).encode()).result;
            let reply = Reply::decode(&result).unwrap().unwrap();
            let seen = observation(&operation, reply.answer).unwrap();
            assert_eq!(seen, model.apply(&operation));
            assert_eq!(reply.revision, model.revision);
            let done = crate::check::Done {
                returned: std::time::Duration::ZERO,
                sequence: number,
                revision: reply.revision,
                observation: seen,
            };
            mix.learn(&operation, &done);
        }
    }
}
