//! One request: as it is sent, and what its answer tells.

use bytes::Bytes;

use pbft_client::KvError;
use pbft_service::kv::{
    Answer, KeyValue, Keys, Operation, Put, Range, Reply, Step, StepAnswer, Txn, TxnAnswer,
};

use crate::keys::{end_of_keys, key};
use crate::tally::Kind;
use crate::values::{Author, Values};

/// One request. `number` is that of the write among all of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Read { key: u32 },
    Scan { key: u32, count: u32 },
    Write { key: u32, number: u64 },
    Modify { key: u32, number: u64 },
}

/// What an answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The store's revision.
    pub(crate) revision: u64,
    /// Whether what was read exists; true if nothing was.
    pub(crate) found: bool,
    /// Whether a value has this run's name and not its bytes.
    pub(crate) altered: bool,
}

impl Request {
    /// How it is counted.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Read { .. } | Self::Scan { .. } => Kind::Read,
            Self::Write { .. } | Self::Modify { .. } => Kind::Write,
        }
    }

    /// The key, or the first one.
    pub(crate) fn key(self) -> u32 {
        let (Self::Read { key }
        | Self::Scan { key, .. }
        | Self::Write { key, .. }
        | Self::Modify { key, .. }) = self;
        key
    }

    /// The number of the write; `None` if it does not write.
    pub(crate) fn write(self) -> Option<u64> {
        match self {
            Self::Write { number, .. } | Self::Modify { number, .. } => Some(number),
            Self::Read { .. } | Self::Scan { .. } => None,
        }
    }

    /// The operation, as a client submits it.
    pub(crate) fn operation(self, values: &Values) -> Bytes {
        let get = |number| Range::new(Keys::Single(key(number)));
        let put = |place, number| Put { key: key(place), value: values.value(number), previous: false };
        let operation = match self {
            Self::Read { key } => Operation::Range(get(key)),
            Self::Scan { key: first, count } => {
                let keys = Keys::Span { start: key(first), end: Some(end_of_keys()) };
                Operation::Range(Range { limit: count, ..Range::new(keys) })
            }
            Self::Write { key, number } => Operation::Put(put(key, number)),
            Self::Modify { key, number } => {
                let success = vec![Step::Range(get(key)), Step::Put(put(key, number))];
                Operation::Txn(Txn { success, ..Txn::default() })
            }
        };
        operation.encode()
    }

    /// Reads the service's result.
    pub(crate) fn told(self, result: &[u8], values: &Values) -> Result<Told, KvError> {
        let Reply { revision, answer } = Reply::decode(result).map_err(|_| KvError::ForeignAnswer)??;
        let (found, altered) = match (self, &answer) {
            (Self::Read { .. } | Self::Scan { .. }, Answer::Range(range)) => looked(&range.entries, values),
            (Self::Write { .. }, Answer::Put(_)) => (true, false),
            (Self::Modify { .. }, Answer::Txn(TxnAnswer { succeeded: true, steps })) => match &steps[..] {
                [StepAnswer::Range(range), StepAnswer::Put(_)] => looked(&range.entries, values),
                _ => return Err(KvError::ForeignAnswer),
            },
            _ => return Err(KvError::ForeignAnswer),
        };
        Ok(Told { revision, found, altered })
    }
}

/// Whether there is an entry, and whether one is altered.
fn looked(entries: &[KeyValue], values: &Values) -> (bool, bool) {
    let altered = |entry: &KeyValue| values.author(&entry.value) == Author::Altered;
    (!entries.is_empty(), entries.iter().any(altered))
}

#[cfg(test)]
mod tests {
    use pbft_messages::{ClientId, Sequence, SessionId, Timestamp};
    use pbft_service::kv::KeyValueStore;
    use pbft_service::{Context, Service as _};

    use super::*;

    fn ask(store: &mut KeyValueStore, request: Request, values: &Values) -> Result<Told, KvError> {
        let (sequence, session) = (Sequence(1), SessionId(1));
        let context = Context { sequence, time: Timestamp(1), client: ClientId([1; 32]), session };
        let result = store.execute(&context, &request.operation(values)).result;
        request.told(&result, values)
    }

    #[test]
    fn the_store_understands_each_request_and_is_understood() {
        let (mut store, values) = (KeyValueStore::default(), Values::new(5, 40));
        let mut told = |request| ask(&mut store, request, &values).unwrap();
        let (found, missing) = ((true, false), (false, false));
        let seen = |told: Told| (told.found, told.altered);
        assert_eq!(seen(told(Request::Read { key: 1 })), missing);
        assert_eq!(seen(told(Request::Modify { key: 1, number: 1 })), missing);
        let before = told(Request::Write { key: 2, number: 2 }).revision;
        assert_eq!(seen(told(Request::Read { key: 2 })), found);
        assert_eq!(seen(told(Request::Scan { key: 1, count: 5 })), found);
        assert_eq!(seen(told(Request::Scan { key: 3, count: 5 })), missing);
        let modified = told(Request::Modify { key: 2, number: 3 });
        assert_eq!((seen(modified), modified.revision), (found, before + 1));
    }

    #[test]
    fn an_altered_value_is_seen_wherever_it_is_read() {
        let (mut store, values) = (KeyValueStore::default(), Values::new(5, 40));
        // The same run's name, with another filler.
        ask(&mut store, Request::Write { key: 2, number: 1 }, &Values::new(5, 39)).unwrap();
        for request in [
            Request::Read { key: 2 },
            Request::Scan { key: 1, count: 5 },
            Request::Modify { key: 2, number: 2 },
        ] {
            assert!(ask(&mut store, request, &values).unwrap().altered, "{request:?}");
        }
    }

    #[test]
    fn an_answer_to_something_else_is_foreign() {
        let (mut store, values) = (KeyValueStore::default(), Values::new(5, 40));
        let context = Context {
            sequence: Sequence(1),
            time: Timestamp(1),
            client: ClientId([1; 32]),
            session: SessionId(1),
        };
        let result = store.execute(&context, &Request::Read { key: 1 }.operation(&values)).result;
        let told = Request::Write { key: 1, number: 1 }.told(&result, &values);
        assert!(matches!(told, Err(KvError::ForeignAnswer)));
    }
}
