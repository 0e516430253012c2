//! Rows 44 to 47 of the catalogue: wrong roots, and sources of state that lie, promise or dawdle.

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_byzantine::strategy;
use pbft_messages::{EvidenceKind, ReplicaId, RequestNumber, Sequence, SessionId, Submission, View};
use pbft_protocol::Report;
use pbft_service::kv;
use pbft_simulator::{Cluster, Settings};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const SESSION: SessionId = SessionId(9);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

fn corrupt(cluster: &mut Cluster, colluders: &[ReplicaId], text: &str) {
    for replica in colluders {
        let identity = cluster.colluding_identity(*replica, colluders);
        cluster.corrupt(*replica, strategy(text, &identity).expect("there is one"));
    }
}

/// A cluster whose last replica is correct, was cut off, and lacks twenty large chunks of state.
fn with_state_that_one_lacks(n: u16, seed: u64, colluders: &[ReplicaId], text: &str) -> Cluster {
    let mut settings = Settings::new(n, seed);
    (settings.parameters.checkpoint_interval, settings.parameters.window) = (4, 8);
    let mut cluster = Cluster::new(settings);
    corrupt(&mut cluster, colluders, text);
    let all: Vec<_> = (0..n).map(r).collect();
    let (last, others) = all.split_last().expect("a cluster has replicas");
    cluster.load(1, 1);
    assert!(cluster.settle(SECOND));
    cluster.submit(0, Submission::Open { session: SESSION }, &all);
    cluster.run_for(MS * 50);
    cluster.partition(&[*last], others);
    for number in 1..=20 {
        let value = vec![number as u8; 200 << 10];
        let operations = vec![kv::Operation::put(format!("large-{number:02}"), value).encode()];
        let first = RequestNumber(number);
        cluster.submit(0, Submission::Requests { session: SESSION, first, operations }, &all);
        cluster.run_for(MS * 20);
    }
    cluster.load(1, 1);
    assert!(cluster.run_until(SECOND * 5, |cluster| cluster.answered() == 2), "{text}");
    cluster.run_for(SECOND);
    cluster.heal();
    cluster
}

/// Ends a run: everybody correct has executed everything in view 0, in one state; gives how long that took.
#[track_caller]
fn conclude(cluster: &mut Cluster, what: &str) -> Duration {
    let start = cluster.elapsed();
    assert!(cluster.settle(SECOND * 20), "{what}: {}", cluster.transcript());
    let taken = cluster.elapsed() - start;
    assert_eq!(cluster.violations(), [], "{what}");
    let roots: BTreeSet<_> = cluster.state_roots().into_iter().collect();
    assert_eq!(roots.len(), 1, "{what}: {roots:?}");
    let views = cluster.correct().filter_map(|it| cluster.standing(it)).map(|it| it.view);
    assert!(views.into_iter().all(|view| view == View(0)), "{what}");
    taken
}

fn dropped(cluster: &Cluster) -> BTreeSet<ReplicaId> {
    let dropped = cluster.reports().iter().filter_map(|(_, _, report)| match report {
        Report::SourceDropped { source } => Some(*source),
        _ => None,
    });
    dropped.collect()
}

/// C1: f wrong votes, equal or not, neither make a checkpoint nor hinder one.
#[test]
fn row_44_wrong_roots_do_not_become_stable() {
    for (n, colluders) in [(4, vec![r(0)]), (4, vec![r(2)]), (7, vec![r(1), r(4)])] {
        for text in ["wrong-root", "wrong-root:roots=halves", "wrong-root:roots=one"] {
            let mut cluster = Cluster::new(Settings::new(n, 44));
            corrupt(&mut cluster, &colluders, text);
            cluster.load(40, 1);
            conclude(&mut cluster, text);
            let stable = cluster.correct().filter_map(|it| cluster.standing(it)).map(|it| it.stable).min();
            assert_eq!(stable, Some(Sequence(40)), "{text}");
            let accused: BTreeSet<_> = cluster
                .reports()
                .iter()
                .filter_map(|(_, _, report)| match report {
                    Report::Evidence(it) => Some((it.accused, it.kind)),
                    _ => None,
                })
                .collect();
            if text == "wrong-root" {
                let all: BTreeSet<_> = colluders.iter().map(|it| (*it, EvidenceKind::Checkpoint)).collect();
                assert_eq!(accused, all);
            }
        }
    }
}

/// C3: a wrong part is recognized, and its source is not asked again.
#[test]
fn row_45_corrupt_parts_cost_their_source() {
    for text in ["corrupt-chunks", "corrupt-chunks:part=leaves", "corrupt-chunks:part=all"] {
        let mut cluster = with_state_that_one_lacks(4, 45, &[r(1)], text);
        conclude(&mut cluster, text);
        // Whether it is asked for the one page of leaves is chance.
        let dropped = dropped(&cluster);
        assert!(
            dropped == BTreeSet::from([r(1)]) || text.ends_with("leaves") && dropped.is_empty(),
            "{text}"
        );
    }
    let mut cluster = with_state_that_one_lacks(7, 45, &[r(0), r(2)], "corrupt-chunks:part=all");
    conclude(&mut cluster, "corrupt-chunks by two");
}

/// C3, C4: what nobody vouched for is not chased, and a source without a snapshot is done without.
#[test]
fn row_46_false_targets_are_not_chased() {
    for target in ["ahead", "behind", "stale", "forged"] {
        let text = format!("false-target:target={target}");
        let mut cluster = with_state_that_one_lacks(4, 46, &[r(1)], &text);
        assert!(conclude(&mut cluster, &text) < SECOND * 2, "{text}");
        let started = cluster.reports().iter().filter_map(|(_, at, report)| match report {
            Report::TransferStarted { sequence } if *at != r(1) => Some(*sequence),
            _ => None,
        });
        let highest = cluster.standing(r(0)).expect("it runs").stable;
        let started: Vec<_> = started.collect();
        assert!(started.len() <= 3 && started.iter().all(|it| *it <= highest), "{text}: {started:?}");
    }
}

/// C3: what a slow source owes is asked of another.
#[test]
fn row_47_a_dripping_source_is_outrun() {
    let honest = {
        let mut cluster = with_state_that_one_lacks(4, 47, &[], "honest");
        conclude(&mut cluster, "honest")
    };
    for text in ["drip", "drip:delay=300ms"] {
        let mut cluster = with_state_that_one_lacks(4, 47, &[r(1)], text);
        let taken = conclude(&mut cluster, text);
        assert!(taken < honest + SECOND, "{text}: {taken:?} instead of {honest:?}");
    }
}
