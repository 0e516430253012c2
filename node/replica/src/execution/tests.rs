use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use pbft_crypto::{Digest, MerkleTree};
use pbft_messages::{
    Chunk, ClientId, Part, PartId, PeerMessage, Read, ReadAnswer, ReadId, ReadOutcome, ReplicaId, Sequence,
    SessionId, Timestamp,
};
use pbft_protocol::{Effect, Execution, Input, Operation, Query};
use pbft_service::{
    Context, NullResult, NullService, Output, Reader, RestoreError, Service, Snapshot, WholeSnapshot,
};

use super::*;
use crate::RunError;
use crate::folder::DataFolder;
use crate::inbound::{Event, Inbound};
use crate::snapshot::ChunkStore;

struct Bench {
    archive: Archive,
    executor: Executor,
    waiting: RefCell<VecDeque<Event>>,
    _temporary: tempfile::TempDir,
}

fn bench(service: impl Service) -> Bench {
    let temporary = tempfile::tempdir().unwrap();
    let folder = DataFolder::new(temporary.path().join("data"));
    folder.create().unwrap();
    let chunks = ChunkStore::open(&folder, &BTreeMap::new(), true).unwrap();
    let archive = Archive { chunks, audits: Audits::default(), inbound: Inbound::default() };
    let executor = Executor::start(Box::new(service), archive.clone()).unwrap();
    Bench { archive, executor, waiting: RefCell::default(), _temporary: temporary }
}

impl Bench {
    fn next(&self) -> Event {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            let mut batch = Vec::new();
            self.archive.inbound.take(None, &mut batch);
            waiting.extend(batch);
        }
        waiting.pop_front().unwrap()
    }
}

fn batch(sequence: u64, operations: &[&'static [u8]]) -> Execution {
    let operation = |bytes: &&'static [u8]| Operation {
        client: ClientId([1; 32]),
        session: SessionId(1),
        operation: Bytes::from_static(bytes),
    };
    let operations = operations.iter().map(operation).collect();
    Execution { sequence: Sequence(sequence), time: Some(Timestamp(sequence)), operations }
}

#[test]
fn batches_are_executed_and_snapshots_become_durable_and_are_served() {
    let bench = bench(NullService::new(NullResult::Echo));
    bench.executor.execute(batch(1, &[b"a", b"b"]));
    let Event::Input(Input::Executed { sequence, results, next_deadline: None }) = bench.next() else {
        panic!()
    };
    assert_eq!((sequence, results), (Sequence(1), vec![Bytes::from("a"), Bytes::from("b")]));

    let ledger = vec![Bytes::from_static(b"ledger")];
    bench.executor.snapshot(Sequence(1), ledger.clone());
    let Event::Input(Input::SnapshotTaken { sequence, root }) = bench.next() else { panic!() };
    let chunks: Vec<_> = bench.archive.chunks.chunks(sequence).map(Result::unwrap).collect();
    assert_eq!((&chunks[..1], chunks.len()), (&ledger[..], 2));

    let (id, answer) = bench.archive.audits.ask();
    bench.executor.audit(id, Sequence(1), ledger);
    assert_eq!(answer.blocking_recv().unwrap(), (Sequence(1), root));
    assert_eq!(bench.archive.audits.known(Sequence(1)), Some(root));
    assert_eq!(bench.archive.audits.known(Sequence(2)), None);

    let server = ChunkServer::start(bench.archive.chunks.clone(), bench.archive.inbound.clone()).unwrap();
    let id = PartId { sequence, part: Part::Chunk(1) };
    server.serve(ReplicaId(2), id);
    let Event::Answer(Effect::Send { to: ReplicaId(2), message: PeerMessage::Chunk(chunk) }, _) =
        bench.next()
    else {
        panic!()
    };
    assert_eq!(chunk, Chunk { sequence, index: 1, content: chunks[1].clone() });
    // R3: of one that asks without end so many questions are answered, until the driver has taken the answers.
    (0..100).for_each(|_| server.serve(ReplicaId(2), id));
    server.serve(ReplicaId(1), id);
    server.stop();
    assert_eq!(bench.archive.inbound.depths().events, 16 + 1);
    bench.executor.stop();
}

/// A service that does not keep its contract.
struct Broken;

