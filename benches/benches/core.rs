//! What agreement costs without I/O: four replicas' cores in memory, every message encoded once and read and verified by
//! each receiver. One iteration orders and executes one batch; so batches a second are its inverse, and requests a
//! second are what is shown as elements. One thread does the work of all four replicas: a replica's part is a quarter.

#![allow(missing_docs)] // Of what criterion's macros make.

mod support;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use pbft_crypto::{Digest, Domain, Signed};
use pbft_messages::{Configuration, Parameters, PeerMessage, ReplicaId, SessionId, Submission, Timestamp};
use pbft_protocol::{Effect, Effects, Input, Instant, LeftBehind, Now, Replica, Report, initial_records};

use support::{Client, Keys, REPLICAS};

/// With 64 requests each, enough for the largest batch and the one that is under way meanwhile.
const SESSIONS: u64 = 8;

struct Cluster {
    configurations: Vec<Arc<Configuration>>,
    replicas: Vec<Replica>,
    /// What is on its way, encoded.
    letters: VecDeque<(ReplicaId, ReplicaId, Bytes)>,
    now: Now,
    /// How many requests each batch had, in the order of proposals.
    proposed: Vec<usize>,
    replies: usize,
}

impl Cluster {
    fn new(keys: Keys, parameters: &Parameters) -> Self {
        let configurations: Vec<_> =
            (0..REPLICAS).map(|_| Arc::new(keys.configuration(parameters.clone()))).collect();
        let now = Now { instant: Instant::default(), wall: Timestamp(1) };
        let mut cluster = Self {
            configurations,
            replicas: Vec::new(),
            letters: VecDeque::new(),
            now,
            proposed: Vec::new(),
            replies: 0,
        };
        for replica in (0..REPLICAS).map(ReplicaId) {
            let left = LeftBehind { records: initial_records(), ledger: vec![], next_deadline: None };
            let (signer, mut effects) = (keys.replica(replica), Effects::new());
            let configuration = cluster.configurations[replica.index()].clone();
            let started = Replica::start(configuration, replica, signer, left, now, &mut effects);
            cluster.replicas.push(started.expect("nothing is wrong with no records"));
            cluster.carry_out(replica, effects);
        }
        cluster
    }

    /// A client's submission reaches the primary through another replica: of those a primary takes as many as come,
    /// however little time seems to pass here (N8).
    fn submit(&mut self, submission: Signed<Submission>) {
        let message = PeerMessage::Forward(submission).verify(&self.configurations[0]);
        let message = message.expect("it is a good one");
        self.input(ReplicaId(0), Input::Message { from: ReplicaId(1), message });
    }

    fn input(&mut self, replica: ReplicaId, input: Input) {
        let mut effects = Effects::new();
        self.replicas[replica.index()].handle(self.now, input, &mut effects);
        self.carry_out(replica, effects);
    }

    /// Nothing takes any time: what is written is durable, and what is executed is done.
    fn carry_out(&mut self, replica: ReplicaId, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message } => self.letters.push_back((replica, to, message.encode())),
                Effect::Broadcast(message) => {
                    let frame = message.encode();
                    let others = (0..REPLICAS).map(ReplicaId).filter(|other| *other != replica);
                    self.letters.extend(others.map(|other| (replica, other, frame.clone())));
                }
                Effect::Persist { id, then, .. } => {
                    self.carry_out(replica, then);
                    self.input(replica, Input::Durable(id));
                }
                Effect::Execute(execution) => {
                    let results = vec![Bytes::from_static(&[7; 24]); execution.operations.len()];
                    let sequence = execution.sequence;
                    self.input(replica, Input::Executed { sequence, results, next_deadline: None });
                }
                Effect::Snapshot { sequence, .. } => {
                    let root = Digest::of(Domain::Batch, &sequence.0.to_le_bytes());
                    self.input(replica, Input::SnapshotTaken { sequence, root });
                }
                Effect::Reply { replies, .. } => self.replies += replies.len(),
                Effect::Report(Report::Proposed { requests, .. }) => self.proposed.push(requests),
                Effect::Halt(reason) => panic!("{reason:?}"),
                _ => {}
            }
        }
    }

    /// Delivers what is on its way until nothing is, or until another batch was proposed.
    fn deliver(&mut self) {
        let proposed = self.proposed.len();
        while self.proposed.len() == proposed
            && let Some((from, to, frame)) = self.letters.pop_front()
        {
            let message = PeerMessage::decode(&frame).expect("a replica sent it");
            let message = message.verify(&self.configurations[to.index()]).expect("a replica sent it");
            self.input(to, Input::Message { from, message });
        }
    }
}

