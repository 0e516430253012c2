use std::time::Instant;

use pbft_node::Durability;

use crate::client::Client;
use crate::cluster::Cluster;

/// N5: unordered reads are answered by a real cluster, also with f of its replicas dead, and faster than what is ordered.
#[tokio::test(flavor = "multi_thread")]
async fn unordered_reads_are_answered_by_a_quorum() {
    const TIMES: u32 = 50;
    let mut cluster = Cluster::start(Durability::Sync).await;
    let mut client = Client::connect(&cluster.configuration, 1, &[0, 1, 2, 3]).await;
    client.execute("write").await;
    assert_eq!(client.read("read").await, "read");
    let started = Instant::now();
    for _ in 0..TIMES {
        client.read("read").await;
    }
    let unordered = started.elapsed() / TIMES;
    let started = Instant::now();
    for _ in 0..TIMES {
        client.execute("read").await;
    }
    let ordered = started.elapsed() / TIMES;
    println!("unordered {unordered:?}, ordered {ordered:?}");
    cluster.stop_replica(3).await;
    assert_eq!(client.read("read").await, "read");
    client.execute("write").await;
    assert_eq!(client.read("read again").await, "read again");
    cluster.stop().await;
}
