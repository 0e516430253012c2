//! Snapshots: cut by content, unmoved by later writes, and checked when read.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use bytes::Bytes;
use pbft_service::kv::{KeyValueStore, Keys, MAX_VALUE, Operation, Put, Step, Txn};
use pbft_service::{CHUNK_LIMIT, RestoreError, Service};

use crate::{chunks, execute};

/// A store with so many keys of 20 bytes and values of 100.
fn filled(count: usize) -> KeyValueStore {
    let mut store = KeyValueStore::default();
    let step = |index: usize| {
        Step::Put(Put {
            key: format!("{index:020}").into(),
            value: vec![index as u8; 100].into(),
            previous: false,
        })
    };
    for first in (0..count).step_by(100) {
        let success = (first..count.min(first + 100)).map(step).collect();
        execute(&mut store, &Operation::Txn(Txn { success, ..Txn::default() })).unwrap();
    }
    store
}

fn restore(chunks: &[Bytes]) -> Result<KeyValueStore, RestoreError> {
    let mut store = KeyValueStore::default();
    store.restore(&mut chunks.iter().cloned())?;
    Ok(store)
}

#[test]
fn chunks_have_the_size_that_they_should() {
    let chunks = chunks(&mut filled(50_000));
    let average = chunks.iter().map(Bytes::len).sum::<usize>() / (chunks.len() - 1);
    assert!((45_000..85_000).contains(&average), "{average}");
    assert!(chunks.iter().all(|chunk| chunk.len() <= (256 << 10) + 8));
}

#[test]
fn a_small_change_of_a_large_state_changes_few_chunks() {
    let mut store = filled(50_000);
    let before: BTreeSet<_> = chunks(&mut store).into_iter().collect();
    execute(&mut store, &Operation::put("00000000000000025000x", "inserted")).unwrap();
    execute(&mut store, &Operation::put(format!("{:020}", 100), "longer than it was before".repeat(9)))
        .unwrap();
    execute(&mut store, &Operation::delete(Keys::Single(format!("{:020}", 40_000).into()))).unwrap();
    let changed = chunks(&mut store).into_iter().filter(|chunk| !before.contains(chunk)).count();
    // The header and one chunk for each change; a record that came or went as the end of a chunk makes it one more.
    assert!((4..=7).contains(&changed), "{changed} of {} chunks", before.len());
}

/// Many versions of one key, each of the largest size: the history is spread over chunks.
#[test]
fn no_chunk_is_too_large() {
    let mut store = KeyValueStore::default();
    for index in 0..10 {
        execute(&mut store, &Operation::put("key", vec![index; MAX_VALUE])).unwrap();
    }
    for index in 0..9_000u64 {
        execute(&mut store, &Operation::put("small", index.to_le_bytes().to_vec())).unwrap();
    }
    let snapshot = chunks(&mut store);
    assert!(snapshot.len() > 10);
    assert!(snapshot.iter().all(|chunk| chunk.len() <= CHUNK_LIMIT && !chunk.is_empty()));
    assert_eq!(chunks(&mut restore(&snapshot).unwrap()), snapshot);
}

#[test]
fn a_snapshot_is_not_changed_by_later_writes() {
    let mut store = filled(5_000);
    let expected = chunks(&mut store);
    let (mut early, mut late) = (store.snapshot(), store.snapshot());
    let leaves = early.leaves();
    execute(&mut store, &Operation::delete(Keys::prefix("0000000000000000"))).unwrap();
    execute(&mut store, &Operation::put("new", "value")).unwrap();
    let compact = Operation::Compact(store.revision());
    execute(&mut store, &compact).unwrap();
    assert_eq!((early.leaves(), early.chunks()), (leaves, expected.clone()));
    let late = std::thread::scope(|scope| scope.spawn(|| late.chunks()).join().unwrap());
    assert_eq!(late, expected);
    assert_ne!(chunks(&mut store), expected);
}

