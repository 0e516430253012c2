use pbft_node::Durability;

use crate::client::Client;
use crate::cluster::Cluster;

async fn replicas_agree(durability: Durability) {
    let mut cluster = Cluster::start(durability).await;
    let mut client = Client::connect(&cluster.configuration, 1, &[0, 1, 2, 3]).await;
    let mut last = pbft_messages::Sequence(0);
    for number in 0..30 {
        let operation = format!("operation {number}");
        let (sequence, result) = client.execute(&operation).await;
        assert!(sequence > last && result == operation.as_bytes());
        last = sequence;
    }
    let mut roots = Vec::new();
    for replica in 0..4 {
        cluster.event(replica, |event| matches!(event.report, pbft_protocol::Report::Executed { sequence, .. } if sequence == last)).await;
        cluster.event(replica, |event| matches!(event.report, pbft_protocol::Report::Stable { .. })).await;
        let status = cluster.status(replica).await;
        assert_eq!((status.last_executed, status.state_root_at), (last, Some(last)));
        roots.push(status.state_root.expect("computed in time"));
    }
    assert!(roots.iter().all(|root| *root == roots[0]), "{roots:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_agree_and_stop_in_good_order() {
    replicas_agree(Durability::Sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_agree_in_memory_mode() {
    replicas_agree(Durability::Memory).await;
}
