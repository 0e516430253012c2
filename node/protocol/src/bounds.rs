//! The bounds of a replica's tables (R1), each against one that talks without end. `node/BOUNDS.md` lists them all.

use std::sync::Arc;

use bytes::Bytes;

use pbft_crypto::{Digest, Domain, SecretKey, Signer as _, Statement, Verified};
use pbft_messages::{
    Body, Checkpoint, ClientId, Commit, Configuration, Evidence, Member, Message, Parameters, Part, PartId,
    PeerMessage, PrePrepare, Read, ReadId, ReplicaId, RequestNumber, Sequence, SessionId, Status, Submission,
    Timestamp, View, ViewChange,
};

use crate::replica::Replica;
use crate::{Effect, Effects, Input, Instant, LeftBehind, Now, Report, Timer, initial_records};

const LIAR: ReplicaId = ReplicaId(0);
const ME: ReplicaId = ReplicaId(3);

/// A replica, and what it has done since last asked.
struct Bench {
    configuration: Arc<Configuration>,
    replica: Replica,
    now: Now,
    effects: Vec<Effect>,
}

fn key(replica: ReplicaId) -> SecretKey {
    SecretKey::from_seed(&[replica.0 as u8 + 1; 32])
}

fn client_key() -> SecretKey {
    SecretKey::from_seed(&[200; 32])
}

impl Bench {
    fn new(parameters: Parameters) -> Self {
        let members = (0..4).map(|index| Member {
            key: key(ReplicaId(index)).public_key(),
            peer_address: ([127, 0, 0, 1], 1000 + index).into(),
            client_address: ([127, 0, 0, 1], 2000 + index).into(),
        });
        let clients = [client_key().public_key()];
        let configuration = Configuration::new("test".into(), members.collect(), clients, parameters);
        let configuration = Arc::new(configuration.unwrap());
        let now = Now { instant: Instant::default(), wall: Timestamp(1) };
        let left = LeftBehind { records: initial_records(), ledger: vec![], next_deadline: None };
        let mut effects = Effects::new();
        let signer = Arc::new(key(ME));
        let replica = Replica::start(configuration.clone(), ME, signer, left, now, &mut effects).unwrap();
        Self { configuration, replica, now, effects: vec![] }
    }

    /// Hands an input in. What is written is durable at once.
    fn input(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let mut effects = Effects::new();
            self.replica.handle(self.now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Persist { id, then, .. } => {
                        next = Some(Input::Durable(id));
                        self.effects.extend(then);
                    }
                    other => self.effects.push(other),
                }
            }
        }
    }

    fn message(&mut self, from: ReplicaId, message: Message) {
        self.input(Input::Message { from, message });
    }

    fn sign<T: Statement<Signer = ReplicaId>>(&self, from: ReplicaId, value: T) -> Verified<T> {
        Verified::sign(value, from, &key(from), self.configuration.scope())
    }

    /// A batch of one operation of so many bytes.
    fn body(&self, number: u64, bytes: usize) -> Arc<Body> {
        let (client, operations) =
            (ClientId::from(client_key().public_key()), vec![Bytes::from(vec![0; bytes])]);
        let value = Submission::Requests { session: SessionId(1), first: RequestNumber(number), operations };
        let submission = Verified::sign(value, client, &client_key(), self.configuration.scope());
        Arc::new(Body::new(self.now.wall, &[submission]))
    }

    fn propose(&mut self, from: ReplicaId, view: u64, sequence: u64, bytes: usize) -> Arc<Body> {
        let body = self.body(sequence, bytes);
        let header = PrePrepare { view: View(view), sequence: Sequence(sequence), digest: body.digest() };
        let header = self.sign(from, header);
        self.message(from, Message::Proposal(header, body.clone()));
        body
    }

    /// The messages sent since last asked.
    fn sent(&mut self) -> Vec<PeerMessage> {
        let sent = self.effects.drain(..).filter_map(|effect| match effect {
            Effect::Send { message, .. } => Some(message),
            _ => None,
        });
        sent.collect()
    }

    fn next_round(&mut self) {
        self.now.instant = self.now.instant.plus(self.configuration.parameters().status_interval);
        self.input(Input::Timer(Timer::Status));
        self.effects.clear();
    }
}

fn digest(number: u64) -> Digest {
    Digest::of(Domain::Batch, &number.to_le_bytes())
}

/// Fault 33: of proposals for views to come a sender has a few megabytes, however many messages that is.
#[test]
fn future_views_are_bounded_in_bytes() {
    let mut bench = Bench::new(Parameters::default());
    for sequence in 1..=30 {
        bench.propose(ReplicaId(1), 1, sequence, 1 << 20);
    }
    assert_eq!(bench.replica.ahead.take(View(1)).len(), 7, "each is held as received and as read");
}

/// No vote at a sequence where nobody takes a snapshot is kept, nor one beyond two windows.
#[test]
fn votes_for_checkpoints_are_kept_where_checkpoints_are() {
    let mut bench = Bench::new(Parameters::default());
    for sequence in 1..=3000 {
        let vote = bench.sign(LIAR, Checkpoint { sequence: Sequence(sequence), root: digest(1) });
        bench.message(LIAR, Message::Checkpoint(vote));
    }
    let kept: Vec<_> = bench.replica.checkpoints.keys().map(|sequence| sequence.0).collect();
    assert_eq!(kept, [128, 256, 384, 512, 640, 768, 896, 1024]);
}

