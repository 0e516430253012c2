//! The environment's faults, each by itself (rows 2 to 6, 14 to 17, 20, 21, 23 and 61 of the catalogue): nothing is lost
//! or executed twice, and what is left of the cluster goes on.

use std::time::Duration;

use pbft_messages::ReplicaId;
use pbft_simulator::{Cluster, Faults, InstanceId, Settings, Workload};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

fn cluster(seed: u64) -> Cluster {
    Cluster::new(Settings { workload: Workload::Mixed { keys: 3 }, clients: 2, ..Settings::new(4, seed) })
}

#[track_caller]
fn settle(cluster: &mut Cluster) {
    assert!(cluster.settle(SECOND * 60), "{}", cluster.transcript());
    assert_eq!(cluster.violations(), []);
}

#[test]
fn old_messages_and_late_ones_do_no_harm() {
    for seed in 0..5 {
        let mut cluster = cluster(seed);
        let jitter = MS * 5;
        cluster.set_faults(Faults { replay: 0.5, duplication: 0.3, tail: 0.05, jitter, ..Faults::none() });
        cluster.load(40, 3);
        cluster.run_for(MS * 300);
        cluster.crash(r(0));
        cluster.run_for(SECOND * 2);
        cluster.start(r(0));
        cluster.set_faults(Faults::none());
        settle(&mut cluster);
    }
}

/// Each hears its neighbour alone; then only one direction of one link works badly.
#[test]
fn rings_and_clogged_links_heal() {
    let mut cluster = cluster(1);
    for from in 0..4 {
        for to in (0..4).filter(|to| *to != from && *to != (from + 1) % 4) {
            cluster.cut(r(from), r(to));
        }
    }
    cluster.load(10, 2);
    cluster.run_for(SECOND * 5);
    cluster.heal();
    settle(&mut cluster);
    cluster.clog(r(0), r(1), SECOND * 3);
    cluster.load(30, 2);
    settle(&mut cluster);
}

#[test]
fn a_replica_whose_sync_fails_halts_and_says_nothing() {
    let mut cluster = cluster(2);
    cluster.fail_sync(r(1));
    cluster.load(10, 2);
    assert!(cluster.run_until(SECOND, |cluster| cluster.standing(r(1)).is_none()));
    settle(&mut cluster);
    cluster.start(r(1));
    cluster.load(10, 2);
    settle(&mut cluster);
}

#[test]
fn torn_writes_are_as_if_they_had_not_been() {
    for survive in 0..4 {
        let mut cluster = cluster(3);
        cluster.load(30, 3);
        for victim in [0, 1, 2, 3].map(r) {
            cluster.run_for(MS * 13);
            cluster.tear(victim, survive);
            cluster.start(victim);
        }
        settle(&mut cluster);
    }
}

/// Rot is found when the replica starts; with another disk it recovers.
#[test]
fn a_damaged_disk_is_refused_and_replaced() {
    let mut cluster = cluster(4);
    cluster.load(30, 3);
    cluster.run_for(MS * 50);
    cluster.damage_disk(r(2));
    cluster.start(r(2));
    assert!(cluster.standing(r(2)).is_none(), "it refuses");
    cluster.run_for(SECOND);
    cluster.wipe(r(2));
    cluster.start(r(2));
    settle(&mut cluster);
    cluster.load(20, 2);
    settle(&mut cluster);
    assert!(cluster.run_until(SECOND * 60, |cluster| cluster.standing(r(2)).unwrap().recovering.is_none()));
}

/// It votes again on what it has forgotten; the others hold.
#[test]
fn a_rolled_back_disk_counts_as_malicious_and_does_no_harm() {
    let mut cluster = cluster(5);
    cluster.load(20, 2);
    cluster.run_for(MS * 30);
    cluster.save_disk(r(3));
    settle(&mut cluster);
    cluster.load(20, 2);
    cluster.run_for(MS * 30);
    cluster.roll_back_disk(r(3));
    cluster.start(r(3));
    settle(&mut cluster);
    assert_eq!(cluster.correct().count(), 3);
}

#[test]
fn drifting_clocks_and_a_starved_processor_are_put_up_with() {
    let mut cluster = cluster(6);
    cluster.set_drift(r(0), 10_000);
    cluster.set_drift(r(1), -10_000);
    cluster.starve(r(0), MS);
    cluster.load(50, 2);
    cluster.run_for(SECOND * 3);
    cluster.starve(InstanceId(0), Duration::ZERO);
    settle(&mut cluster);
}

/// A clock that becomes slower while a timer waits does not lose the timer: the replica catches up when it can.
#[test]
fn a_clock_that_becomes_slower_loses_no_timer() {
    let mut cluster = cluster(7);
    cluster.set_drift(r(3), 300_000);
    cluster.partition(&[r(3)], &[r(0), r(1), r(2)]);
    cluster.load(20, 2);
    cluster.run_for(SECOND);
    cluster.set_drift(r(3), 0);
    cluster.heal();
    settle(&mut cluster);
}

/// A disk that becomes faster does not finish a write before one that was issued earlier.
#[test]
fn a_disk_that_becomes_faster_loses_no_write() {
    for wait in 0..40 {
        let mut cluster = cluster(8);
        cluster.set_write_latency(MS * 20);
        cluster.load(10, 2);
        cluster.run_for(MS * (100 + wait));
        cluster.set_write_latency(MS);
        settle(&mut cluster);
    }
}
