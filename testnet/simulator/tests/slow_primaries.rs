//! Primaries that are slow on purpose are voted out (VC9, fault 25), and nobody else is.

use std::time::Duration;

use pbft_byzantine::strategy;
use pbft_messages::{ReplicaId, View};
use pbft_protocol::{Report, ViewChangeReason};
use pbft_simulator::{Cluster, Faults, InstanceId, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// The production parameters: T is one second, a round 100 ms. A message takes 20 ms, so that a busy cluster executes
/// few enough requests to be simulated for long.
fn settings(n: u16, seed: u64) -> Settings {
    let faults = Faults { latency: MS * 20, ..Faults::none() };
    let mut settings = Settings { clients: 3, faults, ..Settings::new(n, seed) };
    settings.parameters.view_timeout = SECOND;
    settings.parameters.checkpoint_interval = 64;
    settings.parameters.window = 256;
    settings
}

fn corrupt(cluster: &mut Cluster, replica: u16, text: &str) {
    let identity = cluster.identity(ReplicaId(replica));
    cluster.corrupt(ReplicaId(replica), strategy(text, &identity).expect("there is one"));
}

/// Why the correct replicas left their views of their own accord, and when.
fn reasons(cluster: &Cluster) -> Vec<(Duration, ViewChangeReason)> {
    let own = |(at, replica, report): &(Duration, InstanceId, Report)| match report {
        Report::ViewChange { reason, .. } => {
            let correct = cluster.correct().any(|it| *replica == it);
            (correct && *reason != ViewChangeReason::Joined).then_some((*at, *reason))
        }
        _ => None,
    };
    cluster.reports().iter().filter_map(own).collect()
}

fn view(cluster: &Cluster) -> View {
    cluster.correct().filter_map(|it| cluster.standing(it)).map(|it| it.view).max().expect("one is up")
}

/// Loads the cluster from all clients until it has run for so long.
fn keep_busy(cluster: &mut Cluster, until: Duration, depth: usize) {
    while cluster.elapsed() < until {
        cluster.load(100, depth);
        let left = until - cluster.elapsed();
        cluster.run_until(left, |cluster| cluster.is_answered());
    }
}

/// VC9, and nothing else, has made the correct replicas leave view 0 in time, and they stay in view 1.
#[track_caller]
fn assert_voted_out(cluster: &Cluster, by: Duration, what: &str) {
    let reasons = reasons(cluster);
    let slow =
        |(at, reason): &(Duration, ViewChangeReason)| *reason == ViewChangeReason::SlowPrimary && *at < by;
    assert!(!reasons.is_empty() && reasons.iter().all(slow), "{what}: {reasons:?}");
    assert_eq!((view(cluster), cluster.violations()), (View(1), &[][..]), "{what}");
}

#[test]
fn a_primary_that_turns_slow_is_voted_out_within_six_timeouts() {
    for (n, depth) in [(4, 1), (4, 6), (7, 1)] {
        let mut cluster = Cluster::new(settings(n, 1));
        keep_busy(&mut cluster, SECOND * 3, depth);
        corrupt(&mut cluster, 0, "slow");
        keep_busy(&mut cluster, SECOND * 10, depth);
        assert_voted_out(&cluster, SECOND * 9, &format!("n = {n}, depth {depth}"));
    }
}

/// There is nothing to compare the first primary with but the timeout.
#[test]
fn a_primary_that_is_slow_from_the_start_is_voted_out() {
    let mut cluster = Cluster::new(settings(4, 2));
    corrupt(&mut cluster, 0, "slow");
    keep_busy(&mut cluster, SECOND * 8, 1);
    assert_voted_out(&cluster, SECOND * 7, "slow from the start");
}

/// Half the timeout, clients' own patience included: only what the view achieved before shows that it is slow.
#[test]
fn a_shorter_delay_is_seen_by_comparison() {
    let mut cluster = Cluster::new(settings(4, 3));
    keep_busy(&mut cluster, SECOND * 3, 2);
    corrupt(&mut cluster, 0, "slow:delay=450ms");
    keep_busy(&mut cluster, SECOND * 10, 2);
    assert_voted_out(&cluster, SECOND * 9, "450 ms");
}

#[test]
fn f_slow_primaries_in_a_row_are_voted_out() {
    let mut cluster = Cluster::new(settings(7, 4));
    keep_busy(&mut cluster, SECOND * 2, 1);
    corrupt(&mut cluster, 0, "slow");
    corrupt(&mut cluster, 1, "slow");
    keep_busy(&mut cluster, SECOND * 18, 1);
    assert_eq!(view(&cluster), View(2), "{:?}", reasons(&cluster));
    let before = cluster.answered();
    keep_busy(&mut cluster, SECOND * 20, 1);
    assert!(cluster.answered() - before > 40, "the third primary is quick");
}

/// One client's requests take long and all others are served well: the pace tells nothing, the oldest request does.
#[test]
fn a_primary_that_starves_a_client_just_under_the_timeout_is_voted_out() {
    let mut cluster = Cluster::new(settings(4, 5));
    keep_busy(&mut cluster, SECOND * 2, 1);
    // The strategy finds clients by their keys; whichever it is, it is one of these.
    corrupt(&mut cluster, 0, "starve:delay=750ms");
    keep_busy(&mut cluster, SECOND * 9, 1);
    assert_voted_out(&cluster, SECOND * 8, "one client is starved");
}

/// Fault 25: left out altogether, the client is served after one timeout, whatever else is executed.
#[test]
fn a_starved_client_is_served() {
    let mut cluster = Cluster::new(settings(4, 6));
    cluster.load(1, 1);
    assert!(cluster.settle(SECOND));
    corrupt(&mut cluster, 0, "starve");
    let start = cluster.elapsed();
    cluster.load(40, 1);
    assert!(cluster.run_until(SECOND * 8, Cluster::is_answered));
    assert_eq!(reasons(&cluster)[0].1, ViewChangeReason::RequestTimeout);
    let (at, _) = reasons(&cluster)[0];
    assert!(
        at < start + SECOND * 3 / 2,
        "after {at:?}: the timer of the oldest request is not reset by others (N8)"
    );
    assert_eq!(cluster.violations(), []);
}

#[test]
fn nobody_is_voted_out_of_an_idle_or_hardly_loaded_cluster() {
    let mut cluster = Cluster::new(settings(4, 7));
    cluster.load(1, 1);
    cluster.run_for(SECOND * 20);
    for _ in 0..40 {
        cluster.load_from(0, 1, 1);
        cluster.run_for(MS * 730);
    }
    assert_eq!(reasons(&cluster), []);
}

#[test]
fn nobody_is_voted_out_when_the_load_comes_in_bursts_or_falls() {
    let mut settings = settings(4, 8);
    // Little capacity, so that a burst has to queue.
    settings.parameters.pipeline = 1;
    settings.parameters.batch_requests = 64;
    settings.write_latency = MS * 40;
    let mut cluster = Cluster::new(settings);
    keep_busy(&mut cluster, SECOND * 2, 30);
    for _ in 0..10 {
        cluster.load(50, 50);
        cluster.run_for(SECOND * 3 / 2);
        cluster.load_from(1, 2, 1);
        cluster.run_for(SECOND * 3 / 2);
    }
    assert_eq!(reasons(&cluster), []);
}

/// All primaries would be as slow: agreement is, and not the primary.
#[test]
fn nobody_is_voted_out_when_capacity_is_lost() {
    let mut settings = settings(4, 9);
    // So that requests have to wait for the agreement before theirs.
    settings.parameters.pipeline = 1;
    let mut cluster = Cluster::new(settings);
    keep_busy(&mut cluster, SECOND * 2, 16);
    cluster.set_write_latency(MS * 50);
    keep_busy(&mut cluster, SECOND * 7, 4);
    cluster.set_write_latency(MS * 300);
    keep_busy(&mut cluster, SECOND * 20, 6);
    assert_eq!(reasons(&cluster), []);
}

#[test]
fn nobody_is_voted_out_when_f_backups_are_silent_or_the_network_is_bad() {
    let mut cluster = Cluster::new(settings(7, 10));
    corrupt(&mut cluster, 5, "silent");
    corrupt(&mut cluster, 6, "silent");
    keep_busy(&mut cluster, SECOND * 8, 1);
    assert_eq!(reasons(&cluster), []);
    for seed in 11..14 {
        let faults = Faults { loss: 0.03, jitter: MS * 30, ..Faults::none() };
        let mut cluster = Cluster::new(Settings { faults, ..settings(4, seed) });
        keep_busy(&mut cluster, SECOND * 20, 1);
        let slow = |(_, reason): &(Duration, ViewChangeReason)| *reason == ViewChangeReason::SlowPrimary;
        assert!(!reasons(&cluster).iter().any(slow), "seed {seed}: {:?}", reasons(&cluster));
    }
}

/// A backup that was away for long, and fetches the state while the cluster is busy, blames nobody.
#[test]
fn a_backup_that_catches_up_blames_nobody() {
    let mut settings = settings(4, 14);
    (settings.parameters.checkpoint_interval, settings.parameters.window) = (8, 16);
    let mut cluster = Cluster::new(settings);
    keep_busy(&mut cluster, SECOND, 1);
    cluster.crash(ReplicaId(3));
    keep_busy(&mut cluster, SECOND * 4, 2);
    cluster.start(ReplicaId(3));
    keep_busy(&mut cluster, SECOND * 12, 2);
    assert_eq!(reasons(&cluster), []);
}