impl Service for Broken {
    fn execute(&mut self, _: &Context, operation: &[u8]) -> Output {
        assert!(operation != b"panic", "the operation was too much");
        Output::default()
    }
    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(Self)
    }
    fn snapshot(&mut self) -> Box<dyn Snapshot> {
        struct Wrong;
        impl Snapshot for Wrong {
            fn leaves(&mut self) -> Vec<Digest> {
                vec![MerkleTree::leaf(b"promised")]
            }
            fn chunk(&self, _: usize) -> Bytes {
                Bytes::from_static(b"given")
            }
        }
        Box::new(Wrong)
    }
    fn restore(&mut self, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), RestoreError> {
        WholeSnapshot::collect(chunks, 0).map(drop)
    }
}

impl Reader for Broken {
    fn query(&self, _: &[u8]) -> Bytes {
        panic!("the query was too much")
    }
}

fn query(id: u64) -> Query {
    let read = Read { id: ReadId(id), operation: Bytes::from_static(b"read") };
    Query { client: ClientId([1; 32]), session: SessionId(1), sequence: Sequence(1), read }
}

/// A service whose readers wait until they are let go, and tell how many operations they know of.
struct Slow {
    executed: u8,
    gate: Arc<Mutex<Receiver<()>>>,
}

struct SlowReader(u8, Arc<Mutex<Receiver<()>>>);

impl Reader for SlowReader {
    fn query(&self, _: &[u8]) -> Bytes {
        // An error means that the gate is open for good.
        let _ = self.1.lock().unwrap().recv();
        vec![self.0].into()
    }
}

impl Service for Slow {
    fn execute(&mut self, _: &Context, _: &[u8]) -> Output {
        self.executed += 1;
        Output::default()
    }
    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(SlowReader(self.executed, self.gate.clone()))
    }
    fn snapshot(&mut self) -> Box<dyn Snapshot> {
        Box::new(WholeSnapshot::new(vec![self.executed]))
    }
    fn restore(&mut self, _: &mut dyn Iterator<Item = Bytes>) -> Result<(), RestoreError> {
        Ok(())
    }
}

/// The reads' thread stands still, thousands of reads wait, and batches are executed as ever. What had no place is
/// refused; what had one is answered from the state that it was given.
#[test]
fn fault_36_reads_hold_no_execution_up() {
    const READS: u64 = 5000;
    let (open, gate) = channel();
    let bench = bench(Slow { executed: 0, gate: Arc::new(Mutex::new(gate)) });
    let (mut executed, mut refused) = (Vec::new(), 0);
    let mut note = |event| match event {
        Event::Input(Input::Executed { sequence, .. }) => executed.push(sequence.0),
        Event::Effect(Effect::AnswerRead { answer, .. }) => {
            assert_eq!(answer.outcome, ReadOutcome::Refused);
            refused += 1;
        }
        _ => panic!(),
    };
    let mut events = Vec::new();
    for sequence in 1..=3 {
        bench.executor.execute(batch(sequence, &[b"write"]));
        (0..READS).for_each(|id| bench.executor.query(query(id)));
    }
    bench.executor.execute(batch(4, &[b"write"]));
    let fourth = |event: &Event| matches!(event, Event::Input(Input::Executed { sequence: Sequence(4), .. }));
    while !events.iter().any(fourth) {
        bench.archive.inbound.take(None, &mut events);
    }
    events.into_iter().for_each(&mut note);
    assert_eq!(executed, [1, 2, 3, 4]);
    assert!(refused > 0);
    drop(open);
    let (mut answered, mut events) = (Vec::new(), Vec::new());
    while answered.len() + refused < 3 * READS as usize {
        bench.archive.inbound.take(None, &mut events);
        for event in events.drain(..) {
            let Event::Effect(Effect::AnswerRead { answer, .. }) = event else { panic!() };
            match answer.outcome {
                ReadOutcome::Refused => refused += 1,
                ReadOutcome::Result { sequence, result } => {
                    assert_eq!(sequence, Sequence(1));
                    answered.push(result[0]);
                }
            }
        }
    }
    assert!(answered.is_sorted() && (1..=3).contains(&answered[0]), "{:?}", answered.first());
    bench.executor.stop();
}

