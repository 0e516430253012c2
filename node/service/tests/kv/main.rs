//! The key-value store through its public face: against a naive model, at its limits, and its snapshots.
#![allow(clippy::unwrap_used)] // A test's panic is its failure.

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
    Reply::decode(&store.query(&operation.encode())).unwrap()
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
