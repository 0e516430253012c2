//! The seeds: what the fuzzers start from. They are made from real messages, files and records.

use bytes::Bytes;

use pbft_crypto::{Digest, Domain, Signer as _, key_file};
use pbft_messages::{
    Chunk, ClientMessage, ClientTable, ClusterFile, LeafPage, ParametersTable, Part, PartId, PeerMessage,
    Read, ReadId, RecoveryNonce, ReplicaId, ReplicaTable, Sequence, Status, View, codec,
};
use pbft_protocol::{Record, initial_records};
use pbft_service::kv::{Compare, Keys, Operation, Put, Range, Relation, Step, Target, Txn};

use crate::cluster::{INTERVAL, N, real_key};
use crate::harness::{Disk, Harness};
use crate::make::Make;
use crate::targets::chunks_after;

/// One input to start from.
pub struct Seed {
    /// The target that it is for.
    pub target: &'static str,
    /// Its file's name.
    pub name: String,
    /// The input.
    pub content: Vec<u8>,
}

/// All seeds, the same whenever they are made.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target: &'static str, name: &str, content: Vec<u8>| {
        seeds.push(Seed { target, name: name.to_owned(), content });
    };
    for (name, message) in peer_messages() {
        add("peer_message", name, message.encode().to_vec());
    }
    for target in [
        "view_change",
        "new_view",
        "evidence",
        "recovery_answer",
        "boot",
        "replica",
        "client_core",
        "store_file",
        "signatures",
        "opening",
    ] {
        for (name, content) in drawn() {
            add(target, name, content);
        }
    }
    for kind in 0..4 {
        let pair = [kind, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2];
        // Checkpoints have no view to draw.
        let content =
            if kind == 3 { [&pair[..5], &pair[6..10], &pair[11..]].concat() } else { pair.to_vec() };
        add("evidence", &format!("convicting_{kind}"), content);
    }
    for kind in 0..12 {
        add("made_message", &format!("kind_{kind}"), vec![0, 0, 0, 0, 0, 2, kind]);
    }
    let submission = ClientMessage::Submit(Make::new(&[0, 1]).submission());
    let read = ClientMessage::Read(Read { id: ReadId(7), operation: Operation::get("a").encode() });
    for (name, message) in [("submission", submission), ("read", read)] {
        add("client_message", name, [&[0], &codec::encode(&message)[..]].concat());
    }
    add("client_message", "drawn", [&[1][..], &[0, 1, 0, 0, 5, 1, 2, 3, 4, 5]].concat());
    add("frames", "two", b"\x03\x05\x01\x04\x03\x00\x00\x00abc\x00\x00\x00\x00\x01\x00\x00\x00d".to_vec());
    add("frames", "oversize", b"\x01\x02\x01\x00\x00\x00x\xff\xff\xff\x7f".to_vec());
    add("cluster_file", "whole", cluster_file().to_text().into_bytes());
    let mut weak = cluster_file();
    weak.client[0].key = format!("01{}", "0".repeat(62));
    add("cluster_file", "weak_key", weak.to_text().into_bytes());
    add("cluster_file", "unknown_key", b"name = \"a\"\nsize = 4\n".to_vec());
    add("key_file", "key", key_text());
    for (name, records) in stored() {
        add("records", name, codec::encode(&records));
    }
    add("restore_store", "empty", codec::encode(&chunks_after(&[])));
    add("restore_store", "used", codec::encode(&chunks_after(&operations())));
    add("restore_store", "large", codec::encode(&chunks_after(&many_puts())));
    let ledger = codec::encode(&ledger());
    let length = (ledger.len() as u32).to_le_bytes();
    add("restore_ledger", "used", [&length[..], &ledger, &[12, 1, 0, 0]].concat());
    add("kv_operations", "all", codec::encode(&operations()));
    for (index, operation) in operations().iter().enumerate() {
        add("kv_operations", &format!("one_{index}"), codec::encode(&vec![operation]));
    }
    seeds
}

