//! Snapshots that build on the one before give what one made from nothing gives (C2).

use std::num::NonZeroU64;

use bytes::Bytes;
use pbft_crypto::MerkleTree;
use pbft_service::kv::{Error, KeyValueStore, Keys, Operation, Put, Range, Step, Txn};
use pbft_service::{CHUNK_LIMIT, Service, Snapshot};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::execute;

#[derive(Clone, Debug)]
enum Move {
    /// Puts a value of some length.
    Put(u8, usize),
    /// Puts a value of some length, and the record does not end its chunk.
    PutUnending(u8, usize),
    /// Deletes all keys from one to another.
    Delete(u8, u8),
    /// Writes and then fails, so that nothing is written.
    Fail(u8),
    /// Compacts all but so many revisions.
    Compact(u64),
    Take,
    /// Asks the oldest snapshot for its leaves.
    AskOldest,
    /// Asks any snapshot.
    Ask(Index),
    /// Drops a snapshot unasked.
    Drop(Index),
    /// Goes on with the state of a snapshot.
    Restore(Index),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let length = || prop_oneof![0usize..1_000, 5_000usize..25_000];
    vec(
        prop_oneof![
            8 => (any::<u8>(), length()).prop_map(|(key, length)| Move::Put(key % 48, length)),
            8 => (any::<u8>(), length()).prop_map(|(key, length)| Move::PutUnending(key % 48, length)),
            2 => (any::<u8>(), 0u8..3).prop_map(|(key, count)| Move::Delete(key % 48, count)),
            1 => any::<u8>().prop_map(Move::Fail),
            1 => (0u64..20).prop_map(Move::Compact),
            8 => Just(Move::Take),
            8 => Just(Move::AskOldest),
            1 => any::<Index>().prop_map(Move::Ask),
            1 => any::<Index>().prop_map(Move::Drop),
            1 => any::<Index>().prop_map(Move::Restore),
        ],
        1..120,
    )
}

fn key(number: u8) -> Bytes {
    format!("{number:02}").into()
}

fn put(store: &mut KeyValueStore, key: Bytes, length: usize) {
    execute(store, &Operation::put(key, vec![length as u8; length])).unwrap();
}

/// Puts a value under such a key, starting with that number, that the record does not end its chunk.
fn put_unending(store: &mut KeyValueStore, number: u8, length: usize) {
    let revision = store.revision() + 1;
    let is_unending = |key: &String| {
        let checksum = crc32fast::hash(&[key.as_bytes(), &revision.to_le_bytes()].concat());
        u64::from(checksum.wrapping_mul(0x9E37_79B1)) << 15 > (length as u64 + 100) << 32
    };
    let key = (0..).map(|suffix| format!("{number:02}/{suffix}")).find(is_unending).unwrap();
    put(store, key.into(), length);
}

/// Checks a snapshot against one of a store that knows nothing but its chunks, and returns that store.
fn check(snapshot: &mut dyn Snapshot, retained: NonZeroU64) -> KeyValueStore {
    let leaves = snapshot.leaves();
    let chunks = snapshot.chunks();
    assert_eq!(leaves, chunks.iter().map(|chunk| MerkleTree::leaf(chunk)).collect::<Vec<_>>());
    assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_LIMIT));
    let mut restored = KeyValueStore::new(retained);
    restored.restore(&mut chunks.iter().cloned()).unwrap();
    let mut from_nothing = restored.snapshot();
    assert_eq!(from_nothing.leaves(), leaves);
    assert_eq!(from_nothing.chunks(), chunks);
    restored
}

/// Without a record that ends a chunk, the maximum cuts; where it does is found again behind a change.
#[test]
fn a_change_of_an_unending_run_does_not_move_all_its_cuts() {
    let mut store = KeyValueStore::default();
    for number in 0..=u8::MAX {
        put_unending(&mut store, number, 10_000);
    }
    let before = store.snapshot().leaves();
    put_unending(&mut store, 0, 5_000);
    let changed = store.snapshot().leaves().iter().filter(|leaf| !before.contains(leaf)).count();
    assert!(before.len() < 22, "chunks of at most 128 KiB have ends in them: {}", before.len());
    assert!((2..=5).contains(&changed), "{changed} of {}", before.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn snapshots_do_not_depend_on_the_ones_before(
        retained in prop_oneof![1u64..30, Just(10_000)],
        run in 0u8..48,
        moves in moves(),
    ) {
        let retained = NonZeroU64::new(retained).unwrap();
        let mut store = KeyValueStore::new(retained);
        for number in 0..run {
            put_unending(&mut store, number, 15_000);
        }
        let mut held: Vec<Box<dyn Snapshot>> = Vec::new();
        for step in moves {
            match step {
                Move::Put(number, length) => put(&mut store, key(number), length),
                Move::PutUnending(number, length) => put_unending(&mut store, number, length),
                Move::Delete(number, count) => {
                    let keys = Keys::Span { start: key(number), end: Some(key(number + count)) };
                    execute(&mut store, &Operation::delete(keys)).unwrap();
                }
                Move::Fail(number) => {
                    let write = Put { key: key(number), value: Bytes::new(), previous: false };
                    let fail = Range { revision: Some(u64::MAX), ..Range::new(Keys::prefix("")) };
                    let success = vec![Step::Put(write), Step::Range(fail)];
                    let result = execute(&mut store, &Operation::Txn(Txn { success, ..Txn::default() }));
                    let failed = matches!(result, Err(Error::FutureRevision { .. }));
                    prop_assert!(failed);
                }
                Move::Compact(newest) => {
                    let revision = store.revision().saturating_sub(newest);
                    // Refused if it is compacted already.
                    let _ = execute(&mut store, &Operation::Compact(revision));
                }
                Move::Take => held.push(store.snapshot()),
                Move::AskOldest if !held.is_empty() => {
                    check(&mut *held.remove(0), retained);
                }
                Move::Ask(index) if !held.is_empty() => {
                    check(&mut *held.remove(index.index(held.len())), retained);
                }
                Move::Drop(index) if !held.is_empty() => drop(held.remove(index.index(held.len()))),
                Move::Restore(index) if !held.is_empty() => {
                    let mut snapshot = held.remove(index.index(held.len()));
                    check(&mut *snapshot, retained);
                    store.restore(&mut snapshot.chunks().into_iter()).unwrap();
                }
                Move::AskOldest | Move::Ask(_) | Move::Drop(_) | Move::Restore(_) => {}
            }
        }
        for snapshot in &mut held {
            check(&mut **snapshot, retained);
        }
        check(&mut *store.snapshot(), retained);
    }
}
