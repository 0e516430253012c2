use bytes::Bytes;

use pbft_crypto::{Digest, MerkleTree};
use pbft_messages::{ChunkId, ClientId, PeerMessage, ReplicaId, Sequence, SessionId, Timestamp};
use pbft_protocol::{Effect, Execution, Input, Operation};
use pbft_service::{
    Context, NullResult, NullService, Output, RestoreError, Service, Snapshot, WholeSnapshot,
};

use super::*;
use crate::folder::DataFolder;
use crate::inbound::{Event, Inbound};
use crate::snapshot::{Shelf, load};

struct Bench {
    archive: Archive,
    executor: Executor,
    _temporary: tempfile::TempDir,
}

fn bench(service: impl Service) -> Bench {
    let temporary = tempfile::tempdir().unwrap();
    let folder = DataFolder::new(temporary.path().join("data"));
    folder.create().unwrap();
    let shelf = Shelf::new(folder.clone(), vec![]).unwrap();
    let archive =
        Archive { folder, shelf, sync: true, audits: Audits::default(), inbound: Inbound::default() };
    let executor = Executor::start(Box::new(service), archive.clone()).unwrap();
    Bench { archive, executor, _temporary: temporary }
}

impl Bench {
    fn next(&self) -> Event {
        let mut batch = Vec::new();
        self.archive.inbound.take(None, &mut batch);
        assert_eq!(batch.len(), 1);
        batch.remove(0)
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
    let (_, chunks) = load(&bench.archive.folder, sequence, root).unwrap();
    assert_eq!((&chunks[..1], chunks.len()), (&ledger[..], 2));

    let (id, answer) = bench.archive.audits.ask();
    bench.executor.audit(id, Sequence(1), ledger);
    assert_eq!(answer.blocking_recv().unwrap(), (Sequence(1), root));
    assert_eq!(bench.archive.audits.known(Sequence(1)), Some(root));
    assert_eq!(bench.archive.audits.known(Sequence(2)), None);

    let server = ChunkServer::start(bench.archive.shelf.clone(), bench.archive.inbound.clone()).unwrap();
    server.serve(ReplicaId(2), ChunkId { sequence, index: 1 });
    let Event::Effect(Effect::Send { to: ReplicaId(2), message: PeerMessage::Chunk(chunk) }) = bench.next()
    else {
        panic!()
    };
    assert!(chunk.content == chunks[1] && chunk.proof.proves(&root, 1, 2, &chunk.content));
    server.stop();
    bench.executor.stop();
}

/// A service that does not keep its contract.
struct Broken;

impl Service for Broken {
    fn execute(&mut self, _: &Context, operation: &[u8]) -> Output {
        assert!(operation != b"panic", "the operation was too much");
        Output::default()
    }
    fn query(&self, _: &[u8]) -> Bytes {
        Bytes::new()
    }
    fn snapshot(&mut self) -> Box<dyn Snapshot> {
        struct Empty;
        impl Snapshot for Empty {
            fn leaves(&mut self) -> Vec<Digest> {
                vec![MerkleTree::leaf(b"")]
            }
            fn chunk(&self, _: usize) -> Bytes {
                Bytes::new()
            }
        }
        Box::new(Empty)
    }
    fn restore(&mut self, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), RestoreError> {
        WholeSnapshot::collect(chunks, 0).map(drop)
    }
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
    assert!(text.contains("sequence 4") && text.contains("0 bytes"), "{text}");
    let error = restore(&mut Broken, Sequence(4), [Bytes::from_static(b"x")]).unwrap_err();
    assert!(matches!(error, crate::RunError::Restore { sequence: Sequence(4), .. }));
}

/// Not the service's code: there is no service at fault to name, and the replica must not wait for a thread that is gone.
#[test]
fn a_panic_of_the_thread_itself_stops_the_replica() {
    let inbound = Inbound::default();
    contained("pbft-snapshot", &inbound, || panic!("an error of this program"));
    let mut batch = Vec::new();
    inbound.take(None, &mut batch);
    assert!(matches!(batch[..], [Event::Failed(crate::RunError::Panicked("pbft-snapshot"))]));
}
