//! What making a batch durable costs: its body and its prepared certificate, in one transaction. In a folder on disk,
//! where an fsync is part of it, and in a file system in memory, where what is left is the store's own work.

#![allow(missing_docs)] // Of what criterion's macros make.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};

use pbft_crypto::{SecretKey, Verified};
use pbft_messages::{
    Body, Configuration, Parameters, PrePrepare, Prepare, PreparedCertificate, Proven, ReplicaId, Sequence,
    Timestamp, View, VoteSet,
};
use pbft_node::{DataFolder, Identity, StoreMeter};
use pbft_protocol::Record;

use support::{Client, Keys};

/// So many batches are kept, as a replica keeps a window of them.
const WINDOW: u64 = 256;

fn prepared(configuration: &Configuration, sequence: Sequence, body: &Body) -> PreparedCertificate {
    let (view, digest) = (View(0), body.digest());
    let signed = |replica: ReplicaId| {
        let vote = Prepare { view, sequence, digest };
        Verified::sign(vote, replica, &*Keys::Real.replica(replica), configuration.scope())
    };
    let mut votes = VoteSet::default();
    for backup in [1, 2].map(ReplicaId) {
        votes.insert(signed(backup)).expect("a first vote");
    }
    let primary = ReplicaId(0);
    let header = PrePrepare { view, sequence, digest };
    let header = Verified::sign(header, primary, &*Keys::Real.replica(primary), configuration.scope());
    Proven::prepared(&header, &votes, configuration.quorum()).expect("enough votes").get().clone()
}

fn commits(criterion: &mut Criterion) {
    let configuration = Arc::new(Keys::Real.configuration(Parameters::default()));
    let key = Arc::new(SecretKey::from_seed(&[1; 32]));
    let identity = Identity::new(configuration.clone(), key).expect("it is r0");
    let client = Client::new(Keys::Real, Parameters::default());
    let mut group = criterion.benchmark_group("commit of a batch");
    group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    for (medium, parent) in [("disk", env!("CARGO_TARGET_TMPDIR")), ("memory", "/dev/shm")] {
        if !Path::new(parent).is_dir() {
            continue;
        }
        for requests in [1, 64, 512] {
            let submissions: Vec<_> =
                (0..requests).map(|number| client.verified(Client::requests(1, 1 + number, 1))).collect();
            let body = Arc::new(Body::new(Timestamp(1), &submissions));
            let mut sequence = 0;
            let mut records = || {
                sequence = sequence % WINDOW + 1;
                let sequence = Sequence(sequence);
                let certificate = prepared(&configuration, sequence, &body);
                [Record::Body(sequence, body.clone()), Record::Prepared(certificate)]
            };
            let folder = tempfile::tempdir_in(parent).expect("the folder can be written");
            let folder = DataFolder::new(folder.path().join("data"));
            let mut store = StoreMeter::create(&folder, &identity).expect("the folder is empty");
            group.bench_function(BenchmarkId::new(medium, requests), |bencher| {
                let commit = |records: [Record; 2]| store.commit(&records).expect("the disk works");
                bencher.iter_batched(&mut records, commit, BatchSize::PerIteration);
            });
        }
    }
}

criterion_group!(benches, commits);
criterion_main!(benches);
