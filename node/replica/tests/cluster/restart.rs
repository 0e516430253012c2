use pbft_node::{Durability, RunError, StoreError};
use pbft_protocol::Report;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::cluster::{Cluster, PATIENCE};

/// A replica that was stopped in good order catches up and abstains from nothing; its snapshot is what it starts from.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_replica_catches_up() {
    let mut cluster = Cluster::start(Durability::Sync).await;
    let mut client = Client::connect(&cluster.configuration, 1, &[0, 1, 2, 3]).await;
    for number in 0..20 {
        client.execute(&format!("before {number}")).await;
    }
    cluster.event(3, |event| matches!(event.report, Report::Stable { .. })).await;
    cluster.stop_replica(3).await;
    let mut last = None;
    for number in 0..30 {
        last = Some(client.execute(&format!("meanwhile {number}")).await.0);
    }
    cluster.start_replica(3).await;
    let started = cluster.event(3, |event| matches!(event.report, Report::Started { .. })).await;
    let Report::Started { stable, abstains_through, .. } = started.report else { unreachable!() };
    assert!(stable.0 >= 8 && abstains_through.is_none(), "{started:?}");
    // It gets there by the others' certificates or by their state, whichever they still have.
    let caught_up = async {
        loop {
            let status = cluster.status(3).await;
            if Some(status.last_executed) == last {
                break status.state_root;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let root = timeout(PATIENCE, caught_up).await.expect("it catches up");
    assert_eq!(root, cluster.status(0).await.state_root);
    cluster.stop().await;
}

/// C3: a replica that comes when the others have forgotten the log fetches the state; and its next run starts from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_replica_fetches_the_state_and_starts_from_it_again() {
    let mut cluster = Cluster::new(Durability::Sync);
    for replica in 0..3 {
        cluster.start_replica(replica).await;
    }
    let mut client = Client::connect(&cluster.configuration, 1, &[0, 1, 2]).await;
    for number in 0..40 {
        client.execute(&format!("before {number}")).await;
    }
    cluster.start_replica(3).await;
    let gathering = cluster.event(3, |event| matches!(event.report, Report::Gathering { .. })).await;
    let Report::Gathering { chunks, missing, .. } = gathering.report else { unreachable!() };
    assert!(chunks == missing && chunks >= 3, "{gathering:?}");
    let fetched = cluster.event(3, |event| matches!(event.report, Report::Transferred { .. })).await;
    let Report::Transferred { sequence } = fetched.report else { unreachable!() };
    cluster.stop_replica(3).await;
    cluster.start_replica(3).await;
    let started = cluster.event(3, |event| matches!(event.report, Report::Started { .. })).await;
    let Report::Started { last_executed, .. } = started.report else { unreachable!() };
    assert!(last_executed >= sequence, "{started:?}");
    cluster.stop().await;
}

/// D8: what ran in memory mode has forgotten its votes.
#[tokio::test(flavor = "multi_thread")]
async fn memory_mode_is_not_started_again() {
    let mut cluster = Cluster::new(Durability::Memory);
    cluster.start_replica(0).await;
    cluster.stop_replica(0).await;
    for durability in [Durability::Memory, Durability::Sync] {
        cluster.durability = durability;
        let error = cluster.launch(0, CancellationToken::new()).await.unwrap().unwrap_err();
        assert!(matches!(error, RunError::Store(StoreError::Forgotten { .. })), "{error}");
    }
}

/// A second process on the same data, and a port that is taken, are refused by name; neither disturbs the first.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_is_refused() {
    let mut cluster = Cluster::new(Durability::Sync);
    cluster.start_replica(0).await;
    let error = cluster.launch(0, CancellationToken::new()).await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::Store(StoreError::InUse { .. })), "{error}");

    let taken = cluster.configuration.member(pbft_messages::ReplicaId(1)).unwrap().client_address;
    let holder = std::net::UdpSocket::bind(taken).unwrap();
    let error = cluster.launch(1, CancellationToken::new()).await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::Bind { whom: "clients", .. }), "{error}");
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    drop(holder);
    // Nothing is left of the attempt: the same replica starts now.
    cluster.start_replica(1).await;
    cluster.status(0).await;
    cluster.stop().await;
}
