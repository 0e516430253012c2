//! Rows 48 to 52 of the catalogue: clients that are admitted, and send what no client library would.

use std::time::Duration;

use pbft_byzantine::{CLIENT_STRATEGIES, client_strategy};
use pbft_messages::{ReplicaId, View};
use pbft_protocol::Report;
use pbft_simulator::{Cluster, Faults, Settings};

const SECOND: Duration = Duration::from_secs(1);

/// The clients whose keys the malicious one has; client 0 is honest.
const MALICIOUS: [usize; 3] = [1, 2, 3];

/// How many requests it makes.
const HONEST: usize = 30;

/// A cluster in which client 0 has been served while a malicious client was at work.
#[track_caller]
fn attacked(seed: u64, faults: Faults, text: &str) -> Cluster {
    let mut settings = Settings::new(4, seed);
    (settings.clients, settings.faults, settings.trace) = (4, faults, false);
    let mut cluster = Cluster::new(settings);
    let identity = cluster.client_identity(&MALICIOUS);
    cluster.attack(client_strategy(text, &identity).expect("there is one"));
    // About once through all that it does.
    cluster.run_for(SECOND);
    cluster.load_from(0, HONEST as u64, 2);
    assert!(cluster.run_until(SECOND * 20, Cluster::is_answered), "{text}");
    cluster.end_attacks();
    assert!(cluster.settle(SECOND * 10), "{text}");
    assert_eq!(cluster.violations(), [], "{text}");
    let mut roots = cluster.state_roots();
    roots.dedup();
    assert_eq!(roots.len(), 1, "{text}");
    cluster
}

/// How many requests were executed, of whomever.
fn executed(cluster: &Cluster) -> usize {
    let of_r0 = cluster.reports().iter().filter(|(_, at, _)| *at == ReplicaId(0));
    let batches = of_r0.map(|(_, _, report)| match report {
        Report::Executed { requests, .. } => *requests,
        _ => 0,
    });
    batches.sum()
}

/// R2, N1, N8: whatever a client does, correct clients are served, and no view ends.
#[test]
fn rows_48_to_52_correct_clients_are_served_in_the_same_view() {
    for text in CLIENT_STRATEGIES.iter().flat_map(|it| it.samples).map(|it| it.text) {
        let cluster = attacked(48, Faults::none(), text);
        let theirs = executed(&cluster) - HONEST;
        // Nothing of what is too large, and some of all the rest.
        assert_eq!(theirs == 0, text.starts_with("oversize"), "{text}: {theirs}");
        for replica in (0..4).map(ReplicaId) {
            assert_eq!(cluster.standing(replica).map(|it| it.view), Some(View(0)), "{text}");
        }
    }
}

/// The same over a bad network, where requests reach some replicas only, and a view may end.
#[test]
fn rows_48_to_52_also_over_a_bad_network() {
    for (seed, description) in (0..).zip(CLIENT_STRATEGIES) {
        attacked(seed, Faults::bad(), description.name);
    }
}
