//! Clusters of the pure protocol under faults: what must hold whatever happens.

use std::time::Duration;

use pbft_byzantine::strategy;
use pbft_messages::{ReplicaId, Sequence, View};
use pbft_protocol::{Report, ViewChangeReason};
use pbft_simulator::{Cluster, Faults, InstanceId, Settings};

const SECOND: Duration = Duration::from_secs(1);
const SIZES: [u16; 5] = [4, 5, 6, 7, 10];

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

/// Ends a run: everything asked for is answered, nothing is violated, and all correct replicas have one state.
#[track_caller]
fn conclude(cluster: &mut Cluster, limit: Duration, what: &str) {
    let settled = cluster.settle(limit);
    let standings: Vec<_> = cluster.correct().map(|replica| (replica, cluster.standing(replica))).collect();
    assert_eq!(cluster.violations(), [], "{what}");
    assert!(
        settled,
        "{what}: not settled after {:?}, {} answered: {standings:#?}",
        cluster.elapsed(),
        cluster.answered()
    );
    cluster.run_for(Duration::from_millis(50));
    // A late copy of a request may have been ordered again.
    assert!(cluster.settle(limit), "{what}: not settled again");
    let mut roots = cluster.state_roots();
    roots.dedup();
    assert_eq!(roots.len(), 1, "{what}: {roots:?}");
}

#[test]
fn requests_are_ordered_at_every_size() {
    for n in SIZES {
        let mut cluster = Cluster::new(Settings::new(n, 1));
        cluster.load(100, 8);
        conclude(&mut cluster, SECOND * 10, &format!("n = {n}"));
        assert_eq!(cluster.answered(), 100);
        assert_eq!(cluster.standing(r(0)).unwrap().view, View(0), "nobody had reason to leave the view");
        assert!(cluster.standing(r(0)).unwrap().stable >= Sequence(8), "checkpoints became stable");
    }
}

#[test]
fn f_dead_backups_stop_nothing() {
    for n in SIZES {
        let mut cluster = Cluster::new(Settings::new(n, 2));
        for backup in 0..pbft_messages::faults_tolerated(n.into()) as u16 {
            cluster.crash(r(n - 1 - backup));
        }
        cluster.load(50, 4);
        conclude(&mut cluster, SECOND * 10, &format!("n = {n}"));
        assert_eq!(cluster.answered(), 50);
    }
}

#[test]
fn a_dead_primary_is_replaced() {
    for n in SIZES {
        let mut cluster = Cluster::new(Settings::new(n, 3));
        cluster.load(40, 4);
        assert!(cluster.run_until(SECOND * 5, |cluster| cluster.answered() >= 20));
        cluster.crash(r(0));
        conclude(&mut cluster, SECOND * 20, &format!("n = {n}"));
        assert_eq!(cluster.answered(), 40);
        assert!(cluster.standing(r(1)).unwrap().view >= View(1));
    }
}

#[test]
fn f_dead_primaries_in_a_row_are_replaced() {
    for n in [7, 10] {
        let mut cluster = Cluster::new(Settings::new(n, 4));
        for primary in 0..pbft_messages::faults_tolerated(n.into()) as u16 {
            cluster.crash(r(primary));
        }
        cluster.load(20, 2);
        conclude(&mut cluster, SECOND * 30, &format!("n = {n}"));
        assert_eq!(cluster.answered(), 20);
    }
}

#[test]
fn a_silent_primary_is_replaced() {
    for n in SIZES {
        let mut cluster = Cluster::new(Settings::new(n, 5));
        cluster.load(40, 4);
        assert!(cluster.run_until(SECOND * 5, |cluster| cluster.answered() >= 20));
        let identity = cluster.identity(r(0));
        cluster.corrupt(r(0), strategy("silent", &identity).unwrap());
        conclude(&mut cluster, SECOND * 20, &format!("n = {n}"));
        assert_eq!(cluster.answered(), 40);
    }
}

