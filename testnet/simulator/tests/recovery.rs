//! D8: a replica that has lost its disk rejoins, and votes nothing that could contradict what it voted before.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pbft_messages::{PeerMessage, ReplicaId, Sequence};
use pbft_protocol::Report;
use pbft_simulator::{Cluster, InstanceId, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

fn is_vote(message: &PeerMessage) -> bool {
    matches!(
        message,
        PeerMessage::Proposal(..)
            | PeerMessage::Prepare(..)
            | PeerMessage::Commit(_)
            | PeerMessage::Checkpoint(_)
            | PeerMessage::ViewChange(_)
            | PeerMessage::NewView(_)
    )
}

/// The first vote on the wire of each run of a replica.
type Votes = Rc<RefCell<Vec<PeerMessage>>>;

fn tap(cluster: &mut Cluster, replica: ReplicaId) -> Votes {
    let votes = Votes::default();
    let seen = Rc::clone(&votes);
    cluster.set_filter(move |from, _, message| {
        if from == replica && is_vote(message) {
            seen.borrow_mut().push(message.clone());
        }
        true
    });
    votes
}

fn has_recovered(cluster: &Cluster, replica: ReplicaId) -> bool {
    cluster.reports().iter().any(|(_, at, it)| *at == replica && matches!(it, Report::Recovered { .. }))
}

#[track_caller]
fn conclude(cluster: &mut Cluster, limit: Duration, what: &str) {
    let settled = cluster.settle(limit);
    let standings: Vec<_> = cluster.correct().map(|replica| (replica, cluster.standing(replica))).collect();
    assert_eq!(cluster.violations(), [], "{what}");
    assert!(settled, "{what}: {} answered, {standings:#?}", cluster.answered());
    cluster.run_for(MS * 50);
    let mut roots = cluster.state_roots();
    roots.dedup();
    assert_eq!(roots.len(), 1, "{what}: {roots:?}");
}

/// Every replica in turn is wiped in a cluster of its own, the primary among them; nobody asks for anything.
#[test]
fn a_wiped_replica_rejoins_an_idle_cluster() {
    for (n, wiped) in [(4, 0), (4, 1), (4, 3), (5, 2), (6, 0), (7, 0), (7, 6)] {
        let mut cluster = Cluster::new(Settings::new(n, 1));
        cluster.load(30, 4);
        assert!(cluster.settle(SECOND * 10));
        cluster.wipe(r(wiped));
        let votes = tap(&mut cluster, r(wiped));
        cluster.start(r(wiped));
        let recovered = cluster.run_until(SECOND * 60, |cluster| has_recovered(cluster, r(wiped)));
        assert!(recovered, "n = {n}, r{wiped}: {:?}", cluster.standing(r(wiped)));
        let kinds = votes
            .borrow()
            .iter()
            .all(|vote| matches!(vote, PeerMessage::ViewChange(_) | PeerMessage::Checkpoint(_)));
        assert!(kinds, "it votes for no batch before it has recovered");
        cluster.clear_wire();
        cluster.load(10, 2);
        conclude(&mut cluster, SECOND * 30, &format!("n = {n}, r{wiped}"));
    }
}

#[test]
fn a_wiped_replica_rejoins_under_load_and_is_then_needed() {
    const REQUESTS: u64 = 1200;
    for (n, wiped, killed) in [(4, 3, 1), (4, 0, 3), (7, 0, 1)] {
        let what = format!("n = {n}, r{wiped} wiped, r{killed} killed");
        let mut cluster = Cluster::new(Settings::new(n, 2));
        cluster.load(REQUESTS, 2);
        assert!(cluster.run_until(SECOND * 10, |cluster| cluster.answered() >= 100));
        cluster.wipe(r(wiped));
        let votes = tap(&mut cluster, r(wiped));
        cluster.start(r(wiped));
        let recovers =
            |cluster: &Cluster| cluster.standing(r(wiped)).is_some_and(|it| it.recovering.is_some());
        for _ in 0..20_000 {
            cluster.run_for(MS);
            if !recovers(&cluster) {
                break;
            }
            assert!(votes.borrow().is_empty(), "{what}: votes before it has recovered");
        }
        assert!(!recovers(&cluster), "{what}: {:?}", cluster.standing(r(wiped)));
        // f of the others may now be faulty: the recovered one is in every quorum.
        let f = pbft_messages::faults_tolerated(n.into()) as u16;
        for next in 0..f {
            cluster.crash(r((killed + next) % n));
        }
        let before = cluster.answered();
        assert!(before < REQUESTS as usize, "{what}: nothing is left to do");
        conclude(&mut cluster, SECOND * 60, &what);
        assert_eq!(cluster.answered(), REQUESTS as usize);
        let commits = |vote: &PeerMessage| matches!(vote, PeerMessage::Commit(_));
        assert!(votes.borrow().iter().any(commits), "{what}: it takes part in agreement again");
    }
}

/// D8: everything of a recovery is durable: it goes on after a crash at any time.
#[test]
fn a_recovery_goes_on_after_a_restart_in_the_middle() {
    for crash_after in [1, 5, 50, 150, 250, 400, 800] {
        let mut cluster = Cluster::new(Settings::new(4, 3));
        cluster.load(300, 4);
        assert!(cluster.settle(SECOND * 20));
        cluster.wipe(r(2));
        cluster.start(r(2));
        for _ in 0..4 {
            cluster.run_for(MS * crash_after);
            cluster.crash(r(2));
            cluster.start(r(2));
        }
        let whole = |cluster: &Cluster| cluster.standing(r(2)).unwrap().recovering.is_none();
        assert!(cluster.run_until(SECOND * 60, whole), "{:?}", cluster.standing(r(2)));
        cluster.crash(r(1));
        cluster.load(30, 2);
        conclude(&mut cluster, SECOND * 60, &format!("crashed every {crash_after} ms"));
        assert!(cluster.standing(r(2)).unwrap().stable >= Sequence(8));
    }
}

/// One replica after another is wiped, each when the one before has recovered, and nobody asks for anything: those that
/// still vote are fewer than a quorum, and come to the view of the one that waits.
#[test]
fn replicas_recover_one_after_another_in_an_idle_cluster() {
    for n in [4, 7] {
        let mut cluster = Cluster::new(Settings::new(n, 4));
        cluster.load(30, 2);
        assert!(cluster.settle(SECOND * 5));
        for wiped in 0..n {
            cluster.wipe(r(wiped));
            cluster.start(r(wiped));
            let recovered = cluster.run_until(SECOND * 120, |cluster| has_recovered(cluster, r(wiped)));
            let standings: Vec<_> = cluster.correct().map(|it| cluster.standing(it)).collect();
            assert!(recovered, "n = {n}, r{wiped}: {standings:#?}");
        }
        cluster.load(10, 2);
        conclude(&mut cluster, SECOND * 60, &format!("n = {n}"));
    }
}

/// The others cannot show the view that r3 waits for after two recoveries: the next to recover moves them there.
#[test]
fn a_replica_that_recovers_twice_leaves_the_way_open_for_the_next() {
    let mut cluster = Cluster::new(Settings::new(4, 4));
    cluster.load(30, 2);
    assert!(cluster.settle(SECOND * 5));
    for wiped in [3, 3, 2] {
        let recoveries = |cluster: &Cluster| {
            let of = |it: &&(Duration, InstanceId, Report)| {
                it.1 == r(wiped) && matches!(it.2, Report::Recovered { .. })
            };
            cluster.reports().iter().filter(of).count()
        };
        let before = recoveries(&cluster);
        cluster.wipe(r(wiped));
        cluster.start(r(wiped));
        assert!(
            cluster.run_until(SECOND * 60, |cluster| recoveries(cluster) > before),
            "r{wiped}: {:?}",
            cluster.standing(r(wiped))
        );
        cluster.run_for(SECOND);
    }
    cluster.load(10, 2);
    conclude(&mut cluster, SECOND * 60, "three recoveries");
}
