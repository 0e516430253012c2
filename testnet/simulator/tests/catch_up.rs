//! C4: every correct replica catches up, in an idle cluster and in a loaded one, with no more than a quorum alive.

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_messages::{Quorum, ReplicaId};
use pbft_simulator::{Cluster, Faults, Settings};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How far behind the replica is when it comes back, in requests: inside the window, or far behind it.
const DISTANCES: [u64; 2] = [6, 50];

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

/// Cuts a replica off, lets the others go on, kills as many of them as may be, and brings the first one back: from
/// then on nothing goes on without it.
fn left_behind(n: u16, seed: u64, distance: u64, restarted: bool) -> Cluster {
    let mut cluster = Cluster::new(Settings::new(n, seed));
    cluster.load(3, 1);
    assert!(cluster.settle(SECOND * 5));
    let lagging = r(n - 1);
    let others: Vec<_> = (0..n - 1).map(r).collect();
    if restarted {
        cluster.crash(lagging);
    } else {
        cluster.partition(&[lagging], &others);
    }
    cluster.load(distance, 1);
    let answered = 3 + distance as usize;
    assert!(cluster.run_until(SECOND * 20, |cluster| cluster.answered() == answered));
    cluster.run_for(SECOND);
    let quorum = Quorum::of(usize::from(n)).get();
    for dead in 0..usize::from(n) - quorum {
        cluster.crash(r(dead as u16));
    }
    cluster.heal();
    if restarted {
        cluster.start(lagging);
    }
    cluster
}

/// All is answered and executed, everywhere alike, within a time.
fn conclude(cluster: &mut Cluster, limit: Duration, what: &str) {
    assert!(cluster.settle(limit), "{what}\n{}", cluster.transcript());
    assert!(cluster.violations().is_empty(), "{what}: {:?}", cluster.violations());
    let roots: BTreeSet<_> = cluster.state_roots().into_iter().collect();
    assert_eq!(roots.len(), 1, "{what}: {roots:?}");
}

fn each_case(mut case: impl FnMut(&mut Cluster, &str)) {
    for (seed, n) in [(1, 4), (2, 5), (3, 7)] {
        for distance in DISTANCES {
            for restarted in [false, true] {
                let mut cluster = left_behind(n, seed, distance, restarted);
                case(&mut cluster, &format!("n = {n}, {distance} behind, restarted: {restarted}"));
            }
        }
    }
}

/// Fault 19: nobody asks for anything, and still it catches up; nothing in the cluster but STATUS moves it.
#[test]
fn an_idle_cluster_catches_up_with_a_bare_quorum() {
    each_case(|cluster, what| {
        conclude(cluster, MS * 500, what);
        // It catches up without a vote, so it can also help: now nothing goes on without it.
        cluster.load(5, 1);
        conclude(cluster, SECOND * 2, &format!("{what}, afterwards"));
    });
}

#[test]
fn a_loaded_cluster_catches_up_with_a_bare_quorum() {
    each_case(|cluster, what| {
        cluster.load(60, 4);
        conclude(cluster, SECOND * 2, what);
    });
}

/// With a bare quorum every vote of everybody is needed, so at each step some are lost and wait for the next statuses: a
/// batch takes about as long as a view has, and views end, also into those that the dead would lead. That is slow, but it
/// goes on.
#[test]
fn a_lossy_network_only_takes_longer() {
    each_case(|cluster, what| {
        cluster.set_faults(Faults { loss: 0.2, ..Faults::none() });
        cluster.load(30, 2);
        conclude(cluster, SECOND * 15, what);
    });
}