#[test]
fn after_compaction_nothing_is_left_of_the_deleted() {
    let mut store = filled(5_000);
    execute(&mut store, &Operation::delete(Keys::prefix(""))).unwrap();
    let compact = Operation::Compact(store.revision());
    execute(&mut store, &compact).unwrap();
    assert_eq!(chunks(&mut store).len(), 1, "the header alone");
}

/// With a few revisions retained, the size of the state does not depend on how much was written.
#[test]
fn automatic_compaction_bounds_the_state() {
    let mut store = KeyValueStore::new(NonZeroU64::new(10).unwrap());
    let mut write = |count: u64| {
        for index in 0..count {
            let key = (index % 5).to_string();
            match index % 7 {
                0 => execute(&mut store, &Operation::delete(Keys::Single(key.into()))).unwrap(),
                _ => execute(&mut store, &Operation::put(key, "value")).unwrap(),
            };
        }
        chunks(&mut store).iter().map(Bytes::len).sum::<usize>()
    };
    let (few, many) = (write(350), write(3_500));
    assert_eq!(few, many);
}

#[test]
fn damaged_snapshots_are_refused_and_leave_the_state_alone() {
    let intact = chunks(&mut filled(2_000));
    assert!(intact.len() > 3 && restore(&intact).is_ok());
    let mut damaged = vec![Vec::new(), intact[1..].to_vec(), vec![Bytes::new()]];
    for index in 0..intact.len() {
        let mut without = intact.clone();
        without.remove(index);
        let mut twice = intact.clone();
        twice.insert(index, intact[index].clone());
        let mut short = intact.clone();
        short[index].truncate(intact[index].len() - 1);
        let mut long = intact.clone();
        long[index] = [&intact[index][..], &[0]].concat().into();
        damaged.extend([without, twice, short, long]);
    }
    let mut swapped = intact.clone();
    swapped.swap(1, 2);
    damaged.push(swapped);

    let mut store = KeyValueStore::default();
    execute(&mut store, &Operation::put("key", "value")).unwrap();
    let before = chunks(&mut store);
    for snapshot in damaged {
        assert!(store.restore(&mut snapshot.into_iter()).is_err());
        assert_eq!(chunks(&mut store), before);
    }
}

/// Values are guarded by the checkpoint's root alone; of all else a flipped bit is noticed, or makes a state that
/// could have been.
#[test]
fn flipped_bits_never_panic() {
    let mut store = KeyValueStore::default();
    execute(&mut store, &Operation::put("a", "value")).unwrap();
    execute(&mut store, &Operation::put("b", "value")).unwrap();
    execute(&mut store, &Operation::delete(Keys::Single("a".into()))).unwrap();
    execute(&mut store, &Operation::put("a", "again")).unwrap();
    execute(&mut store, &Operation::Compact(3)).unwrap();
    let intact = chunks(&mut store);
    let mut refused = 0;
    for (chunk, bit) in
        (0..intact.len()).flat_map(|chunk| (0..intact[chunk].len() * 8).map(move |bit| (chunk, bit)))
    {
        let mut bytes = intact[chunk].to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut damaged = intact.clone();
        damaged[chunk] = bytes.into();
        match restore(&damaged) {
            Ok(mut store) => assert_eq!(chunks(&mut store), damaged),
            Err(_) => refused += 1,
        }
    }
    let bits = intact.iter().map(|chunk| chunk.len() * 8).sum::<usize>();
    assert!(refused * 10 > bits * 8, "{refused} of {bits}");
}

#[test]
fn another_format_or_another_retention_is_named() {
    let intact = chunks(&mut filled(10));
    let mut future = intact.clone();
    future[0] = [&[2, 0, 0, 0], &intact[0][4..], b"more"].concat().into();
    assert_eq!(restore(&future).err(), Some(RestoreError::UnsupportedFormat { found: 2, supported: 1 }));
    let mut other = KeyValueStore::new(NonZeroU64::new(7).unwrap());
    let error = other.restore(&mut intact.into_iter()).unwrap_err().to_string();
    assert!(error.contains("retains 10000 revisions, this one retains 7"), "{error}");
}