/// An equivocating primary is left at once, by evidence and not by a timeout, and everybody ends up with proof.
#[test]
fn an_equivocating_primary_is_caught() {
    for n in SIZES {
        let mut cluster = Cluster::new(Settings::new(n, 6));
        cluster.load(40, 4);
        assert!(cluster.run_until(SECOND * 5, |cluster| cluster.answered() >= 20));
        let identity = cluster.identity(r(0));
        cluster.corrupt(r(0), strategy("equivocate", &identity).unwrap());
        conclude(&mut cluster, SECOND * 20, &format!("n = {n}"));
        assert_eq!(cluster.answered(), 40);
        let left_by_evidence =
            |report: &Report| matches!(report, Report::ViewChange { reason: ViewChangeReason::Evidence, .. });
        assert!(cluster.reports().iter().any(|(_, _, report)| left_by_evidence(report)), "n = {n}");
        for replica in cluster.correct() {
            let proven = cluster.reports().iter().any(|(_, at, report)| {
                *at == replica && matches!(report, Report::Evidence(it) if it.accused == r(0))
            });
            assert!(proven, "n = {n}: {replica} holds no evidence");
        }
    }
}

#[test]
fn lost_repeated_and_reordered_messages_change_nothing() {
    for seed in 0..40 {
        let n = SIZES[seed as usize % SIZES.len()];
        let mut cluster =
            Cluster::new(Settings { faults: Faults::bad(), clients: 3, ..Settings::new(n, seed) });
        cluster.load(20, 3);
        assert!(
            cluster.run_until(SECOND * 120, |cluster| cluster.answered() >= 60),
            "seed {seed}: {}",
            cluster.transcript()
        );
        cluster.set_faults(Faults::none());
        conclude(&mut cluster, SECOND * 30, &format!("seed {seed}"));
    }
}

/// A replica that was down inside the window catches up from the others' logs (C4).
#[test]
fn a_restarted_replica_catches_up_inside_the_window() {
    let mut cluster = Cluster::new(Settings::new(4, 7));
    cluster.load(3, 1);
    conclude(&mut cluster, SECOND * 5, "before");
    cluster.crash(r(3));
    cluster.load(3, 1);
    assert!(cluster.run_until(SECOND * 5, |cluster| cluster.answered() == 6));
    cluster.start(r(3));
    conclude(&mut cluster, SECOND * 5, "after");
    let transferred = |(_, _, report): &(_, _, Report)| matches!(report, Report::TransferStarted { .. });
    assert!(!cluster.reports().iter().any(transferred));
}

/// A replica that was down for longer than the window fetches a checkpoint (C3), in an idle cluster too (fault 19).
#[test]
fn a_restarted_replica_catches_up_from_behind_the_window() {
    for n in SIZES {
        let mut cluster = Cluster::new(Settings::new(n, 8));
        cluster.load(5, 1);
        conclude(&mut cluster, SECOND * 5, "before");
        cluster.crash(r(n - 1));
        cluster.load(60, 1);
        assert!(cluster.run_until(SECOND * 20, |cluster| cluster.answered() == 65));
        cluster.run_for(SECOND);
        cluster.start(r(n - 1));
        conclude(&mut cluster, SECOND * 10, &format!("n = {n}"));
        let transferred = |(_, at, report): &(_, InstanceId, Report)| {
            *at == r(n - 1) && matches!(report, Report::Transferred { .. })
        };
        assert!(cluster.reports().iter().any(transferred), "n = {n}");
        // And again under load, so that the installed state is one to go on from.
        cluster.load(20, 2);
        conclude(&mut cluster, SECOND * 10, &format!("n = {n}, afterwards"));
    }
}

