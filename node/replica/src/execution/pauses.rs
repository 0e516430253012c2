//! A measurement, not a test: for how long a snapshot stops execution when the state is large.
//!
//! `cargo test -p pbft-node --lib -- --ignored --nocapture longest_pause`

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use pbft_messages::{ClientId, Sequence, SessionId, Timestamp};
use pbft_protocol::{Execution, Input, Operation};
use pbft_service::kv::{self, KeyValueStore, Put};

use super::{Archive, Audits, Executor};
use crate::folder::DataFolder;
use crate::inbound::{Event, Inbound};
use crate::snapshot::ChunkStore;

/// 1 GiB in values of 16 KiB.
const KEYS: u64 = 64 << 10;
const VALUE: usize = 16 << 10;
/// Puts in a batch while it is measured.
const PUTS: u64 = 8;
/// Batches from one checkpoint to the next.
const INTERVAL: u64 = 128;

struct Run {
    executor: Executor,
    inbound: Inbound,
    chunks: ChunkStore,
    sequence: u64,
    random: u64,
    taken: Vec<(u64, Instant)>,
}

impl Run {
    fn put(&mut self, key: u64) -> Operation {
        let mut value = vec![0; VALUE];
        for word in value.chunks_exact_mut(8) {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            word.copy_from_slice(&self.random.to_le_bytes());
        }
        let (key, value) = (Bytes::from(format!("key{key:08}")), Bytes::from(value));
        let operation = kv::Operation::Put(Put { key, value, previous: false }).encode();
        Operation { client: ClientId([1; 32]), session: SessionId(1), operation }
    }

    /// Executes a batch; gives the time until it was done.
    fn execute(&mut self, keys: impl Iterator<Item = u64>) -> Duration {
        let operations = keys.map(|key| self.put(key)).collect();
        self.sequence += 1;
        let (sequence, time) = (Sequence(self.sequence), Some(Timestamp(self.sequence)));
        let start = Instant::now();
        self.executor.execute(Execution { sequence, time, operations });
        let mut events = Vec::new();
        loop {
            self.inbound.take(None, &mut events);
            let mut executed = false;
            for event in events.drain(..) {
                match event {
                    Event::Input(Input::Executed { .. }) => executed = true,
                    Event::Input(Input::SnapshotTaken { sequence, .. }) => {
                        self.taken.push((sequence.0, Instant::now()));
                        self.chunks.remove_below(sequence, &BTreeSet::new()).unwrap();
                    }
                    Event::Failed(error) => panic!("{error}"),
                    _ => {}
                }
            }
            if executed {
                return start.elapsed();
            }
        }
    }

    /// Executes batches of random keys, and prints the longest times.
    fn measure(&mut self, what: &str, batches: u64, snapshots: bool) {
        let (mut times, start) = (Vec::new(), Instant::now());
        let mut asked = BTreeMap::new();
        self.taken.clear();
        for batch in 0..batches {
            if snapshots && batch % INTERVAL == 0 {
                asked.insert(self.sequence, Instant::now());
                self.executor.snapshot(Sequence(self.sequence), Vec::new());
            }
            let first = self.random;
            times.push(self.execute((0..PUTS).map(|index| (first >> index) % KEYS)));
        }
        let elapsed = start.elapsed();
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!(
            "{what}: {batches} batches in {elapsed:.1?}: median {:.2?}, p99 {:.2?}, p99.9 {:.2?}, longest {:.2?}",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
        );
        for (sequence, taken) in &self.taken {
            if let Some(asked) = asked.get(sequence) {
                print!(" {:.2?}", taken.duration_since(*asked));
            }
        }
        println!(" from asking for a snapshot to its being durable");
    }
}

#[test]
#[ignore = "takes minutes and 2 GB of memory"]
fn longest_pause() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = DataFolder::new(temporary.path().join("data"));
    folder.create().unwrap();
    let chunks = ChunkStore::open(&folder, &BTreeMap::new(), true).unwrap();
    let inbound = Inbound::default();
    let archive = Archive { chunks: chunks.clone(), audits: Audits::default(), inbound: inbound.clone() };
    let executor = Executor::start(Box::new(KeyValueStore::default()), archive).unwrap();
    let (sequence, random, taken) = (0, 0x5eed, Vec::new());
    let mut run = Run { executor, inbound, chunks, sequence, random, taken };
    for first in (0..KEYS).step_by(64) {
        run.execute(first..first + 64);
    }
    run.measure("without snapshots", 2048, false);
    run.measure("with the first snapshot of all", INTERVAL, true);
    while run.taken.is_empty() {
        run.execute(0..PUTS);
    }
    run.measure("with snapshots of what changed", 2048, true);
    run.executor.stop();
    let size = std::fs::metadata(folder.chunks()).unwrap().len();
    println!("chunks.redb takes {} MiB", size >> 20);
    drop((run.chunks, run.inbound));
    let sequence = run.taken.last().unwrap().0;
    let start = Instant::now();
    let store = ChunkStore::open(&folder, &BTreeMap::new(), true);
    println!("opening it takes {:.1?}, and finding {sequence} unnamed removes it", start.elapsed());
    drop(store);
}
