//! A measurement, not a test: for how long a snapshot stops execution when the state is large.
//!
//! `cargo test -p pbft-node --lib -- --ignored --nocapture longest_pause`

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use pbft_crypto::Digest;
use pbft_messages::{ClientId, Sequence, SessionId, Timestamp};
use pbft_protocol::{Execution, Input, Operation};
use pbft_service::kv::{self, KeyValueStore, Put};

use super::{Archive, Audits, Executor, Gatherer};
use crate::folder::DataFolder;
use crate::inbound::{Event, Inbound};
use crate::snapshot::ChunkStore;

/// 1 GiB in values of 16 KiB.
const KEYS: u64 = 64 << 10;
const VALUE: usize = 16 << 10;
/// Puts in a batch while it is measured.
const PUTS: u64 = 8;
/// The fewest batches from one checkpoint to the next. As in a replica, the window waits for a snapshot that takes
/// longer, here by putting the next one off.
const INTERVAL: u64 = 128;
const TIME: Duration = Duration::from_secs(30);

struct Run {
    executor: Executor,
    gatherer: Gatherer,
    inbound: Inbound,
    sequence: u64,
    random: u64,
    asked: Option<Instant>,
    taken: Vec<(Sequence, Digest, Duration)>,
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
            for event in events.drain(..) {
                match event {
                    Event::Input(Input::Executed { .. }) => return start.elapsed(),
                    Event::Input(Input::SnapshotTaken { sequence, root }) => {
                        self.taken.push((sequence, root, self.asked.take().unwrap().elapsed()));
                        self.gatherer.remover()(sequence, BTreeSet::new());
                    }
                    Event::Failed(error) => panic!("{error}"),
                    _ => {}
                }
            }
        }
    }

    /// Executes batches of random keys for a while, and prints the longest times.
    fn measure(&mut self, what: &str, snapshots: bool) {
        let (mut times, start) = (Vec::new(), Instant::now());
        self.taken.clear();
        while start.elapsed() < TIME || self.asked.is_some() {
            let due = (times.len() as u64).is_multiple_of(INTERVAL) && start.elapsed() < TIME;
            if snapshots && due && self.asked.is_none() {
                self.asked = Some(Instant::now());
                self.executor.snapshot(Sequence(self.sequence), Vec::new());
            }
            let first = self.random;
            times.push(self.execute((0..PUTS).map(|index| (first >> index) % KEYS)));
            // About the rate of a cluster.
            thread::sleep(Duration::from_millis(5));
        }
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!(
            "{what}: {} batches: median {:.2?}, p99 {:.2?}, p99.9 {:.2?}, longest {:.2?}",
            times.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
        );
        let durable: Vec<_> = self.taken.iter().map(|(_, _, time)| *time).collect();
        println!("  from asking for a snapshot to its being durable: {durable:.2?}");
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
    let gatherer = Gatherer::start(chunks, inbound.clone()).unwrap();
    let (sequence, random, asked, taken) = (0, 0x5eed, None, Vec::new());
    let mut run = Run { executor, gatherer, inbound, sequence, random, asked, taken };
    for first in (0..KEYS).step_by(64) {
        run.execute(first..first + 64);
    }
    run.measure("without snapshots", false);
    run.measure("with snapshots, the first of all included", true);
    run.executor.stop();
    run.gatherer.stop();
    let file = std::fs::metadata(folder.chunks()).unwrap();
    println!("chunks.redb: {} MiB long, {} MiB on disk", file.len() >> 20, file.blocks() >> 11);
    let (sequence, root, _) = *run.taken.last().unwrap();
    let start = Instant::now();
    let store = ChunkStore::open(&folder, &BTreeMap::from([(sequence, root)]), true).unwrap();
    println!("opening it: {:.2?}", start.elapsed());
    let start = Instant::now();
    let read: usize = store.chunks(sequence).map(|chunk| chunk.unwrap().len()).sum();
    println!("reading and checking {} MiB of chunks: {:.2?}", read >> 20, start.elapsed());
}
