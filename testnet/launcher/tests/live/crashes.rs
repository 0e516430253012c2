//! More crashes at a time than a cluster can serve through, and what must survive them all the same.

use std::time::Duration;

use pbft_client::{ClientError, ClientSettings, KvError};
use pbft_messages::ReplicaId;
use pbft_testnet::Roots;
use pbft_testnet::check::{exactly_once, linearizable, lost_writes};
use pbft_testnet::traffic::{Plan, Traffic, scan};

use super::support::{PATIENCE, TURN, store, tethered};

#[tokio::test(flavor = "multi_thread")]
async fn with_two_of_four_dead_outcomes_are_unknown_and_one_back_is_enough() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let mut testnet = tethered(folder.path(), 4).await;
    let client = store(&testnet, Duration::from_secs(3)).await;
    client.put("before", "1").await.unwrap();
    testnet.kill(ReplicaId(2)).await.unwrap();
    testnet.kill(ReplicaId(3)).await.unwrap();
    let error = client.put("between", "2").await.unwrap_err();
    assert!(matches!(error, KvError::Client(ClientError::OutcomeUnknown { .. })), "{error}");

    testnet.restart(ReplicaId(2), false).await.unwrap();
    let client = store(&testnet, PATIENCE).await;
    client.put("after", "3").await.unwrap();
    assert_eq!(client.get("before").await.unwrap().answer.unwrap().value, "1");
    testnet.down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_killed_under_load_nothing_acknowledged_is_lost() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let mut testnet = tethered(folder.path(), 4).await;
    let settings = ClientSettings { timeout: PATIENCE, ..ClientSettings::default() };
    let connector = testnet.connector(settings).unwrap();
    let plan = Plan { sessions: 3, records: 50, ..Plan::default() };
    let mut traffic = Traffic::new(&connector, plan).await.unwrap();
    traffic.load_records().await;
    traffic.start();
    let meter = traffic.meter().clone();
    assert!(meter.reached(meter.answered() + 300, PATIENCE).await, "{:?}", meter.failures());

    testnet.kill_everything().await.unwrap();
    for replica in testnet.configuration().replicas() {
        testnet.restart(replica, false).await.unwrap();
    }
    assert!(meter.reached(meter.answered() + 300, PATIENCE).await, "{:?}", meter.failures());

    let history = traffic.stop(PATIENCE).await;
    let end = scan(connector.open_session().await.unwrap()).await.unwrap();
    assert!(lost_writes(&history, &end).lost.is_empty());
    linearizable(&history, &end).unwrap();
    exactly_once(&history, &end).unwrap();
    let agreed =
        testnet.status_when(PATIENCE, Roots::Asked, |it| it.faults_in_use == 0 && it.common_root().is_some());
    agreed.await.unwrap().expect("all come to the same state");
    testnet.down().await.unwrap();
}