/// A cluster with one batch under way, and the client that feeds it.
struct Feed {
    cluster: Cluster,
    client: Client,
    /// How many requests each session has sent.
    sent: u64,
    /// How many submissions make a batch, and how many requests each has.
    submissions: u64,
    bundle: usize,
}

impl Feed {
    fn new(keys: Keys, requests: usize, bundle: usize) -> Self {
        // With one batch under way at a time, those that wait are the next one, all of them.
        let parameters = Parameters { pipeline: 1, session_window: 4096, ..Parameters::default() };
        let mut cluster = Cluster::new(keys, &parameters);
        let client = Client::new(keys, parameters);
        for session in 1..=SESSIONS {
            cluster.submit(client.sign(Submission::Open { session: SessionId(session) }));
            cluster.deliver();
        }
        while !cluster.letters.is_empty() {
            cluster.deliver();
        }
        let mut feed = Self { cluster, client, sent: 0, submissions: (requests / bundle) as u64, bundle };
        let first = feed.next();
        first.into_iter().for_each(|submission| feed.cluster.submit(submission));
        let second = feed.next();
        feed.turn(second);
        feed
    }

    /// The submissions of a batch: in turn of all sessions, with rising numbers in each.
    fn next(&mut self) -> Vec<Signed<Submission>> {
        let bundle = self.bundle as u64;
        let submissions = (0..self.submissions).map(|_| {
            let (session, turn) = (1 + self.sent % SESSIONS, self.sent / SESSIONS);
            self.sent += 1;
            self.client.sign(Client::requests(session, 1 + turn * bundle, self.bundle))
        });
        submissions.collect()
    }

    /// Takes the next batch's submissions in and ends the batch under way, which lets the next one be proposed.
    fn turn(&mut self, next: Vec<Signed<Submission>>) {
        self.cluster.now.wall = Timestamp(self.cluster.now.wall.0 + 1_000_000);
        next.into_iter().for_each(|submission| self.cluster.submit(submission));
        self.cluster.deliver();
    }
}

fn agreement(criterion: &mut Criterion) {
    for keys in [Keys::Simulated, Keys::Real] {
        let mut group = criterion.benchmark_group(format!("a batch at four replicas, {keys:?} signatures"));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        for (requests, bundle) in [(1, 1), (64, 1), (512, 1), (512, 64)] {
            group.throughput(Throughput::Elements(requests as u64));
            let feed = RefCell::new(Feed::new(keys, requests, bundle));
            group.bench_function(BenchmarkId::new(format!("bundles of {bundle}"), requests), |bencher| {
                let next = || feed.borrow_mut().next();
                bencher.iter_batched(next, |next| feed.borrow_mut().turn(next), BatchSize::PerIteration);
            });
            let feed = feed.borrow();
            // Without this, one might measure something else. The first batches open the sessions and start the feed.
            let mut batches = feed.cluster.proposed.iter().skip(SESSIONS as usize + 2);
            assert!(batches.all(|batch| *batch == requests), "{:?}", feed.cluster.proposed);
            assert!(feed.cluster.replies >= requests * usize::from(REPLICAS));
        }
    }
}

criterion_group!(benches, agreement);
criterion_main!(benches);
