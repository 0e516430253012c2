//! The power goes at every step that a replica takes with its disk (D1 to D7): when a write is issued or a client
//! answered, when a write is durable and before what waits for it is carried out, and after that. Of the writes that were
//! not synced the oldest survive, none, some or all; a write is atomic, so there is nothing between. The cluster goes on,
//! and every guarantee holds.

use std::time::Duration;

use pbft_byzantine::strategy;
use pbft_messages::ReplicaId;
use pbft_protocol::Report;
use pbft_simulator::{Cluster, InstanceId, PowerCut, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

const ALL: [ReplicaId; 4] = [ReplicaId(0), ReplicaId(1), ReplicaId(2), ReplicaId(3)];

/// What is done to a cluster, and what that must show to be what it is called.
struct Scenario {
    name: &'static str,
    settings: fn() -> Settings,
    run: fn(&mut Cluster),
    shows: fn(&Report) -> bool,
}

fn settings(interval: u64) -> Settings {
    let mut settings = Settings::new(4, 1);
    (settings.parameters.checkpoint_interval, settings.parameters.window) = (interval, 2 * interval);
    // The replicas are not in step, and a disk is slower than the network.
    (settings.faults.jitter, settings.write_latency) = (MS, MS * 3);
    settings
}

fn start(cluster: &mut Cluster, replica: ReplicaId) {
    if cluster.standing(replica).is_none() {
        cluster.start(replica);
    }
}

const NORMAL_CASE: Scenario = Scenario {
    name: "normal case",
    settings: || settings(16),
    run: |cluster| cluster.load(3, 2),
    shows: |report| matches!(report, Report::Committed { .. }),
};

const VIEW_CHANGE: Scenario = Scenario {
    name: "view change",
    settings: || settings(16),
    run: |cluster| {
        cluster.load(1, 1);
        cluster.settle(SECOND);
        let identity = cluster.identity(ALL[0]);
        cluster.corrupt(ALL[0], strategy("silent", &identity).expect("there is one"));
        cluster.load(1, 1);
    },
    shows: |report| matches!(report, Report::ViewEntered { .. }),
};

const CHECKPOINT: Scenario = Scenario {
    name: "checkpoint",
    settings: || settings(2),
    run: |cluster| cluster.load(4, 1),
    shows: |report| matches!(report, Report::Stable { .. }),
};

const STATE_TRANSFER: Scenario = Scenario {
    name: "state transfer",
    settings: || settings(2),
    run: |cluster| {
        cluster.crash(ALL[3]);
        cluster.load(7, 1);
        cluster.settle(SECOND * 2);
        start(cluster, ALL[3]);
    },
    shows: |report| matches!(report, Report::Transferred { .. }),
};

const CLEAN_SHUTDOWN: Scenario = Scenario {
    name: "clean shutdown",
    settings: || settings(16),
    run: |cluster| {
        cluster.load(1, 1);
        cluster.settle(SECOND);
        for replica in [ALL[0], ALL[3]] {
            cluster.shut_down(replica);
            start(cluster, replica);
        }
        cluster.load(1, 1);
    },
    shows: |_| true,
};

/// Runs a scenario, with or without a power cut; gives the cluster when it has settled.
fn run(scenario: &Scenario, cut: Option<PowerCut>) -> Cluster {
    let what = format!("{}, {cut:?}", scenario.name);
    let mut cluster = Cluster::new((scenario.settings)());
    let is_cut = cut.is_some();
    if let Some(cut) = cut {
        cluster.cut_power(cut);
    }
    (scenario.run)(&mut cluster);
    // The last writes come after the last answer, and so may the cut.
    cluster.settle(SECOND * 60);
    cluster.run_for(MS * 100);
    let settled = cluster.settle(SECOND * 60);
    cluster.run_for(MS * 50);
    assert_eq!(cluster.violations(), [], "{what}: {}", cluster.transcript());
    assert!(settled, "{what}: not settled\n{}", cluster.transcript());
    let mut roots = cluster.state_roots();
    assert_eq!(roots.len(), cluster.correct().count(), "{what}: {roots:?}");
    roots.dedup();
    assert_eq!(roots.len(), 1, "{what}: {roots:?}\n{}", cluster.transcript());
    assert!(!is_cut || cluster.power_was_cut(), "{what}: never came");
    cluster
}

/// Cuts the power at every step of each of these replicas, for it alone and for everybody.
#[track_caller]
fn cut_everywhere(scenario: &Scenario, replicas: &[ReplicaId], at_least: usize) {
    let whole = run(scenario, None);
    assert!(whole.reports().iter().any(|(_, _, report)| (scenario.shows)(report)), "{}", whole.transcript());
    let mut points = 0;
    for at in replicas {
        for (step, unsynced) in (1..).zip(whole.steps(*at)) {
            for survive in 0..=*unsynced {
                for victims in [vec![*at], ALL.to_vec()] {
                    let victims = victims.into_iter().map(InstanceId::from).collect();
                    run(scenario, Some(PowerCut { at: (*at).into(), step, survive, victims }));
                    points += 1;
                }
            }
        }
    }
    assert!(points >= at_least, "{}: {points} points only", scenario.name);
}

/// Fault 17: a certificate and its body, or a state and its certificate, are never apart on a disk.
#[test]
fn fault_17_power_goes_at_every_point_of_the_normal_case() {
    cut_everywhere(&NORMAL_CASE, &[ALL[0], ALL[3]], 0);
}

#[test]
fn power_goes_at_every_point_of_a_view_change() {
    cut_everywhere(&VIEW_CHANGE, &[ALL[1], ALL[2]], 0);
}

#[test]
fn power_goes_at_every_point_of_a_checkpoint() {
    cut_everywhere(&CHECKPOINT, &[ALL[0], ALL[3]], 0);
}

#[test]
fn power_goes_at_every_point_of_a_state_transfer() {
    cut_everywhere(&STATE_TRANSFER, &[ALL[3]], 0);
}

#[test]
fn power_goes_at_every_point_of_a_clean_shutdown() {
    cut_everywhere(&CLEAN_SHUTDOWN, &[ALL[0], ALL[3]], 0);
}
