use std::os::unix::fs::PermissionsExt as _;

use pbft_node::{ControlClient, ControlError, DataFolder, Durability, EventLine};
use pbft_protocol::Report;
use serde_json::json;

use crate::cluster::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn the_control_socket_answers() {
    let mut cluster = Cluster::new(Durability::Sync);
    // What a killed process leaves behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(cluster.data(0).control_socket()).unwrap());
    cluster.start_replica(0).await;
    let mode = std::fs::metadata(cluster.data(0).control_socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut control = cluster.control(0).await;
    let ready = control.ready().await.unwrap();
    let member = cluster.configuration.member(ready.replica).unwrap();
    assert_eq!((ready.peer_address, ready.client_address), (member.peer_address, member.client_address));

    let status = control.status(true).await.unwrap();
    assert!(status.is_primary && status.state_root.is_some() && status.faults.is_null());
    assert_eq!((status.replica, status.peers.len(), &status.durability[..]), (ready.replica, 3, "sync"));
    assert_eq!(control.status(false).await.unwrap().peers.len(), 3);

    assert!(control.evidence().await.unwrap().is_empty());
    let metrics = control.request(&json!({"command": "metrics"})).await.unwrap();
    let text = metrics["metrics"].as_str().unwrap();
    assert!(
        text.contains("pbft_peer_connected{peer=\"r3\"} 0") && text.contains("pbft_last_executed 0"),
        "{text}"
    );

    for (request, reason) in [
        (json!({"command": "fault", "set": "silence"}), "production replica"),
        (json!({"command": "dance"}), "dance"),
        (json!([]), "no command"),
    ] {
        match control.request(&request).await {
            Err(ControlError::Refused(why)) => assert!(why.contains(reason), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    cluster.stop().await;
    assert!(matches!(ControlClient::connect(&cluster.data(0)).await, Err(ControlError::NotRunning { .. })));
}

/// Followers get every event up to the end, and the file has them afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_followed_and_kept() {
    let mut cluster = Cluster::new(Durability::Sync);
    cluster.start_replica(0).await;
    let mut follower = cluster.control(0).await;
    follower.follow(0).await.unwrap();
    let first = follower.next_event().await.unwrap().unwrap();
    assert!(matches!(first.report, Report::Started { .. }) && first.count == 0);
    cluster.control(0).await.stop().await.unwrap();
    let mut followed = vec![first];
    while let Some(event) = follower.next_event().await.unwrap() {
        followed.push(event);
    }
    cluster.stop().await;
    let text = std::fs::read_to_string(cluster.data(0).events()).unwrap();
    let kept: Vec<EventLine> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(kept, followed);
}

/// Paths of sockets are bounded by the system, and folders of tests are long.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_data_folder_works() {
    let cluster = Cluster::new(Durability::Sync);
    let data = DataFolder::new(cluster.path().join("a".repeat(100)).join("b".repeat(100)));
    let identity = cluster.identity(2);
    pbft_node::init(&identity, &data).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let options = pbft_node::Options::new(identity, data.clone());
    let service = Box::new(pbft_service::NullService::default());
    let end = tokio::spawn(pbft_node::run(options, service, Box::new(pbft_node::Honest), stop.clone()));
    let mut control = loop {
        match ControlClient::connect(&data).await {
            Ok(control) => break control,
            // There is no event for a socket that is not there yet.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
    };
    assert!(control.ready().await.unwrap().ready);
    stop.cancel();
    end.await.unwrap().unwrap();
}
