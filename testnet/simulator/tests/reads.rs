//! Fault 36: unordered reads that are stale, or that block ordered ones (N5).

use std::time::Duration;

use pbft_byzantine::strategy;
use pbft_messages::{PeerMessage, ReplicaId, Sequence};
use pbft_protocol::Report;
use pbft_simulator::{Cluster, Faults, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

fn lie(cluster: &mut Cluster, replica: ReplicaId) {
    let identity = cluster.identity(replica);
    cluster.corrupt(replica, strategy("stale-reads", &identity).expect("there is one"));
}

fn executed(cluster: &Cluster, replica: ReplicaId) -> Sequence {
    cluster.standing(replica).expect("it runs").last_executed
}

/// r1 and r2 have committed to a batch and hear of nobody else's COMMIT; r0 and the liar r3 have executed it, so that it
/// is acknowledged. If r1 and r2 answered now, what they and r3 say would be a quorum.
fn two_replicas_have_committed_and_not_executed() -> Cluster {
    let mut cluster = Cluster::new(Settings::new(4, 1));
    lie(&mut cluster, r(3));
    cluster.load(3, 1);
    assert!(cluster.settle(SECOND));
    cluster.read(0, 1, MS);
    cluster.run_for(MS * 20);
    assert_eq!(cluster.reads(), (1, 0), "the liar knows the old state");
    cluster.set_filter(|_, to, message| {
        let decides = matches!(message, PeerMessage::Commit(_) | PeerMessage::Committed(..));
        !(decides && (to == r(1) || to == r(2)))
    });
    let before = executed(&cluster, r(1));
    cluster.load(1, 1);
    assert!(cluster.run_until(MS * 100, |cluster| cluster.answered() == 4), "r0 and r3 have executed it");
    assert_eq!((executed(&cluster, r(1)), executed(&cluster, r(2))), (before, before));
    cluster
}

/// r1 and r2 know that what they committed to may be acknowledged, so they wait, and three of a kind are not found.
#[test]
fn fault_36_unordered_reads_are_never_stale() {
    let mut cluster = two_replicas_have_committed_and_not_executed();
    cluster.read(0, 10, MS);
    cluster.run_for(MS * 100);
    assert_eq!(cluster.violations(), []);
    assert_eq!(cluster.reads(), (1, 10));
    cluster.clear_wire();
    assert!(cluster.settle(SECOND * 5));
    cluster.read(0, 10, MS);
    cluster.run_for(MS * 100);
    assert_eq!(cluster.violations(), []);
    let (answered, _) = cluster.reads();
    assert!(answered >= 11, "{answered} reads were answered after r1 and r2 had caught up");
}

/// The same when r1 and r2 have restarted since: what their disks hold of COMMITs counts.
#[test]
fn fault_36_a_restarted_replica_executes_what_it_committed_before_it_answers() {
    let mut cluster = two_replicas_have_committed_and_not_executed();
    for replica in [r(1), r(2)] {
        cluster.crash(replica);
        cluster.start(replica);
    }
    cluster.read(0, 10, MS);
    cluster.run_for(MS * 100);
    assert_eq!(cluster.violations(), []);
    assert_eq!(cluster.reads(), (1, 10));
    cluster.clear_wire();
    assert!(cluster.settle(SECOND * 5));
    cluster.read(0, 10, MS);
    cluster.run_for(MS * 100);
    assert_eq!(cluster.violations(), []);
    assert!(cluster.reads().0 >= 11);
}

/// A replica behind h fetches the state, and says at once that it cannot answer.
#[test]
fn fault_36_a_replica_behind_its_stable_checkpoint_refuses() {
    let mut cluster = Cluster::new(Settings::new(4, 2));
    lie(&mut cluster, r(3));
    cluster.load(3, 1);
    assert!(cluster.settle(SECOND));
    cluster.read(0, 1, MS);
    cluster.run_for(MS * 20);
    // r1 learns of the checkpoint, and gets neither decisions nor state.
    cluster.set_filter(|_, to, message| {
        let decides =
            matches!(message, PeerMessage::Commit(_) | PeerMessage::Committed(..) | PeerMessage::Chunk(_));
        !(decides && to == r(1))
    });
    cluster.load(20, 1);
    cluster.run_for(SECOND);
    assert!(cluster.answered() > 15, "{}", cluster.answered());
    cluster.read(0, 10, MS);
    cluster.run_for(MS * 100);
    assert_eq!(cluster.violations(), []);
    let standing = cluster.standing(r(1)).unwrap();
    assert!(standing.stable > Sequence(0) && standing.last_executed < standing.stable, "{standing:?}");
    assert_eq!(cluster.reads().0, 1, "r1 refuses and r3 lies: no quorum");
    let refused = |(_, at, report): &&(_, _, Report)| *at == r(1) && *report == Report::ReadRefused;
    assert_eq!(cluster.reports().iter().filter(refused).count(), 10);
}

/// Reads go on while views change, replicas crash and messages are lost, and are linearizable all the while.
#[test]
fn fault_36_reads_are_linearizable_whatever_happens() {
    let mut answered = 0;
    for seed in 0..12 {
        let n = [4, 5, 7][seed as usize % 3];
        let faults = if seed % 2 == 0 { Faults::bad() } else { Faults::none() };
        let mut cluster = Cluster::new(Settings { faults, clients: 3, ..Settings::new(n, seed) });
        for liar in 0..pbft_messages::faults_tolerated(n.into()) as u16 {
            lie(&mut cluster, r(n - 1 - liar));
        }
        cluster.load(20, 3);
        for client in 0..3 {
            cluster.read(client, 150, MS * (3 + client as u32));
        }
        for (replica, after) in [(r(0), MS * 60), (r(1), MS * 1500), (r(2), MS * 40)] {
            cluster.run_for(after);
            cluster.crash(replica);
            cluster.run_for(MS * 30);
            cluster.start(replica);
        }
        cluster.run_for(SECOND * 2);
        cluster.set_faults(Faults::none());
        assert!(cluster.settle(SECOND * 60), "seed {seed}: {} answered", cluster.answered());
        assert_eq!(cluster.violations(), [], "seed {seed}");
        answered += cluster.reads().0;
    }
    // 12 runs of 450 reads each.
    assert!(answered > 1200, "{answered} reads were answered by a quorum");
}

/// A replica full of reads that wait takes part in agreement as ever.
#[test]
fn fault_36_reads_do_not_block_ordered_requests() {
    let elapsed = |reads: u64| {
        let mut cluster = Cluster::new(Settings::new(4, 3));
        cluster.set_filter(|_, to, message| !(to == r(3) && matches!(message, PeerMessage::Commit(_))));
        cluster.read(0, reads, Duration::from_micros(20));
        cluster.load(50, 1);
        assert!(cluster.run_until(SECOND * 10, |cluster| cluster.answered() == 50));
        assert_eq!(cluster.violations(), []);
        (cluster.elapsed(), cluster.reads())
    };
    let ((without, _), (with, (answered, _))) = (elapsed(0), elapsed(20_000));
    assert!(with < without.mul_f64(1.2), "{with:?} with reads, {without:?} without");
    assert!(answered > 1000, "{answered}");
}

/// D8: a replica that has lost its disk does not know what it sent COMMIT for, and answers nothing until it has recovered.
#[test]
fn fault_36_a_recovering_replica_refuses() {
    let mut cluster = Cluster::new(Settings::new(4, 4));
    cluster.load(3, 1);
    assert!(cluster.settle(SECOND));
    cluster.crash(r(3));
    cluster.wipe(r(3));
    cluster.start(r(3));
    cluster.read(0, 5, MS);
    cluster.run_for(MS * 20);
    assert!(cluster.standing(r(3)).expect("it runs").recovering.is_some(), "recovering takes longer");
    let refused = |(_, at, report): &&(_, _, Report)| *at == r(3) && *report == Report::ReadRefused;
    assert_eq!(cluster.reports().iter().filter(refused).count(), 5);
    assert_eq!((cluster.violations(), cluster.reads()), (&[][..], (5, 0)));
}
