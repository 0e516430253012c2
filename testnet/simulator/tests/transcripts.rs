//! Golden transcripts: the protocol's stories, line by line. After a change that means to alter them, run
//! `INSTA_UPDATE=always cargo test -p pbft-simulator --test transcripts` and review the difference.

use std::time::Duration;

use pbft_byzantine::strategy;
use pbft_messages::{Parameters, ReplicaId};
use pbft_simulator::{Cluster, Settings};

const SECOND: Duration = Duration::from_secs(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

/// Four replicas on a network where everything takes one millisecond, with the session open.
fn cluster(change: impl FnOnce(&mut Parameters)) -> Cluster {
    let mut settings = Settings::new(4, 0);
    change(&mut settings.parameters);
    let mut cluster = Cluster::new(settings);
    cluster.load(1, 1);
    assert!(cluster.settle(SECOND));
    cluster.clear_transcript();
    cluster
}

#[track_caller]
fn finish(cluster: &mut Cluster) -> String {
    assert!(cluster.settle(SECOND * 10), "{}", cluster.transcript());
    cluster.run_for(Duration::from_millis(20));
    assert_eq!(cluster.violations(), []);
    cluster.transcript()
}

#[test]
fn normal_case() {
    let mut cluster = cluster(|_| {});
    cluster.load(1, 1);
    insta::assert_snapshot!(finish(&mut cluster));
}

/// With nothing in flight a request goes at once; what comes while the pipeline is full shares the next batch.
#[test]
fn batching() {
    let mut cluster = cluster(|parameters| parameters.pipeline = 1);
    cluster.load(6, 6);
    insta::assert_snapshot!(finish(&mut cluster));
}

/// After every K-th batch a snapshot is taken; a quorum of equal roots makes it stable.
#[test]
fn checkpoint() {
    let mut cluster = cluster(|parameters| parameters.checkpoint_interval = 3);
    cluster.load(1, 1);
    insta::assert_snapshot!(finish(&mut cluster));
}

/// The primary dies when its batch is prepared somewhere: the new view carries it over.
#[test]
fn view_change_carries_a_prepared_batch_over() {
    let mut cluster = cluster(|_| {});
    cluster.load(1, 1);
    let prepared = |cluster: &Cluster| cluster.transcript().contains("COMMIT");
    assert!(cluster.run_until(SECOND, prepared));
    // Nobody hears a COMMIT in time: the primary dies, and the backups' links are down until they have left the view.
    let all: Vec<_> = (0..4).map(r).collect();
    for replica in &all {
        let others: Vec<_> = all.iter().copied().filter(|other| other != replica).collect();
        cluster.partition(&[*replica], &others);
    }
    cluster.crash(r(0));
    let left = |cluster: &Cluster| cluster.transcript().matches("asks for view 1").count() == 3;
    assert!(cluster.run_until(SECOND * 5, left));
    cluster.heal();
    insta::assert_snapshot!(finish(&mut cluster));
}

/// Only the later of two batches was prepared when the primary died: the gap is filled with a null batch.
#[test]
fn view_change_fills_a_gap_with_null() {
    let mut cluster = cluster(|_| {});
    // The first of two proposals reaches nobody.
    cluster.partition(&[r(0)], &[r(1), r(2), r(3)]);
    cluster.load(2, 2);
    assert!(cluster.run_until(SECOND, |cluster| cluster.transcript().matches("PRE-PREPARE").count() == 1));
    cluster.heal();
    let prepared = |cluster: &Cluster| cluster.transcript().contains("COMMIT");
    assert!(cluster.run_until(SECOND, prepared), "{}", cluster.transcript());
    cluster.crash(r(0));
    insta::assert_snapshot!(finish(&mut cluster));
}

/// A backup that was killed abstains from what it may have voted on before; the others do without it.
#[test]
fn restart_with_abstention() {
    let mut cluster = cluster(|_| {});
    cluster.crash(r(3));
    cluster.run_for(Duration::from_millis(5));
    cluster.start(r(3));
    cluster.load(1, 1);
    insta::assert_snapshot!(finish(&mut cluster));
}

/// A primary that was killed proposes nothing more in its view, and says so at once.
#[test]
fn restart_of_the_primary() {
    let mut cluster = cluster(|_| {});
    cluster.crash(r(0));
    cluster.run_for(Duration::from_millis(5));
    cluster.start(r(0));
    cluster.load(1, 1);
    insta::assert_snapshot!(finish(&mut cluster));
}

/// A primary that proposes two batches at one place is seen by both halves.
#[test]
fn equivocation() {
    let mut cluster = cluster(|_| {});
    let identity = cluster.identity(r(0));
    cluster.corrupt(r(0), strategy("equivocate", &identity).unwrap());
    cluster.load(1, 1);
    insta::assert_snapshot!(finish(&mut cluster));
}

/// A replica from behind the window fetches a stable checkpoint, chunk by chunk.
#[test]
fn state_transfer() {
    let mut cluster = cluster(|parameters| {
        parameters.checkpoint_interval = 2;
        parameters.window = 4;
    });
    cluster.crash(r(3));
    cluster.load(8, 1);
    assert!(cluster.run_until(SECOND * 5, |cluster| cluster.answered() == 9));
    cluster.run_for(Duration::from_millis(50));
    cluster.clear_transcript();
    cluster.start(r(3));
    insta::assert_snapshot!(finish(&mut cluster));
}