/// The same bytes panic at every replica, and must not stop them all.
#[test]
fn a_panic_of_a_reader_costs_its_read_alone() {
    let bench = bench(Broken);
    bench.executor.query(query(7));
    let Event::Effect(Effect::AnswerRead { answer, .. }) = bench.next() else { panic!() };
    assert_eq!(answer, ReadAnswer { id: ReadId(7), outcome: ReadOutcome::Refused });
    bench.executor.execute(batch(1, &[b"fine"]));
    assert!(matches!(bench.next(), Event::Input(Input::Executed { .. })));
    bench.executor.stop();
}

#[test]
fn a_broken_service_stops_the_replica_and_is_named() {
    let failure = |give: &dyn Fn(&Executor)| {
        let bench = bench(Broken);
        give(&bench.executor);
        let Event::Failed(error) = bench.next() else { panic!() };
        error.to_string()
    };
    let text = failure(&|executor| executor.execute(batch(3, &[b"fine", b"panic"])));
    assert!(text.contains("sequence 3") && text.contains("the operation was too much"), "{text}");
    let text = failure(&|executor| executor.snapshot(Sequence(4), vec![]));
    assert!(text.contains("sequence 4") && text.contains("does not have the digest"), "{text}");
}

/// A snapshot of one chunk of the ledger, in its format, and one of the service.
fn stored(bench: &Bench, state: &'static [u8]) -> Vec<Bytes> {
    let ledger = pbft_messages::codec::encode(&(2_u32, 1_u64)).into();
    let contents = vec![ledger, Bytes::from_static(state)];
    let leaves = contents.iter().map(|content| MerkleTree::leaf(content)).collect();
    let put = |index: usize| -> Result<_, RunError> { Ok(contents[index].clone()) };
    bench.archive.chunks.put(Sequence(4), leaves, put).unwrap();
    contents
}

#[test]
fn a_service_gets_its_part_of_a_snapshot_and_the_replica_its_own() {
    let bench = bench(NullService::new(NullResult::Echo));
    let contents = stored(&bench, &[7, 0, 0, 0, 0, 0, 0, 0]);
    let mut service = NullService::new(NullResult::Echo);
    assert_eq!(restore(&mut service, &bench.archive.chunks, Sequence(4)).unwrap(), contents[..1]);
    assert_eq!(service.executed(), 7);
}

/// Whatever a service makes of a state that ends too soon, the damage is what is reported.
#[test]
fn a_damaged_snapshot_is_no_fault_of_the_service() {
    let bench = bench(Broken);
    let contents = stored(&bench, b"x");
    let error = restore(&mut Broken, &bench.archive.chunks, Sequence(4)).unwrap_err();
    assert!(matches!(error, RunError::Restore { sequence: Sequence(4), .. }));
    bench.archive.chunks.rot(&contents[1]);
    let error = restore(&mut Broken, &bench.archive.chunks, Sequence(4)).unwrap_err();
    assert!(matches!(error, RunError::Snapshot(_)) && error.to_string().contains("digest"), "{error}");
}

/// C3: what is fetched is kept, and only then told; and then the service runs on it.
#[test]
fn a_fetched_state_is_gathered_kept_and_installed() {
    let source = bench(NullService::new(NullResult::Echo));
    let contents = stored(&source, &[7, 0, 0, 0, 0, 0, 0, 0]);
    let leaves: Vec<_> = contents.iter().map(|content| MerkleTree::leaf(content)).collect();
    let root = MerkleTree::new(leaves.clone()).root();

    let target = bench(NullService::new(NullResult::Echo));
    let gatherer = Gatherer::start(target.archive.chunks.clone(), target.archive.inbound.clone()).unwrap();
    let sequence = Sequence(4);
    gatherer.gather(sequence, leaves.into());
    let Event::Input(Input::Gathering { missing, .. }) = target.next() else { panic!() };
    assert_eq!(missing, BTreeSet::from([0, 1]));
    for (index, content) in (0..).zip(contents.clone()) {
        gatherer.keep(Chunk { sequence, index, content });
    }
    for expected in 0..2 {
        let Event::Input(Input::ChunkKept { sequence: Sequence(4), index }) = target.next() else { panic!() };
        assert_eq!(index, expected);
    }
    target.executor.install(sequence);
    let Event::Input(Input::Installed { ledger, next_deadline: None, .. }) = target.next() else { panic!() };
    assert_eq!(ledger, contents[..1]);
    let (id, answer) = target.archive.audits.ask();
    target.executor.audit(id, sequence, ledger);
    assert_eq!(answer.blocking_recv().unwrap(), (sequence, root));

    let remove_below = gatherer.remover();
    remove_below(Sequence(8), BTreeSet::new());
    drop(remove_below);
    gatherer.stop();
    let question = PartId { sequence, part: Part::Chunk(0) };
    assert_eq!(target.archive.chunks.answer(question), PeerMessage::NoSnapshot(sequence));
}