/// All replicas lose power at once, again and again, at moments drawn from the seed: nothing acknowledged is lost,
/// and service resumes by itself.
#[test]
fn power_cuts_lose_nothing() {
    for seed in 0..20 {
        let n = SIZES[seed as usize % SIZES.len()];
        let mut cluster = Cluster::new(Settings { clients: 2, ..Settings::new(n, seed) });
        cluster.load(30, 4);
        for cut in 0..4 {
            cluster.run_for(Duration::from_micros(1_700 * (1 + (seed * 7 + cut * 13) % 19)));
            for replica in 0..n {
                cluster.crash(r(replica));
            }
            cluster.run_for(Duration::from_millis(20));
            for replica in 0..n {
                cluster.start(r(replica));
            }
            cluster.run_for(SECOND * (cut as u32 % 3));
        }
        conclude(&mut cluster, SECOND * 60, &format!("seed {seed}"));
        assert_eq!(cluster.answered(), 60);
    }
}

/// One replica after the other is killed and restarted under load, on a bad network.
#[test]
fn rolling_crashes_under_load() {
    for seed in 0..20u64 {
        let n = SIZES[seed as usize % SIZES.len()];
        let faults = Faults { loss: 0.02, jitter: Duration::from_millis(5), ..Faults::bad() };
        let mut cluster = Cluster::new(Settings { clients: 2, faults, ..Settings::new(n, seed) });
        cluster.load(60, 4);
        for round in 0..2 * n {
            let victim = r((round + seed as u16) % n);
            cluster.run_for(Duration::from_millis(40 + 37 * (seed % 11)));
            cluster.crash(victim);
            cluster.run_for(Duration::from_millis(300));
            cluster.start(victim);
        }
        cluster.set_faults(Faults::none());
        conclude(&mut cluster, SECOND * 60, &format!("seed {seed}"));
        assert_eq!(cluster.answered(), 120);
    }
}

/// A replica that stops in good order may vote at once when it starts again (D2).
#[test]
fn a_clean_restart_of_the_primary_needs_no_view_change() {
    let mut cluster = Cluster::new(Settings::new(4, 9));
    cluster.load(5, 1);
    conclude(&mut cluster, SECOND * 5, "before");
    cluster.shut_down(r(0));
    cluster.start(r(0));
    cluster.load(20, 2);
    conclude(&mut cluster, SECOND * 10, "after");
    assert_eq!(cluster.standing(r(0)).unwrap().view, View(0));
}

/// No partition lets a minority commit, and the two sides are one when it heals.
#[test]
fn a_minority_commits_nothing() {
    for n in SIZES {
        let f = pbft_messages::faults_tolerated(n.into()) as u16;
        let mut cluster = Cluster::new(Settings::new(n, 10));
        cluster.load(10, 1);
        conclude(&mut cluster, SECOND * 5, "before");
        let all: Vec<_> = (0..n).map(r).collect();
        // The primary is in the minority.
        let (minority, majority) = all.split_at(usize::from(f));
        cluster.partition(minority, majority);
        let before = cluster.standing(r(0)).unwrap().last_executed;
        cluster.load(30, 2);
        assert!(cluster.run_until(SECOND * 20, |cluster| cluster.answered() == 40), "n = {n}");
        for replica in minority {
            assert_eq!(cluster.standing(*replica).unwrap().last_executed, before);
        }
        cluster.heal();
        conclude(&mut cluster, SECOND * 20, &format!("n = {n}"));
    }
}

/// With f+1 down nothing is answered, falsely or otherwise; with one of them back, service resumes by itself.
#[test]
fn without_a_quorum_nothing_is_answered() {
    for n in SIZES {
        let f = pbft_messages::faults_tolerated(n.into()) as u16;
        let quorum = pbft_messages::Quorum::of(n.into()).get() as u16;
        let mut cluster = Cluster::new(Settings::new(n, 11));
        cluster.load(5, 1);
        conclude(&mut cluster, SECOND * 5, "before");
        for replica in quorum - 1..n {
            cluster.crash(r(replica));
        }
        cluster.load(5, 1);
        cluster.run_for(SECOND * 15);
        assert_eq!(cluster.answered(), 5, "n = {n}, f = {f}");
        cluster.start(r(n - 1));
        conclude(&mut cluster, SECOND * 60, &format!("n = {n}"));
        assert_eq!(cluster.answered(), 10);
    }
}
