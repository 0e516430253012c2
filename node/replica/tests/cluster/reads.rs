use pbft_node::Durability;

use crate::client::Client;
use crate::cluster::Cluster;

/// N5: unordered reads are answered by a real cluster, also with f of its replicas dead.
#[tokio::test(flavor = "multi_thread")]
async fn unordered_reads_are_answered_by_a_quorum() {
    let mut cluster = Cluster::start(Durability::Sync).await;
    let mut client = Client::connect(&cluster.configuration, 1, &[0, 1, 2, 3]).await;
    client.execute("write").await;
    for _ in 0..50 {
        assert_eq!(client.read("read").await, "read");
    }
    cluster.stop_replica(3).await;
    assert_eq!(client.read("read").await, "read");
    client.execute("write").await;
    assert_eq!(client.read("read again").await, "read again");
    cluster.stop().await;
}
