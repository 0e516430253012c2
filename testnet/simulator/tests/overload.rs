//! More load than there is room for (N8): it changes no view, and the cluster goes on doing what it can.

use std::time::Duration;

use pbft_byzantine::client_strategy;
use pbft_messages::View;
use pbft_simulator::{Cluster, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// How many clients there are, and how many requests each has under way at a time.
const CLIENTS: u16 = 2;
const DEPTH: usize = 512;

/// A cluster to which a batch costs two writes whatever its size: it executes thousands of requests a second, but a
/// hundred if each has a batch of its own.
fn settings(n: u16) -> Settings {
    let mut settings =
        Settings { clients: CLIENTS, trace: false, write_latency: MS * 20, ..Settings::new(n, 1) };
    settings.parameters.view_timeout = SECOND;
    (settings.parameters.checkpoint_interval, settings.parameters.window) = (128, 512);
    (settings.parameters.batch_requests, settings.parameters.session_window) = (64, DEPTH as u64);
    settings
}

/// How many requests are answered in so long.
fn answered(cluster: &mut Cluster, duration: Duration) -> usize {
    let before = cluster.answered();
    cluster.run_for(duration);
    cluster.answered() - before
}

/// Nobody has left a view or broken a guarantee.
#[track_caller]
fn assert_calm(cluster: &Cluster) {
    let views: Vec<_> =
        cluster.correct().filter_map(|it| cluster.standing(it)).map(|it| (it.view, it.pending)).collect();
    assert!(views.iter().all(|it| *it == (View(0), None)), "{views:?}");
    assert_eq!(cluster.violations(), []);
}

/// Clients that were shed stay away for a while: that must not let the cluster take so little that they stay away for
/// good.
#[test]
fn a_cluster_that_was_idle_does_all_it_can_within_two_seconds() {
    for n in [4, 7] {
        let mut cluster = Cluster::new(settings(n));
        cluster.load(u64::MAX / 2, DEPTH);
        cluster.run_for(SECOND * 2);
        let done = answered(&mut cluster, SECOND / 2);
        assert!(done > 4000, "n = {n}: {done} in half a second");
        assert_calm(&cluster);
    }
}

/// N8: more is let in while nothing waits for long; that must not make anything wait for a view timeout when the disks
/// become slow at once.
#[test]
fn overload_changes_no_view_when_the_disks_become_slow() {
    let mut cluster = Cluster::new(settings(4));
    cluster.load(u64::MAX / 4, DEPTH);
    cluster.run_for(SECOND * 2);
    for latency in [60, 20, 60] {
        cluster.set_write_latency(MS * latency);
        let done = answered(&mut cluster, SECOND);
        assert!(done > 2000, "{done} with writes of {latency} ms");
    }
    assert_calm(&cluster);
}

/// N8: the primary has to take on what waits at its backups, and clients can let something else wait at each of them.
#[test]
fn different_requests_at_each_replica_change_no_view() {
    // Of the service's making: 64 requests in 40 ms.
    let (clients, service_latency, write_latency) = (3, MS * 40, MS);
    let mut cluster = Cluster::new(Settings { clients, service_latency, write_latency, ..settings(4) });
    cluster.load_from(0, u64::MAX / 2, DEPTH);
    let done = answered(&mut cluster, SECOND * 2);
    assert!(done > 1500, "{done} in two seconds");
    let identity = cluster.client_identity(&[1, 2]);
    cluster.attack(client_strategy("flood-requests:rate=10000,to=one", &identity).expect("there is one"));
    cluster.run_for(SECOND * 4);
    assert_calm(&cluster);
}
