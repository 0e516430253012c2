//! What the key-value store's operations and snapshots cost: `cargo bench -p pbft-service`.
#![allow(missing_docs)] // Of what criterion's macros make.

use std::cell::RefCell;
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use pbft_crypto::MerkleTree;
use pbft_messages::{ClientId, Sequence, SessionId, Timestamp};
use pbft_service::kv::{KeyValueStore, Operation, Put, Step, Txn};
use pbft_service::{Context, Service};

const CONTEXT: Context =
    Context { sequence: Sequence(1), time: Timestamp(1), client: ClientId([1; 32]), session: SessionId(1) };

/// Keys of 20 bytes and values of 100.
fn put(index: usize) -> Put {
    Put { key: format!("{index:020}").into(), value: vec![index as u8; 100].into(), previous: false }
}

fn filled(count: usize) -> KeyValueStore {
    let mut store = KeyValueStore::default();
    for first in (0..count).step_by(100) {
        let success = (first..first + 100).map(|index| Step::Put(put(index))).collect();
        store.execute(&CONTEXT, &Operation::Txn(Txn { success, ..Txn::default() }).encode());
    }
    store
}

/// Indices below `count` all over the range, with few repetitions.
fn scattered(count: usize) -> impl Iterator<Item = usize> {
    (0..).map(move |step: usize| step.wrapping_mul(0x9E37_79B9_7F4A_7C15) % count)
}

fn puts(criterion: &mut Criterion) {
    let mut store = filled(100_000);
    let mut indices = scattered(100_000);
    let mut operation = || Operation::Put(put(indices.next().expect("it is endless"))).encode();
    criterion.bench_function("put over 100000 keys", |bencher| {
        bencher.iter_batched(
            &mut operation,
            |operation| store.execute(&CONTEXT, &operation),
            BatchSize::SmallInput,
        );
    });
}

fn snapshots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot and leaves");
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        group.sample_size(if count < 1_000_000 { 50 } else { 10 });
        let store = RefCell::new(filled(count));
        store.borrow_mut().snapshot().leaves();
        let indices = RefCell::new(scattered(count));
        let leaves = |()| {
            let mut snapshot = store.borrow_mut().snapshot();
            (black_box(snapshot.leaves()), snapshot)
        };
        for changed in [1, 100] {
            let change = || {
                for index in indices.borrow_mut().by_ref().take(changed) {
                    store.borrow_mut().execute(&CONTEXT, &Operation::Put(put(index)).encode());
                }
            };
            group.bench_function(BenchmarkId::new(format!("{changed} changed"), count), |bencher| {
                bencher.iter_batched(change, leaves, BatchSize::PerIteration);
            });
        }
        // After one that nobody asked, a snapshot has nothing to build on.
        let forget = || drop(store.borrow_mut().snapshot());
        group.bench_function(BenchmarkId::new("from nothing", count), |bencher| {
            bencher.iter_batched(forget, leaves, BatchSize::PerIteration);
        });
    }
}

/// The digests' tree, which replicas build anew for each checkpoint, whatever changed.
fn trees(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Merkle tree and root");
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        let leaves = filled(count).snapshot().leaves();
        let name = format!("{count} keys, leaves");
        group.bench_function(BenchmarkId::new(name, leaves.len()), |bencher| {
            let root = |leaves| MerkleTree::new(leaves).root();
            bencher.iter_batched(|| leaves.clone(), root, BatchSize::SmallInput);
        });
    }
}

criterion_group!(benches, puts, snapshots, trees);
criterion_main!(benches);