/// Not the service's code: there is no service at fault to name, and the replica must not wait for a thread that is gone.
#[test]
fn a_panic_of_the_thread_itself_stops_the_replica() {
    let inbound = Inbound::default();
    contained("pbft-snapshot", &inbound, || panic!("an error of this program"));
    let mut batch = Vec::new();
    inbound.take(None, &mut batch);
    assert!(matches!(batch[..], [Event::Failed(RunError::Panicked("pbft-snapshot"))]));
}

/// A service whose snapshots take until they are let go.
struct Lengthy(Arc<Mutex<Receiver<()>>>);

struct LengthySnapshot(Arc<Mutex<Receiver<()>>>);

impl Snapshot for LengthySnapshot {
    fn leaves(&mut self) -> Vec<Digest> {
        // An error means that the gate is open for good.
        let _ = self.0.lock().unwrap().recv();
        vec![MerkleTree::leaf(b"state")]
    }
    fn chunk(&self, _: usize) -> Bytes {
        Bytes::from_static(b"state")
    }
}

impl Reader for LengthySnapshot {
    fn query(&self, _: &[u8]) -> Bytes {
        Bytes::new()
    }
}

impl Service for Lengthy {
    fn execute(&mut self, _: &Context, _: &[u8]) -> Output {
        Output::default()
    }
    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(LengthySnapshot(self.0.clone()))
    }
    fn snapshot(&mut self) -> Box<dyn Snapshot> {
        Box::new(LengthySnapshot(self.0.clone()))
    }
    fn restore(&mut self, _: &mut dyn Iterator<Item = Bytes>) -> Result<(), RestoreError> {
        Ok(())
    }
}

/// A checkpoint takes long, and roots are asked for again and again meanwhile: batches are executed as ever.
#[test]
fn whoever_asks_for_roots_holds_no_execution_up() {
    let (open, gate) = channel();
    let bench = bench(Lengthy(Arc::new(Mutex::new(gate))));
    bench.executor.snapshot(Sequence(1), vec![]);
    let answers: Vec<_> = (0..20)
        .map(|_| {
            let (id, answer) = bench.archive.audits.ask();
            bench.executor.audit(id, Sequence(1), vec![]);
            answer
        })
        .collect();
    bench.executor.execute(batch(2, &[b"write"]));
    assert!(matches!(bench.next(), Event::Input(Input::Executed { .. })));
    assert!(
        answers.into_iter().all(|answer| answer.blocking_recv().is_err()),
        "told at once that there is none"
    );
    drop(open);
    assert!(matches!(bench.next(), Event::Input(Input::SnapshotTaken { .. })));
    let (id, answer) = bench.archive.audits.ask();
    bench.executor.audit(id, Sequence(2), vec![]);
    assert_eq!(answer.blocking_recv().unwrap().0, Sequence(2));
    bench.executor.stop();
}

/// R2: one client's reads leave room for another's, and for what the driver gives.
#[test]
fn reads_of_one_client_leave_room() {
    let (open, gate) = channel();
    let bench = bench(Slow { executed: 0, gate: Arc::new(Mutex::new(gate)) });
    (0..1000).for_each(|id| bench.executor.query(query(id)));
    bench.executor.query(Query { client: ClientId([2; 32]), ..query(0) });
    bench.executor.execute(batch(1, &[b"write"]));
    let (mut refused, mut events) = (0, Vec::new());
    while !matches!(events.last(), Some(Event::Input(Input::Executed { .. }))) {
        bench.archive.inbound.take(None, &mut events);
    }
    for event in events {
        if let Event::Effect(Effect::AnswerRead { client, .. }) = event {
            assert_eq!(client, ClientId([1; 32]));
            refused += 1;
        }
    }
    assert_eq!(refused, 1000 - 128);
    drop(open);
    bench.executor.stop();
}
