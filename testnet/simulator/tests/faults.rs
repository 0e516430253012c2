//! Faults that others shipped and that take a cluster to be seen; those that less will show have their tests beside
//! the code. The list is in the README of pbft-protocol.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use pbft_byzantine::strategy;
use pbft_crypto::{Digest, Domain, Signed, Statement, Verified};
use pbft_messages::{
    Checkpoint, Endorsed, PeerMessage, PrePrepare, Prepare, PreparedCertificate, ReplicaId, Sequence, View,
    ViewChange,
};
use pbft_protocol::Report;
use pbft_simulator::{Cluster, InstanceId, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

/// Four replicas that have executed so many batches.
fn cluster(settings: Settings, batches: u64) -> Cluster {
    let mut cluster = Cluster::new(settings);
    cluster.load(batches - 1, 1);
    assert!(cluster.settle(SECOND * 5));
    cluster
}

/// Whether every replica that runs is in a view at least as high.
fn all_in(cluster: &Cluster, view: View) -> bool {
    (0..4).filter_map(|replica| cluster.standing(r(replica))).all(|standing| standing.view >= view)
}

/// Kills r0, the primary, at the moment when all others hold a certificate for a batch that they cannot decide: each
/// hears only the COMMITs that `heard` lets through, until all are in view 1.
fn lose_the_primary_of_a_prepared_batch(cluster: &mut Cluster, heard: fn(ReplicaId) -> bool) {
    cluster.set_filter(move |_, to, message| match message {
        PeerMessage::Commit(_) => heard(to),
        PeerMessage::Committed(..) => false,
        _ => true,
    });
    let before = cluster.reports().len();
    cluster.load(1, 1);
    let prepared = |cluster: &Cluster| {
        let reports = cluster.reports()[before..].iter();
        reports.filter(|(_, _, report)| matches!(report, Report::Prepared { .. })).count() == 4
    };
    assert!(cluster.run_until(SECOND, prepared));
    cluster.run_for(MS * 10);
    cluster.crash(r(0));
    assert!(cluster.run_until(SECOND * 20, |cluster| all_in(cluster, View(1))));
    cluster.clear_wire();
}

#[track_caller]
fn settle(cluster: &mut Cluster) {
    let settled = cluster.settle(SECOND * 20);
    assert_eq!(cluster.violations(), [], "{}", cluster.transcript());
    assert!(settled, "{}", cluster.transcript());
}

/// VC2: one replica has executed a batch when the primary dies; the VIEW-CHANGEs of the others show it.
#[test]
fn fault_07_a_decided_batch_survives_the_view_change() {
    let mut cluster = cluster(Settings::new(4, 7), 2);
    lose_the_primary_of_a_prepared_batch(&mut cluster, |to| to == r(3));
    assert_eq!(cluster.standing(r(3)).unwrap().last_executed, Sequence(3));
    settle(&mut cluster);
    cluster.load(3, 1);
    settle(&mut cluster);
}

/// N4, C4: a replica whose checkpoint lags keeps the proposals above its H, and goes on by itself.
#[test]
fn fault_18_a_lagging_backup_keeps_what_is_beyond_its_window() {
    let mut cluster = cluster(Settings::new(4, 18), 2);
    cluster.set_filter(|_, to, message| {
        let votes =
            matches!(message, PeerMessage::Proposal(..) | PeerMessage::Prepare(..) | PeerMessage::Commit(_));
        to != r(3) || votes || matches!(message, PeerMessage::Status(_))
    });
    cluster.load(28, 1);
    assert!(cluster.run_until(SECOND * 5, |cluster| cluster.answered() == 29));
    cluster.run_for(MS * 5);
    let standing = cluster.standing(r(3)).unwrap();
    assert_eq!(
        (standing.stable, standing.last_executed),
        (Sequence(0), Sequence(30)),
        "{}",
        cluster.transcript()
    );
}

/// C4: a replica that missed the last batches hears of them though nothing happens any more.
#[test]
fn fault_19_a_slow_replica_catches_up_when_idle() {
    let mut cluster = cluster(Settings::new(4, 19), 2);
    cluster.crash(r(3));
    cluster.load(2, 1);
    assert!(cluster.run_until(SECOND * 5, |cluster| cluster.answered() == 3));
    cluster.run_for(SECOND);
    cluster.start(r(3));
    settle(&mut cluster);
}

/// VC6: what was executed is not executed again after a view change.
#[test]
fn fault_20_a_view_change_executes_nothing_again() {
    let mut cluster = cluster(Settings::new(4, 20), 5);
    cluster.crash(r(0));
    cluster.load(2, 1);
    settle(&mut cluster);
    assert!(all_in(&cluster, View(1)));
    let mut last: BTreeMap<_, _> = (0..4).map(|replica| (InstanceId(replica), Sequence(0))).collect();
    for (_, replica, report) in cluster.reports() {
        if let Report::Executed { sequence, .. } = report {
            assert_eq!(last.insert(*replica, *sequence).unwrap().next(), *sequence, "{replica}");
        }
    }
}

/// VC7: every first VIEW-CHANGE is lost, and no timer runs that would bring others. Nor does whoever is to open the view
/// say a STATUS, upon which it would be given them.
#[test]
fn fault_21_a_lost_view_change_is_sent_again() {
    let mut cluster = cluster(Settings::new(4, 21), 2);
    cluster.set_filter(|_, _, message| !matches!(message, PeerMessage::ViewChange(_)));
    cluster.crash(r(0));
    cluster.load(1, 1);
    let asks = |cluster: &Cluster, replica| cluster.standing(r(replica)).unwrap().pending == Some(View(1));
    assert!(cluster.run_until(SECOND * 5, |cluster| (1..4).all(|replica| asks(cluster, replica))));
    cluster.run_for(MS * 10);
    cluster.set_filter(|from, _, message| from != r(1) || !matches!(message, PeerMessage::Status(_)));
    let enters = |cluster: &Cluster, replica| cluster.standing(r(replica)).unwrap().view == View(1);
    assert!(cluster.run_until(SECOND, |cluster| (1..4).all(|replica| enters(cluster, replica))));
    cluster.clear_wire();
    settle(&mut cluster);
}

fn sign<T: Statement<Signer = ReplicaId>>(cluster: &Cluster, replica: u16, value: T) -> Signed<T> {
    let identity = cluster.identity(r(replica));
    Verified::sign(value, r(replica), &*identity.signer, identity.configuration.scope()).signed().clone()
}

fn endorsed<T: Statement<Signer = ReplicaId> + Clone>(
    cluster: &Cluster,
    statement: T,
    signers: &[u16],
) -> Endorsed<T> {
    let vote = |signer: &u16| (r(*signer), *sign(cluster, *signer, statement.clone()).signature());
    Endorsed { signatures: signers.iter().map(vote).collect(), statement }
}

/// VC7: r1 is to open view 1 and lacks the bodies of what was prepared; a stable checkpoint makes them needless.
#[test]
fn fault_22_view_entry_is_tried_again_when_the_state_moves() {
    let mut settings = Settings::new(4, 22);
    (settings.parameters.checkpoint_interval, settings.parameters.window) = (2, 4);
    let mut cluster = Cluster::new(settings);
    for replica in [0, 2, 3] {
        let identity = cluster.identity(r(replica));
        cluster.corrupt(r(replica), strategy("silent", &identity).unwrap());
    }
    let opened: Rc<Cell<bool>> = Rc::default();
    let seen = Rc::clone(&opened);
    cluster.set_filter(move |_, _, message| {
        seen.set(seen.get() || matches!(message, PeerMessage::NewView(_)));
        true
    });
    let prepared = [1, 2].map(|sequence| {
        let (view, sequence) = (View(0), Sequence(sequence));
        let digest = Digest::of(Domain::Batch, &sequence.0.to_le_bytes());
        let header = sign(&cluster, 0, PrePrepare { view, sequence, digest });
        PreparedCertificate {
            header,
            prepares: endorsed(&cluster, Prepare { view, sequence, digest }, &[2, 3]),
        }
    });
    for replica in [0, 2, 3] {
        let value = ViewChange { view: View(1), stable: None, prepared: prepared.to_vec() };
        let message = PeerMessage::ViewChange(sign(&cluster, replica, value));
        cluster.inject(r(replica), r(1), &message);
    }
    cluster.run_for(MS * 20);
    assert_eq!(cluster.standing(r(1)).unwrap().pending, Some(View(1)));
    assert!(!opened.get(), "it lacks the bodies");
    let state = Checkpoint { sequence: Sequence(2), root: Digest::of(Domain::MerkleRoot, b"a state") };
    let stable = PeerMessage::Stable(endorsed(&cluster, state, &[0, 2, 3]));
    cluster.inject(r(2), r(1), &stable);
    cluster.run_for(MS * 20);
    assert!(opened.get(), "{}", cluster.transcript());
}

/// N6, VC6: a batch is older than the clock bound when the new view carries it over.
#[test]
fn fault_23_a_carried_batch_is_not_judged_by_its_time() {
    let mut settings = Settings::new(4, 23);
    settings.parameters.clock_bound = MS * 50;
    let mut cluster = cluster(settings, 2);
    lose_the_primary_of_a_prepared_batch(&mut cluster, |_| false);
    settle(&mut cluster);
    assert_eq!(cluster.standing(r(1)).unwrap().view, View(1), "{}", cluster.transcript());
}

/// VC7: the time-outs of view changes grow up to the cap, and are as at first after progress.
#[test]
fn fault_26_the_backoff_has_a_cap_and_is_reset() {
    let settings = Settings::new(4, 26);
    let (timeout, cap) = (settings.parameters.view_timeout, settings.parameters.view_timeout_cap);
    let mut cluster = cluster(settings, 2);
    // Nobody opens a view for a minute.
    cluster.set_filter(|_, _, message| !matches!(message, PeerMessage::NewView(_)));
    cluster.crash(r(0));
    cluster.load(1, 1);
    cluster.run_for(SECOND * 60);
    let asked = |cluster: &Cluster, replica| -> Vec<Duration> {
        let reports = cluster.reports().iter();
        let asks = |report: &Report| matches!(report, Report::ViewChange { .. });
        reports.filter(|(_, at, report)| *at == replica && asks(report)).map(|(at, _, _)| *at).collect()
    };
    let times = asked(&cluster, r(2));
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap < cap + timeout), "{gaps:?}");
    assert!(gaps.last().is_some_and(|gap| *gap >= cap), "{gaps:?}");
    cluster.clear_wire();
    cluster.start(r(0));
    settle(&mut cluster);
    cluster.load(5, 1);
    settle(&mut cluster);

    let primary = cluster.standing(r(2)).unwrap().primary;
    // r0 has started since, so its time-out is as at first anyway.
    let backup = (1..4).map(r).find(|replica| *replica != primary).unwrap();
    cluster.crash(primary);
    let (died, before) = (cluster.elapsed(), asked(&cluster, backup).len());
    cluster.load(1, 1);
    settle(&mut cluster);
    let waited = asked(&cluster, backup)[before] - died;
    assert!(waited < timeout * 2, "{waited:?}");
}

