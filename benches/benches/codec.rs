//! What encoding and decoding cost.

#![allow(missing_docs)] // Of what criterion's macros make.

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Serialize;
use serde::de::DeserializeOwned;

use pbft_crypto::{Digest, Domain, Verified};
use pbft_messages::{
    Body, Outcome, Parameters, PeerMessage, PrePrepare, Prepare, ReplicaId, ReplicaMessage, Reply,
    RequestNumber, Sequence, SessionId, Timestamp, View, codec,
};

use support::{Client, Keys};

fn messages(criterion: &mut Criterion) {
    let (view, sequence, keys) = (View(0), Sequence(9), Keys::Real);
    let configuration = keys.configuration(Parameters::default());
    let client = Client::new(keys, Parameters::default());
    let submissions: Vec<_> =
        (0..512).map(|number| client.verified(Client::requests(1, 1 + number, 1))).collect();
    let body = Arc::new(Body::new(Timestamp(1), &submissions));
    let digest = body.digest();
    let (primary, backup) = (ReplicaId(0), ReplicaId(1));
    let header = PrePrepare { view, sequence, digest };
    let header = Verified::sign(header, primary, &*keys.replica(primary), configuration.scope());
    let vote = Verified::sign(
        Prepare { view, sequence, digest },
        backup,
        &*keys.replica(backup),
        configuration.scope(),
    );
    let vote = PeerMessage::Prepare(vote.signed().clone(), *header.signed().signature());
    both_ways(criterion, "a vote", 1, &vote);
    let proposal = PeerMessage::Proposal(header.signed().clone(), body);
    both_ways(criterion, "a proposal of 512 submissions", 512, &proposal);
    for count in [1, 64] {
        let reply = |number| Reply {
            view,
            session: SessionId(1),
            number: RequestNumber(number),
            digest: Digest::of(Domain::Request, b"a request"),
            sequence,
            outcome: Outcome::Executed(Bytes::from_static(&[7; 24])),
        };
        let replies = ReplicaMessage::Replies((0..count).map(reply).collect());
        both_ways(criterion, &format!("{count} replies"), count, &replies);
    }
}

fn both_ways<T: Serialize + DeserializeOwned>(
    criterion: &mut Criterion,
    name: &str,
    parts: u64,
    message: &T,
) {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500));
    group.throughput(Throughput::Elements(parts));
    let encoded = codec::encode(message);
    group.bench_function("encode", |bencher| bencher.iter(|| codec::encode(black_box(message))));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| codec::decode::<T>(black_box(&encoded)).expect("it was encoded just now"));
    });
}

criterion_group!(benches, messages);
criterion_main!(benches);
