//! The key-value store through its public face: against a naive model, at its limits, and its snapshots.
#![allow(clippy::unwrap_used)] // A test's panic is its failure.

mod incremental;
mod limits;
mod model;
mod properties;
mod snapshots;

use bytes::Bytes;
use pbft_messages::{ClientId, Sequence, SessionId, Timestamp};
use pbft_service::kv::{Answer, Error, KeyValueStore, Operation, Range, RangeAnswer, Reply};
use pbft_service::{Context, Service};

const CONTEXT: Context =
    Context { sequence: Sequence(1), time: Timestamp(1), client: ClientId([1; 32]), session: SessionId(1) };

fn execute(store: &mut KeyValueStore, operation: &Operation) -> Result<Reply, Error> {
    Reply::decode(&store.execute(&CONTEXT, &operation.encode()).result).unwrap()
}

fn query(store: &KeyValueStore, operation: &Operation) -> Result<Reply, Error> {
    Reply::decode(&store.reader().query(&operation.encode())).unwrap()
}

fn range(store: &KeyValueStore, range: Range) -> Result<RangeAnswer, Error> {
    match query(store, &Operation::Range(range))?.answer {
        Answer::Range(answer) => Ok(answer),
        other => panic!("a range is answered with {other:?}"),
    }
}

fn chunks(store: &mut KeyValueStore) -> Vec<Bytes> {
    store.snapshot().chunks()
}

/// N5: replicas that differ by a write to another key give the same bytes to an unordered read.
#[test]
fn a_query_is_not_disturbed_by_writes_to_other_keys() {
    let mut store = KeyValueStore::default();
    execute(&mut store, &Operation::put("a", "1")).unwrap();
    let get = Operation::get("a");
    let (before, reader) = (query(&store, &get).unwrap(), store.reader());
    assert_eq!(before.revision, 2);
    execute(&mut store, &Operation::put("b", "1")).unwrap();
    assert_eq!(query(&store, &get).unwrap(), before);
    execute(&mut store, &Operation::put("a", "2")).unwrap();
    assert_eq!(query(&store, &get).unwrap().revision, 4);
    assert_eq!(
        Reply::decode(&reader.query(&get.encode())).unwrap().unwrap(),
        before,
        "a reader's state is fixed"
    );
}
