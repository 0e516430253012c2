//! Snapshots, and the service that they are of.

use std::num::NonZeroU64;

use bytes::Bytes;

use pbft_messages::{ClientId, Sequence, SessionId, Timestamp, codec};
use pbft_protocol::{Record, initial_records};
use pbft_service::kv::{KeyValueStore, Operation, Reply};
use pbft_service::{Context, Service};

use crate::cluster::INTERVAL;
use crate::harness::{Disk, Harness};
use crate::make::Make;

const CONTEXT: Context =
    Context { sequence: Sequence(1), time: Timestamp(1), client: ClientId([1; 32]), session: SessionId(1) };

/// Few revisions are kept, so that compaction happens.
pub(crate) fn empty_store() -> KeyValueStore {
    KeyValueStore::new(NonZeroU64::new(8).expect("eight is not zero"))
}

/// The chunks of a store that has executed these operations.
pub(crate) fn chunks_after(operations: &[Operation]) -> Vec<Bytes> {
    let mut store = empty_store();
    for operation in operations {
        store.execute(&CONTEXT, &operation.encode());
    }
    store.snapshot().chunks()
}

fn restored(chunks: &[Bytes]) -> Option<KeyValueStore> {
    let mut store = empty_store();
    store.restore(&mut chunks.iter().cloned()).is_ok().then_some(store)
}

pub(super) fn store(bytes: &[u8]) {
    let Ok(chunks) = codec::decode::<Vec<Bytes>>(bytes) else { return };
    let Some(mut store) = restored(&chunks) else { return };
    let own = store.snapshot().chunks();
    let mut again = restored(&own).expect("a store's own chunks can be restored");
    assert_eq!(again.snapshot().chunks(), own, "chunking depends on the state alone");
    let operation = Operation::put("key", "value").encode();
    assert_eq!(store.execute(&CONTEXT, &operation), again.execute(&CONTEXT, &operation));
}

pub(super) fn ledger(bytes: &[u8]) {
    // What is left of the input is played to the replica that has started.
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let (encoded, steps) = rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()));
    let Ok(chunks) = codec::decode::<Vec<Bytes>>(encoded) else { return };
    if let Some(first) = chunks.first() {
        let _ = pbft_protocol::ledger_chunks(first);
    }
    let mut records = initial_records();
    let sequence = Sequence(INTERVAL);
    records.push(Record::Snapshot(sequence, pbft_crypto::MerkleTree::leaf(b"a state")));
    let mut disk = Disk::new(records);
    disk.keep_snapshot(sequence, chunks);
    let Ok(mut harness) = Harness::start(disk) else { return };
    harness.play(&mut Make::new(steps));
}

pub(super) fn operations(bytes: &[u8]) {
    // The operations are either encoded one by one, or drawn as bytes that need not be any.
    let operations: Vec<Bytes> = match codec::decode::<Vec<Operation>>(bytes) {
        Ok(operations) => operations.iter().take(64).map(|it| it.encode()).collect(),
        Err(_) => match codec::decode::<Vec<Bytes>>(bytes) {
            Ok(operations) => operations.into_iter().take(64).collect(),
            Err(_) => return,
        },
    };
    let mut store = empty_store();
    for (index, operation) in operations.iter().enumerate() {
        let (before, revision) = (store.snapshot().chunks(), store.revision());
        let queried = store.reader().query(operation);
        assert_eq!(store.snapshot().chunks(), before, "a query changes the state");
        let mut twin = restored(&before).expect("a store's own chunks can be restored");
        let (output, twins) = (store.execute(&CONTEXT, operation), twin.execute(&CONTEXT, operation));
        assert_eq!(output, twins, "a restored store goes on otherwise");
        assert_eq!(store.snapshot().chunks(), twin.snapshot().chunks());
        assert!(store.revision() - revision <= 1, "operation {index} makes more than one revision");
        assert!(store.revision() > revision || output.events.is_empty());
        let reply = Reply::decode(&output.result).expect("a result is a reply");
        let asked = Reply::decode(&queried).expect("an answer is a reply");
        if Operation::decode(operation).is_ok_and(|it| it.is_read_only()) {
            assert_eq!(asked.map(|it| it.answer), reply.map(|it| it.answer), "a query answers otherwise");
        }
    }
}
