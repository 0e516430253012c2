//! Traces that once broke a rule, or would: each was found by looking for it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pbft_byzantine::strategy;
use pbft_crypto::{Digest, Signature, Signed, Verified};
use pbft_messages::{
    Body, Checkpoint, Endorsed, PeerMessage, PrePrepare, Prepare, PreparedCertificate, ReplicaId, Sequence,
    SessionId, Submission, View, ViewChange,
};
use pbft_protocol::{Report, ViewChangeReason};
use pbft_service::kv;
use pbft_simulator::{Cluster, InstanceId, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

fn silence(cluster: &mut Cluster, replica: ReplicaId) {
    let identity = cluster.identity(replica);
    cluster.corrupt(replica, strategy("silent", &identity).expect("there is one"));
}

fn sign<T: pbft_crypto::Statement<Signer = ReplicaId>>(
    cluster: &Cluster,
    replica: ReplicaId,
    value: T,
) -> Signed<T> {
    let identity = cluster.identity(replica);
    Verified::sign(value, replica, &*identity.signer, identity.configuration.scope()).signed().clone()
}

fn proposal(cluster: &Cluster, sequence: u64, shift: u64) -> PeerMessage {
    let time = pbft_messages::Timestamp(cluster.wall_clock().0 + shift);
    let body = Body::new(time, []);
    let header = PrePrepare { view: View(0), sequence: Sequence(sequence), digest: body.digest() };
    PeerMessage::Proposal(sign(cluster, r(0), header), Arc::new(body))
}

/// D2: a replica that was killed knows nothing of its PREPARE, and sends none for another batch at that place.
#[test]
fn fault_13_votes_are_not_forgotten_by_a_crash() {
    prepares_once(|cluster| {
        cluster.crash(r(3));
        cluster.start(r(3));
    });
}

/// D2, fault 13: killed, restarted (so it abstains), stopped in good order, restarted: it abstains no more and
/// prepares another batch where it had prepared one.
#[test]
fn a_clean_stop_after_a_crash_ends_no_abstention() {
    prepares_once(|cluster| {
        cluster.crash(r(3));
        cluster.start(r(3));
        cluster.run_for(MS * 10);
        cluster.shut_down(r(3));
        cluster.start(r(3));
    });
}

/// A malicious primary proposes two batches at one place to r3, which restarts between them.
#[track_caller]
fn prepares_once(restart: fn(&mut Cluster)) {
    let mut cluster = Cluster::new(Settings::new(4, 1));
    silence(&mut cluster, r(0));
    let votes: Rc<RefCell<BTreeSet<Digest>>> = Rc::default();
    let seen = Rc::clone(&votes);
    cluster.set_filter(move |from, _, message| {
        if let (PeerMessage::Prepare(vote, _), ReplicaId(3)) = (message, from) {
            seen.borrow_mut().insert(vote.peek().expect("a vote that a replica sent").digest);
        }
        true
    });
    let first = proposal(&cluster, 1, 0);
    cluster.inject(r(0), r(3), &first);
    cluster.run_for(MS * 20);
    assert_eq!(votes.borrow().len(), 1);
    restart(&mut cluster);
    cluster.run_for(MS * 10);
    let second = proposal(&cluster, 1, 7);
    cluster.inject(r(0), r(3), &second);
    cluster.run_for(MS * 20);
    assert_eq!(votes.borrow().len(), 1, "two PREPAREs at one place");
    assert_eq!(cluster.violations(), []);
}

/// C4: CHECKPOINT votes that were lost are never sent again; when two in a row are lost, the window is full for
/// ever, and no timer runs.
#[test]
fn lost_checkpoint_votes_do_not_stop_the_cluster() {
    let mut cluster = Cluster::new(Settings::new(4, 2));
    cluster.set_filter(|_, _, message| !matches!(message, PeerMessage::Checkpoint(_)));
    cluster.load(40, 1);
    cluster.run_for(SECOND * 3);
    cluster.clear_wire();
    let settled = cluster.settle(SECOND * 60);
    assert!(settled, "{} of 40 answered", cluster.answered());
}

/// A PREPARE that was seen on its way.
type Caught = Rc<RefCell<Option<(Signed<Prepare>, Signature)>>>;

/// VC4: one replica holds a certificate whose body no correct replica kept. Its VIEW-CHANGE alone must not keep
/// the others from opening views for ever.
#[test]
fn a_private_certificate_blocks_no_view_change() {
    let mut cluster = Cluster::new(Settings::new(4, 3));
    silence(&mut cluster, r(3));
    let caught: Caught = Rc::default();
    let tap = Rc::clone(&caught);
    // The proposal reaches r1 alone, and r1's vote r3 alone; in view 1 no proposal arrives at all.
    cluster.set_filter(move |from, to, message| match message {
        PeerMessage::Proposal(..) => from == r(0) && to == r(1),
        PeerMessage::Prepare(vote, signature) => {
            if from == r(1) && to == r(3) && tap.borrow().is_none() {
                *tap.borrow_mut() = Some((vote.clone(), *signature));
            }
            false
        }
        PeerMessage::Body(_) => false,
        _ => true,
    });
    cluster.load(1, 1);
    assert!(cluster.run_until(SECOND * 10, |cluster| {
        (0..3).all(|replica| cluster.standing(r(replica)).unwrap().view == View(1))
    }));
    let (vote, signature) = caught.borrow().clone().expect("r1 has voted");
    let statement = vote.peek().unwrap();
    let header = PrePrepare::voted_for(&statement, signature, &cluster.identity(r(0)).configuration);
    assert_eq!(statement.view, View(0));
    let own = sign(&cluster, r(3), statement.clone());
    let signatures = vec![(r(1), *vote.signature()), (r(3), *own.signature())];
    let certificate = PreparedCertificate { header, prepares: Endorsed { statement, signatures } };
    let mut asked = View(1);
    for _ in 0..60_000 {
        let standings: Vec<_> = (0..3).filter_map(|replica| cluster.standing(r(replica))).collect();
        let active = standings.iter().map(|standing| standing.view).max().unwrap();
        let pending = standings.iter().filter_map(|standing| standing.pending).max();
        let (highest, target) = (pending.unwrap_or(active), pending.unwrap_or(active.next()));
        if target > asked {
            asked = target;
            let lie = ViewChange { view: asked, stable: None, prepared: vec![certificate.clone()] };
            let lie = PeerMessage::ViewChange(sign(&cluster, r(3), lie));
            (0..3).for_each(|to| cluster.inject(r(3), r(to), &lie));
        }
        // The network is good again as soon as view 1 is given up.
        if highest > View(1) {
            cluster.clear_wire();
        }
        cluster.run_for(MS);
        if cluster.answered() == 1 {
            return;
        }
    }
    panic!("no answer in a minute: r1 stands at {:?}", cluster.standing(r(1)));
}

/// N8: overload alone changes no view.
#[test]
fn overload_alone_changes_no_view() {
    let mut settings = Settings { clients: 16, write_latency: MS * 100, ..Settings::new(4, 5) };
    settings.parameters.pipeline = 1;
    settings.parameters.batch_requests = 64;
    let mut cluster = Cluster::new(settings);
    cluster.load(120, 60);
    cluster.run_for(SECOND * 10);
    let changes: Vec<_> =
        cluster.reports().iter().filter(|(_, _, it)| matches!(it, Report::ViewChange { .. })).collect();
    assert!(changes.is_empty(), "{:?}", changes.first());
}

fn censor(settings: Settings, depth: usize) -> bool {
    let mut cluster = Cluster::new(settings);
    cluster.load(4000, depth);
    cluster.run_for(MS * 100);
    cluster.set_filter(|_, to, message| to != r(0) || !matches!(message, PeerMessage::Forward(_)));
    cluster.submit(0, Submission::Open { session: SessionId(5) }, &[r(1), r(2), r(3)]);
    let deposes = |report: &Report| {
        matches!(report, Report::ViewChange { reason: ViewChangeReason::RequestTimeout, .. })
    };
    let before = cluster.reports().len();
    cluster.run_until(SECOND * 5, |cluster| {
        cluster.reports()[before..].last().is_some_and(|(_, _, report)| deposes(report))
    })
}

/// VC1, N8: other progress does not calm those who wait.
#[test]
fn fault_25_a_censoring_primary_is_deposed_under_load() {
    assert!(censor(Settings::new(4, 8), 4));
}

/// The same while the window, and not the primary, bounds the throughput: each opening of the window starts
/// everybody's patience anew.
#[test]
fn a_censoring_primary_is_deposed_though_the_window_is_often_full() {
    let mut settings = Settings { write_latency: MS * 20, ..Settings::new(4, 9) };
    settings.parameters.pipeline = 16;
    assert!(censor(settings, 20));
}

/// VC8: views never go down.
#[test]
fn fault_06_a_replayed_new_view_moves_nothing_back() {
    let mut cluster = Cluster::new(Settings::new(4, 10));
    let caught: Rc<RefCell<Option<PeerMessage>>> = Rc::default();
    let tap = Rc::clone(&caught);
    cluster.set_filter(move |_, _, message| {
        if matches!(message, PeerMessage::NewView(_)) && tap.borrow().is_none() {
            *tap.borrow_mut() = Some(message.clone());
        }
        true
    });
    cluster.load(5, 1);
    assert!(cluster.settle(SECOND * 5));
    cluster.crash(r(0));
    cluster.load(5, 1);
    assert!(cluster.run_until(SECOND * 10, |cluster| cluster.answered() == 10));
    cluster.start(r(0));
    cluster.run_for(SECOND);
    cluster.crash(r(1));
    cluster.load(5, 1);
    assert!(cluster.run_until(SECOND * 10, |cluster| cluster.answered() == 15));
    let view = cluster.standing(r(2)).unwrap().view;
    assert!(view > View(1));
    let replay = caught.borrow().clone().unwrap();
    [0, 2, 3].into_iter().for_each(|to| cluster.inject(r(1), r(to), &replay));
    cluster.run_for(MS);
    for replica in [0, 2, 3] {
        assert!(cluster.standing(r(replica)).unwrap().view >= view);
    }
    assert_eq!(cluster.violations(), []);
}

/// C4: a replica that has a certificate without having accepted the proposal sends its COMMIT once and never
/// again: losing it deposes a good primary.
#[test]
fn a_commit_on_a_handed_over_certificate_is_sent_again() {
    let mut cluster = Cluster::new(Settings::new(7, 11));
    cluster.load(1, 1);
    assert!(cluster.settle(SECOND));
    let mended: Rc<Cell<bool>> = Rc::default();
    let is_mended = Rc::clone(&mended);
    cluster.set_filter(move |from, to, message| match message {
        PeerMessage::Commit(_) | PeerMessage::Committed(..) if from >= r(5) => false,
        PeerMessage::Commit(_) if from >= r(3) => is_mended.get(),
        PeerMessage::Proposal(..) | PeerMessage::Prepare(..) | PeerMessage::Body(_) => to < r(3) || to > r(4),
        _ => true,
    });
    cluster.load(1, 1);
    let prepared = |(_, at, report): &(_, InstanceId, Report)| {
        *at == r(4) && matches!(report, Report::Prepared { sequence, .. } if *sequence == Sequence(3))
    };
    assert!(cluster.run_until(SECOND, |cluster| cluster.reports().iter().any(prepared)));
    cluster.run_for(MS * 150);
    mended.set(true);
    assert!(cluster.settle(SECOND * 10));
    assert_eq!(cluster.standing(r(1)).unwrap().view, View(0), "{}", cluster.transcript());
}

/// D3: a replica that asked for a view goes on asking for it when it starts again.
#[test]
fn fault_15_a_pending_view_survives_a_restart() {
    let mut cluster = Cluster::new(Settings::new(4, 12));
    silence(&mut cluster, r(0));
    silence(&mut cluster, r(1));
    cluster.load(1, 1);
    let asks = |cluster: &Cluster| cluster.standing(r(2)).is_some_and(|it| it.pending == Some(View(1)));
    assert!(cluster.run_until(SECOND * 5, asks));
    cluster.run_for(MS * 10);
    cluster.crash(r(2));
    cluster.start(r(2));
    assert!(asks(&cluster));
}

/// C3, C4: a transfer that takes longer than the others take from one checkpoint to the next starts anew for
/// ever, since nothing of it is kept and sources forget a snapshot as soon as a newer one is stable.
#[test]
fn a_large_state_is_fetched_under_load() {
    let mut settings = Settings::new(4, 13);
    (settings.parameters.checkpoint_interval, settings.parameters.window) = (1, 2);
    let mut cluster = Cluster::new(settings);
    let all: Vec<_> = (0..4).map(r).collect();
    let session = SessionId(9);
    cluster.load(1, 1);
    assert!(cluster.settle(SECOND));
    cluster.submit(0, Submission::Open { session }, &all);
    cluster.run_for(MS * 50);
    for number in 1..=30 {
        let put = kv::Operation::put(format!("large-{number}"), vec![7u8; 200 << 10]).encode();
        let first = pbft_messages::RequestNumber(number);
        cluster.submit(0, Submission::Requests { session, first, operations: vec![put] }, &all);
        cluster.run_for(MS * 20);
    }
    cluster.load(1, 1);
    assert!(cluster.settle(SECOND * 5));
    cluster.crash(r(3));
    cluster.load(20, 1);
    assert!(cluster.run_until(SECOND * 5, |cluster| cluster.answered() == 22));
    cluster.start(r(3));
    cluster.load(300, 1);
    cluster.run_for(SECOND / 2);
    assert!(cluster.answered() < 322, "the load is still on");
    let started = cluster.reports().iter().filter(|(_, _, it)| matches!(it, Report::TransferStarted { .. }));
    let started = started.count();
    let done = cluster.reports().iter().any(|(_, _, it)| matches!(it, Report::Transferred { .. }));
    assert!(done, "{started} transfers started, none ended");
}

/// Ticks every 20 ms of agreed time, for ever.
#[derive(Default)]
struct Ticks(u64);

struct Deaf;

impl pbft_service::Reader for Deaf {
    fn query(&self, _: &[u8]) -> bytes::Bytes {
        bytes::Bytes::new()
    }
}

impl pbft_service::Service for Ticks {
    fn begin_batch(&mut self, _: Sequence, time: Option<pbft_messages::Timestamp>) {
        self.0 = time.map_or(self.0, |time| time.0);
    }
    fn execute(&mut self, _: &pbft_service::Context, _: &[u8]) -> pbft_service::Output {
        pbft_service::Output::default()
    }
    fn reader(&self) -> std::sync::Arc<dyn pbft_service::Reader> {
        std::sync::Arc::new(Deaf)
    }
    fn next_deadline(&self) -> Option<pbft_messages::Timestamp> {
        Some(pbft_messages::Timestamp(self.0 + 20_000_000))
    }
    fn snapshot(&mut self) -> Box<dyn pbft_service::Snapshot> {
        Box::new(pbft_service::WholeSnapshot::new(self.0.to_le_bytes().to_vec()))
    }
    fn restore(
        &mut self,
        chunks: &mut dyn Iterator<Item = bytes::Bytes>,
    ) -> Result<(), pbft_service::RestoreError> {
        let state = pbft_service::WholeSnapshot::collect(chunks, 8)?;
        self.0 = u64::from_le_bytes(state.try_into().map_err(|_| pbft_service::RestoreError::Incomplete)?);
        Ok(())
    }
}

/// D2, I9: a deadline that comes while a primary writes how it stopped made it propose once more, unnoted; started again,
/// it contradicted itself.
#[test]
fn a_primary_that_has_stopped_proposes_nothing() {
    for delay in 0..20 {
        let service = || -> Box<dyn pbft_service::Service> { Box::new(Ticks::default()) };
        let mut cluster =
            Cluster::new(Settings { service: Some(service), write_latency: MS * 5, ..Settings::new(4, 1) });
        cluster.load(3, 1);
        assert!(cluster.run_until(SECOND * 5, Cluster::is_answered));
        cluster.run_for(MS * (300 + delay));
        cluster.shut_down(r(0));
        cluster.run_for(MS * 30);
        cluster.start(r(0));
        cluster.run_for(SECOND);
        assert_eq!(cluster.violations(), [], "{delay} ms");
    }
}

/// N8, R2: a client that sends other requests to each replica, little altogether, deposes nobody: what a backup has
/// taken on, the primary has room for.
#[test]
fn different_requests_for_each_replica_change_no_view() {
    let mut settings = Settings { clients: 2, ..Settings::new(4, 4) };
    settings.parameters.session_window = 4096;
    settings.parameters.operation_bytes = 8 << 10;
    settings.parameters.batch_bytes = 16 << 10;
    settings.parameters.waiting_bytes = 64 << 10;
    let mut cluster = Cluster::new(settings);
    cluster.load(1, 1);
    assert!(cluster.settle(SECOND * 5));
    cluster.load_from(0, 100_000, 1);
    let (mut number, end) = (2, cluster.elapsed() + SECOND * 5);
    while cluster.elapsed() < end {
        for to in [0, 0, 1, 1, 2, 2, 3, 3] {
            let operation = kv::Operation::put(format!("k{number}"), vec![7u8; 7 << 10]).encode();
            let first = pbft_messages::RequestNumber(number);
            let one = Submission::Requests { session: SessionId(1), first, operations: vec![operation] };
            cluster.submit(1, one, &[r(to)]);
            number += 1;
        }
        cluster.run_for(MS * 200);
    }
    let changes = cluster.reports().iter().filter(|it| matches!(it.2, Report::ViewChange { .. })).count();
    assert_eq!(changes, 0);
}

/// C1: the certificate of a lower checkpoint that comes while a higher one is being written does not take its place on
/// disk. h would fall with a restart, and the next VIEW-CHANGE would hide what the higher one covers.
#[test]
fn the_stable_checkpoint_on_disk_never_falls() {
    let mut cluster = Cluster::new(Settings { write_latency: MS * 10, ..Settings::new(4, 1) });
    let certificate = |cluster: &Cluster, sequence: u64| {
        let root = Digest::of(pbft_crypto::Domain::MerkleRoot, &sequence.to_le_bytes());
        let statement = Checkpoint { sequence: Sequence(sequence), root };
        let vote = |replica| (replica, *sign(cluster, replica, statement.clone()).signature());
        PeerMessage::Stable(Endorsed { signatures: (0..3).map(r).map(vote).collect(), statement })
    };
    for sequence in [16, 8] {
        let message = certificate(&cluster, sequence);
        cluster.inject(r(0), r(3), &message);
    }
    cluster.run_for(MS * 50);
    assert_eq!(cluster.standing(r(3)).unwrap().stable, Sequence(16));
    cluster.crash(r(3));
    cluster.start(r(3));
    assert_eq!(cluster.standing(r(3)).unwrap().stable, Sequence(16));
}
