//! Primaries that fall silent are left before the timer of a request ends (VC10), and nobody else is.

use std::time::Duration;

use pbft_byzantine::strategy;
use pbft_messages::ReplicaId;
use pbft_protocol::{Report, ViewChangeReason};
use pbft_simulator::{Cluster, Faults, InstanceId, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

/// T is one second, as in production; a status interval is 100 ms, and a message takes 10 ms.
fn cluster(n: u16, seed: u64) -> Cluster {
    let faults = Faults { latency: MS * 10, ..Faults::none() };
    let mut settings = Settings { clients: 3, faults, ..Settings::new(n, seed) };
    settings.parameters.view_timeout = SECOND;
    settings.parameters.checkpoint_interval = 64;
    settings.parameters.window = 256;
    let mut cluster = Cluster::new(settings);
    cluster.load(3, 1);
    assert!(cluster.settle(SECOND));
    cluster
}

fn corrupt(cluster: &mut Cluster, replica: u16, text: &str) {
    let identity = cluster.identity(r(replica));
    cluster.corrupt(r(replica), strategy(text, &identity).expect("there is one"));
}

/// Why the correct replicas left their views of their own accord.
fn reasons(cluster: &Cluster) -> Vec<ViewChangeReason> {
    let own = |(_, replica, report): &(Duration, InstanceId, Report)| match report {
        Report::ViewChange { reason, .. } => {
            let correct = cluster.correct().any(|it| *replica == it);
            (correct && *reason != ViewChangeReason::Joined).then_some(*reason)
        }
        _ => None,
    };
    cluster.reports().iter().filter_map(own).collect()
}

/// Lets all clients ask without a pause until the cluster has run for so much longer.
fn keep_busy(cluster: &mut Cluster, duration: Duration) {
    let until = cluster.elapsed() + duration;
    while cluster.elapsed() < until {
        cluster.load(20, 1);
        if !cluster.run_until(until - cluster.elapsed(), Cluster::is_answered) {
            cluster.run_for(until - cluster.elapsed());
        }
    }
}

/// How long nobody is answered from here on.
fn pause(cluster: &mut Cluster) -> Duration {
    let (start, answered) = (cluster.elapsed(), cluster.answered());
    assert!(cluster.run_until(SECOND * 5, |cluster| cluster.answered() > answered));
    cluster.elapsed() - start
}

#[test]
fn a_primary_that_dies_under_load_costs_less_than_the_view_timeout() {
    for seed in 0..4 {
        let mut cluster = cluster(4, seed);
        keep_busy(&mut cluster, SECOND + MS * 30 * seed as u32);
        cluster.load(100, 1);
        cluster.crash(r(0));
        // What was agreed on already is still answered.
        cluster.run_for(MS * 50);
        let pause = pause(&mut cluster) + MS * 50;
        assert!(pause > MS * 650 && pause < SECOND, "{pause:?}");
        let reasons = reasons(&cluster);
        assert!(!reasons.is_empty() && reasons.iter().all(|it| *it == ViewChangeReason::SilentPrimary));
        assert_eq!(cluster.violations(), []);
    }
}

/// The second one is silent from its NEW-VIEW on.
#[test]
fn silent_primaries_in_a_row_are_left() {
    let mut cluster = cluster(7, 10);
    keep_busy(&mut cluster, SECOND);
    cluster.crash(r(0));
    corrupt(&mut cluster, 1, "silent:kinds=proposals/votes/replies/state");
    keep_busy(&mut cluster, SECOND * 6);
    assert!(cluster.correct().all(|it| cluster.standing(it).is_none_or(|it| it.view.0 == 2)));
    assert_eq!(cluster.violations(), []);
}

/// An idle cluster changes no view, and the first to ask is soon served.
#[test]
fn a_dead_primary_is_left_when_somebody_asks() {
    let mut cluster = cluster(4, 20);
    cluster.crash(r(0));
    cluster.run_for(SECOND * 20);
    assert_eq!(reasons(&cluster), []);
    cluster.load_from(0, 1, 1);
    let pause = pause(&mut cluster);
    assert!(pause < MS * 750, "a fifth of a second until all are asked, a quarter to answer: {pause:?}");
}

/// A primary that says STATUS and proposes nothing has the timer of the request.
#[test]
fn who_speaks_is_given_the_whole_timeout() {
    let mut cluster = cluster(4, 30);
    keep_busy(&mut cluster, SECOND);
    corrupt(&mut cluster, 0, "silent:kinds=proposals");
    cluster.load(10, 1);
    // What was proposed before is still answered.
    cluster.run_for(MS * 100);
    let pause = pause(&mut cluster) + MS * 100;
    assert!(pause > SECOND, "{pause:?}");
    assert!(!reasons(&cluster).contains(&ViewChangeReason::SilentPrimary));
}

/// A backup that the primary does not reach, and that the others keep up to date, leaves nobody.
#[test]
fn a_backup_cut_off_from_the_primary_follows_the_others() {
    for pauses in [MS * 10, MS * 300, SECOND * 2] {
        let mut cluster = cluster(4, 40);
        cluster.cut(r(0), r(3));
        for _ in 0..20 {
            cluster.load_from(0, 2, 1);
            cluster.run_for(pauses);
        }
        assert_eq!(reasons(&cluster), []);
        assert!(cluster.settle(SECOND * 2));
    }
}

#[test]
fn nobody_is_left_when_messages_are_lost() {
    for seed in 50..53 {
        let faults = Faults { latency: MS * 10, loss: 0.1, jitter: MS * 30, ..Faults::none() };
        let mut cluster = cluster(4, seed);
        cluster.set_faults(faults);
        keep_busy(&mut cluster, SECOND * 8);
        assert!(!reasons(&cluster).contains(&ViewChangeReason::SilentPrimary), "seed {seed}");
    }
}