/// N3: agreement overtakes the body; who lacks it does not commit, and fetches it.
#[test]
fn fault_32_no_commit_without_the_body() {
    let mut cluster = cluster(Settings::new(4, 32), 2);
    let committed: Rc<RefCell<Vec<Sequence>>> = Rc::default();
    let seen = Rc::clone(&committed);
    cluster.set_filter(move |from, to, message| match message {
        PeerMessage::Commit(vote) if from == r(3) => {
            seen.borrow_mut().push(vote.peek().unwrap().sequence);
            true
        }
        PeerMessage::Proposal(..) | PeerMessage::Body(_) => to != r(3),
        PeerMessage::Prepared(..) | PeerMessage::Committed(..) => to != r(3),
        _ => true,
    });
    cluster.load(3, 1);
    cluster.run_for(MS * 50);
    assert_eq!(cluster.answered(), 4);
    assert_eq!(*committed.borrow(), [], "r3 has no body");
    cluster.clear_wire();
    settle(&mut cluster);
}

/// The list in the README of pbft-protocol is true: each of the forty has a test, where it says.
#[test]
fn every_fault_has_its_test() {
    let readme = include_str!("../../../node/protocol/README.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for fault in 1..=40 {
        let line =
            readme.lines().find(|line| line.starts_with(&format!("{fault}. "))).expect("it is in the list");
        let path = line.split('`').rfind(|part| part.ends_with(".rs")).expect("its test's file is named");
        let source = fs::read_to_string(root.join(path)).expect("the file exists");
        assert!(source.contains(&format!("fn fault_{fault:02}_")), "{line}");
    }
}