/// The log ends two windows above h, and holds one proposal a slot; above H, so many bytes of them.
#[test]
fn the_log_is_bounded_in_slots_and_above_the_window_in_bytes() {
    let parameters = Parameters {
        checkpoint_interval: 4,
        window: 8,
        batch_bytes: 128 << 10,
        operation_bytes: 100 << 10,
        waiting_bytes: 512 << 10,
        ..Parameters::default()
    };
    let mut bench = Bench::new(parameters.clone());
    for size in [80, 90] {
        for sequence in 1..=100 {
            bench.propose(LIAR, 0, sequence, size << 10);
            let vote = Commit { view: View(0), sequence: Sequence(sequence), digest: digest(sequence) };
            let vote = bench.sign(ReplicaId(1), vote);
            bench.message(ReplicaId(1), Message::Commit(vote));
        }
    }
    let (log, high) = (&bench.replica.log, bench.replica.high());
    assert_eq!((log.above(Sequence(0)).count(), log.highest()), (16, Sequence(16)));
    let above = log.body_bytes_above(high);
    assert!(above <= parameters.waiting_bytes && above > parameters.waiting_bytes / 2, "{above}");
    let full = log.body_bytes_above(Sequence(0)) - above;
    assert!(full <= 8 * 2 * (81 << 10), "one body a slot: {full}");
}

/// What a lagging replica keeps below h ends where there are too many bytes of it.
#[test]
fn the_log_below_the_window_is_bounded_in_bytes() {
    let bench = Bench::new(Parameters::default());
    let mut log = crate::log::Log::default();
    (1..=10).for_each(|sequence| log.slot(Sequence(sequence)).keep(bench.body(sequence, 1000)));
    let each = bench.body(1, 1000).memory_bytes();
    assert_eq!(log.overflows_at(Sequence(8), 3 * each), Some(Sequence(5)));
    assert_eq!(log.overflows_at(Sequence(8), 8 * each), None);
    log.collect(Sequence(5));
    assert_eq!(log.overflows_at(Sequence(8), 3 * each), None);
}

/// R3: whoever asks for bodies without end is answered so often in a round, and given so many bytes.
#[test]
fn a_replica_that_asks_for_bodies_without_end_is_given_a_share() {
    let mut bench = Bench::new(Parameters::default());
    let small = bench.propose(LIAR, 0, 1, 10).digest();
    let large = bench.propose(LIAR, 0, 2, 1 << 20).digest();
    bench.effects.clear();
    let mut ask = |digest, from, expected| {
        (0..1000).for_each(|_| bench.message(ReplicaId(from), Message::FetchBody(digest)));
        assert_eq!(bench.sent().len(), expected);
        expected
    };
    ask(small, 1, 256);
    ask(large, 2, 8);
    ask(large, 1, 0);
    bench.next_round();
    (0..1000).for_each(|_| bench.message(ReplicaId(1), Message::FetchBody(small)));
    assert_eq!(bench.sent().len(), 256);
}

/// R3: a replica is helped a few times a round, however many statuses it sends.
#[test]
fn a_replica_that_sends_statuses_without_end_is_helped_a_few_times() {
    let mut bench = Bench::new(Parameters::default());
    bench.propose(LIAR, 0, 1, 10);
    bench.effects.clear();
    let status = Status {
        view: View(0),
        pending: None,
        stable: Sequence(0),
        last_executed: Sequence(0),
        asks: Some(ME),
        recovering: None,
        slots: vec![],
        proven: vec![],
    };
    (0..1000).for_each(|_| bench.message(ReplicaId(1), Message::Status(status.clone())));
    assert_eq!(bench.sent().len(), 3, "its PREPARE, each time");
}

/// Reads that wait for the service are counted, so none is large.
#[test]
fn a_large_read_is_not_answered_unordered() {
    let mut bench = Bench::new(Parameters::default());
    for (bytes, taken) in [(64 << 10, true), ((64 << 10) + 1, false)] {
        let client = ClientId::from(client_key().public_key());
        let read = Read { id: ReadId(1), operation: Bytes::from(vec![0; bytes]) };
        bench.effects.clear();
        bench.input(Input::Read { client, session: SessionId(1), read });
        let queried = bench.effects.iter().any(|effect| matches!(effect, Effect::Query(_)));
        assert_eq!(queried, taken);
    }
}

/// Of each sender one VIEW-CHANGE is kept, and of evidence so much for each kind and replica.
#[test]
fn view_changes_and_evidence_are_bounded_by_n() {
    let mut bench = Bench::new(Parameters::default());
    for view in 1..=50 {
        let view_change = ViewChange { view: View(view), stable: None, prepared: vec![] };
        let view_change = bench.sign(ReplicaId(1), view_change);
        bench.message(ReplicaId(1), Message::ViewChange(view_change));
        for half in [1, 2] {
            let vote = Commit { view: View(0), sequence: Sequence(view), digest: digest(half) };
            let vote = bench.sign(LIAR, vote);
            bench.message(LIAR, Message::Commit(vote));
        }
    }
    assert_eq!(bench.replica.view.view_changes.len(), 1);
    assert_eq!(bench.replica.evidence.len(), 8);
    let told = bench
        .effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Broadcast(PeerMessage::Evidence(Evidence::Commits(_)))));
    assert_eq!(told.count(), 8);
}

/// Of each replica that fetches state one snapshot is remembered, and none that is not there.
#[test]
fn who_fetches_which_snapshot_is_bounded_by_n() {
    let mut bench = Bench::new(Parameters::default());
    for sequence in 1..=1000 {
        bench.replica.snapshots.insert(Sequence(sequence), digest(1));
        let id = PartId { sequence: Sequence(sequence), part: Part::Leaves(0) };
        bench.message(LIAR, Message::FetchPart(id));
    }
    assert_eq!(bench.replica.served.len(), 1);
}

/// An event is small, so that a hundred thousand of them fit in some megabytes.
#[test]
fn a_report_is_small() {
    assert!(size_of::<Report>() <= 128, "{}", size_of::<Report>());
}