/// Bytes to draw from: plain choices, and some variety.
fn drawn() -> [(&'static str, Vec<u8>); 5] {
    let cycle = |length: u32, step: u32| (0..length).map(|index| (index * step % 251) as u8).collect();
    [
        ("nothing", vec![0]),
        ("plain", vec![0; 200]),
        ("small", (0..200u8).map(|index| index % 5).collect()),
        ("varied", cycle(300, 7)),
        ("more_varied", cycle(300, 53)),
    ]
}

fn digest() -> Digest {
    Digest::of(Domain::Batch, b"a batch")
}

/// One message of each kind.
fn peer_messages() -> Vec<(&'static str, PeerMessage)> {
    let (view, sequence) = (View(0), Sequence(1));
    // The zeros draw the plainest of everything; a byte before them chooses a body or a kind.
    let mut make = Make::new(&[]);
    let mut at = |kind: u8| {
        let choices = [0, 0, 2, kind];
        let message = Make::new(&choices).message_at(view, sequence, ReplicaId(2));
        message.expect("plain choices make a message")
    };
    let kinds = [
        "proposal",
        "prepare",
        "commit",
        "checkpoint",
        "view_change",
        "new_view",
        "prepared",
        "committed",
        "body",
        "evidence",
        "forward",
        "stable",
    ];
    let mut messages: Vec<_> = kinds.into_iter().zip((0..).map(&mut at)).collect();
    // A stable checkpoint, and three certificates above it.
    let mut full = Make::new(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    messages.push(("full_view_change", PeerMessage::ViewChange(full.view_change_to(View(3), ReplicaId(1)))));
    messages.push(("recovery_answer", PeerMessage::RecoveryAnswer(make.recovery_answer())));
    messages.push(("ask_recovery", PeerMessage::AskRecovery(RecoveryNonce([9; 32]))));
    messages.push(("fetch_body", PeerMessage::FetchBody(digest())));
    messages.push(("fetch_part", PeerMessage::FetchPart(PartId { sequence, part: Part::Leaves(0) })));
    messages.push(("no_snapshot", PeerMessage::NoSnapshot(sequence)));
    let content = Bytes::from_static(b"a chunk");
    messages.push(("chunk", PeerMessage::Chunk(Chunk { sequence, index: 3, content: content.clone() })));
    let tree = pbft_crypto::MerkleTree::new(vec![pbft_crypto::MerkleTree::leaf(&content)]);
    let (leaves, proof) = tree.page(0).expect("a tree with a leaf has a page");
    let page = LeafPage { sequence, page: 0, count: 1, leaves: leaves.to_vec(), proof };
    messages.push(("leaves", PeerMessage::Leaves(page)));
    let status = Status {
        view,
        pending: Some(View(1)),
        stable: Sequence(0),
        last_executed: sequence,
        asks: Some(ReplicaId(2)),
        slots: vec![pbft_messages::SlotProgress::Prepared],
        recovering: None,
        proven: Default::default(),
    };
    messages.push(("status", PeerMessage::Status(status)));
    messages
}

fn cluster_file() -> ClusterFile {
    let replica = (0..N).map(|index| ReplicaTable {
        key: real_key(index as u8).public_key().to_string(),
        peer_address: ([127, 0, 0, 1], 1000 + index).into(),
        client_address: ([127, 0, 0, 1], 2000 + index).into(),
    });
    let client = (0..2).map(|index| ClientTable { key: real_key(100 + index).public_key().to_string() });
    let parameters = ParametersTable {
        checkpoint_interval: Some(INTERVAL),
        view_timeout_ms: Some(500),
        ..ParametersTable::default()
    };
    ClusterFile { name: "fuzzed".into(), parameters, replica: replica.collect(), client: client.collect() }
}

fn key_text() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("the system has room for a temporary folder");
    let path = folder.path().join("a.key");
    key_file::create(&path, &real_key(0)).expect("a new key file can be made");
    std::fs::read(&path).expect("the key file was made above")
}

fn stored() -> Vec<(&'static str, Vec<Record>)> {
    let mut make = Make::new(&[]);
    let body = Make::new(&[2]).body();
    let (view, sequence) = (View(0), Sequence(1));
    let mut agreed = initial_records();
    agreed.push(Record::Reservation(view, Sequence(INTERVAL)));
    agreed.push(Record::Prepared(make.prepared_at(view, sequence, body.digest())));
    agreed.push(Record::Committed(make.committed_at(view, sequence, body.digest())));
    agreed.push(Record::Body(sequence, body));
    let new_view = make.new_view_of(View(1));
    let mut changed = vec![Record::View(View(1), Some(new_view))];
    changed.push(Record::ViewChange(make.view_change_to(View(2), crate::harness::ME)));
    changed.push(Record::Shutdown(None));
    changed.push(Record::Recovery(Some(RecoveryNonce([7; 32]))));
    vec![("first", initial_records()), ("agreed", agreed), ("changed", changed)]
}

fn operations() -> Vec<Operation> {
    let compare = Compare { key: "a".into(), relation: Relation::Equal, target: Target::Version(1) };
    let put = Put { key: "a".into(), value: "2".into(), previous: true };
    let everything = Range { limit: 2, ..Range::new(Keys::prefix("")) };
    vec![
        Operation::put("a", "1"),
        Operation::put("b", "1"),
        Operation::Txn(Txn {
            compares: vec![compare],
            success: vec![Step::Put(put), Step::Range(everything.clone())],
            failure: Vec::new(),
        }),
        Operation::Range(Range { revision: Some(2), ..everything }),
        Operation::delete(Keys::Single("b".into())),
        Operation::Compact(3),
        Operation::get("a"),
    ]
}

/// Enough for several chunks would be large; a few keys with long values do.
fn many_puts() -> Vec<Operation> {
    (0..12u8).map(|index| Operation::put(vec![b'k', index], vec![index; 40])).collect()
}

/// The ledger of a replica that has executed a client's requests up to its first checkpoint.
fn ledger() -> Vec<Bytes> {
    let mut harness = Harness::start(Disk::new(initial_records())).expect("a first start succeeds");
    for number in 1..=INTERVAL {
        harness.decide(Sequence(number));
    }
    harness.last_ledger.clone()
}
