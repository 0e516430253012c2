//! What signatures cost: alone, and as replicas verify a proposal's.

#![allow(missing_docs)] // Of what criterion's macros make.

mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use pbft_crypto::{SecretKey, Signer as _};
use pbft_messages::{Body, Parameters, Timestamp};

use support::{Client, Keys};

fn signatures(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("signatures");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500));
    let key = SecretKey::from_seed(&[1; 32]);
    let (public, message) = (key.public_key(), [7; 200]);
    let signature = key.sign(&message);
    group.bench_function("sign", |bencher| bencher.iter(|| key.sign(black_box(&message))));
    group.bench_function("verify alone", |bencher| {
        bencher.iter(|| assert!(public.verifies(black_box(&message), &signature)));
    });
    let client = Client::new(Keys::Real, Parameters::default());
    let configuration = Keys::Real.configuration(Parameters::default());
    for count in [64, 512] {
        let submissions: Vec<_> =
            (0..count).map(|number| client.verified(Client::requests(1, 1 + number, 1))).collect();
        let body = Body::new(Timestamp(1), &submissions);
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("verify a proposal's submissions", count), |bencher| {
            bencher.iter(|| black_box(&body).check_fresh(&configuration).expect("all are good"));
        });
    }
}

criterion_group!(benches, signatures);
criterion_main!(benches);
