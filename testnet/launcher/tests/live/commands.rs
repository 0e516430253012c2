//! A cluster's life, by the commands.

use std::time::Duration;

use serde_json::Value;

use pbft_messages::ReplicaId;
use pbft_testnet::{ClusterStatus, EvidenceReport, Roots};

use super::support::{Net, PATIENCE, TURN, processes_of, store};

fn status(net: &Net) -> ClusterStatus {
    let (code, text, _) = net.run("status -w json");
    // A replica that lags for a moment counts as one that does not work.
    assert!([0, 5].contains(&code), "{code}");
    serde_json::from_str(&text).unwrap()
}

fn all_agree(status: &ClusterStatus) -> bool {
    status.faults_in_use == 0 && status.common_root().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_four_from_up_to_down() {
    let _turn = TURN.lock().await;
    let net = Net::new();
    let banner = net.ok("up -n 4");
    assert!(banner.contains("pbft-client --cluster") && banner.contains("r3"), "{banner}");
    assert!(net.fails("up -n 4", 1).contains("already running"));

    let testnet = net.open();
    let client = store(&testnet, Duration::from_secs(20)).await;
    let first = status(&net);
    assert_eq!((first.replicas.len(), first.faults_tolerated, first.faults_in_use), (4, 1, 0));
    assert_eq!(first.primary(), Some(ReplicaId(0)));
    assert!(first.replicas.iter().all(|replica| replica.alive && replica.strategy.is_none()));
    assert!(net.ok("status -w table").contains("0 of f = 1 used"));

    // A paused replica is alive and says nothing; the cluster does not need it.
    net.ok("pause r3");
    let paused = status(&net);
    let r3 = paused.of(ReplicaId(3)).unwrap();
    assert_eq!((r3.alive, r3.view, paused.faults_in_use), (true, None, 1));
    assert!(net.fails("fault set r3 silent", 2).contains("paused"));
    assert!(net.fails("fault set r2 silent", 3).contains("--allow-exceed-f"));
    assert!(net.fails("wipe-disk r2", 3).contains("--allow-exceed-f"));
    assert!(status(&net).of(ReplicaId(2)).unwrap().alive, "refused before anything is done to it");
    assert!(net.ok("status -w table").contains("1 of f = 1 used (r3 no answer)"));
    client.put("while/paused", "1").await.unwrap();
    net.ok("resume r3");
    testnet.status_when(PATIENCE, Roots::Asked, all_agree).await.unwrap().expect("r3 catches up");

    // A dead primary is replaced, and comes back from its disk.
    net.ok("kill r0");
    assert!(!status(&net).of(ReplicaId(0)).unwrap().alive);
    assert!(net.fails("kill r0", 2).contains("r0 is not running"));
    client.put("while/r0/dead", "2").await.unwrap();
    net.ok("restart r0");
    let back = testnet.status_when(PATIENCE, Roots::Asked, all_agree).await.unwrap().expect("r0 catches up");
    assert!(back.view() > Some(0));

    // A silent backup costs nothing, and behaves again when told so.
    let backup = back.replicas.iter().find(|replica| replica.is_primary == Some(false)).unwrap().replica;
    net.ok(&format!("fault set {backup} silent"));
    assert_eq!(status(&net).of(backup).unwrap().strategy.as_deref(), Some("silent"));
    assert!(net.ok("fault list -w simple").contains(&format!("({backup} silent)")));
    client.put("while/silent", "3").await.unwrap();
    net.ok(&format!("fault clear {backup}"));
    testnet.status_when(PATIENCE, Roots::Asked, all_agree).await.unwrap().expect("the silent one catches up");

    // A primary that lies is deposed and named.
    let before = status(&net);
    let liar = before.primary().unwrap();
    net.ok(&format!("fault set {liar} equivocate"));
    client.put("while/lied/to", "4").await.unwrap();
    let deposed = |status: &ClusterStatus| status.view() > before.view() && status.common_root().is_some();
    testnet.status_when(PATIENCE, Roots::Asked, deposed).await.unwrap().expect("the liar is deposed");
    let report: EvidenceReport = serde_json::from_str(&net.ok("evidence -w json")).unwrap();
    assert!(!report.evidence.is_empty());
    assert!(report.accusations().all(|accusation| accusation.accused == liar), "{report:?}");
    net.ok(&format!("fault clear {liar}"));

    // Every replica's events are there, in the order of time.
    let events: Vec<Value> =
        net.ok("events").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for replica in ["r0", "r1", "r2", "r3"] {
        assert!(events.iter().any(|event| event["replica"] == replica && event["event"] == "view-entered"));
    }
    assert!(events.iter().any(|event| event["event"] == "evidence"));
    assert!(!net.ok("logs r1").is_empty());

    net.ok("down");
    assert!(status(&net).replicas.iter().all(|replica| !replica.alive));
    assert_eq!(processes_of(&net.dir()), [0; 0]);
    // The proof outlives the processes.
    let kept: EvidenceReport = serde_json::from_str(&net.ok("evidence -w json")).unwrap();
    assert!(report.accusations().all(|found| kept.accusations().any(|it| it == found)), "{kept:?}");

    // And so does the data.
    assert!(net.fails("up -n 7", 3).contains("4 replicas"));
    net.ok("up");
    let client = store(&net.open(), Duration::from_secs(20)).await;
    for (key, value) in
        [("while/paused", "1"), ("while/r0/dead", "2"), ("while/silent", "3"), ("while/lied/to", "4")]
    {
        assert_eq!(client.get(key).await.unwrap().answer.unwrap().value, value);
    }
}

/// A stopped testnet's ports belong to nobody; if somebody takes one, others are chosen.
#[tokio::test]
async fn ports_that_were_taken_meanwhile_are_replaced() {
    let _turn = TURN.lock().await;
    let net = Net::new();
    net.ok("up -n 4 --durability sync");
    let before = net.open().configuration().member(ReplicaId(2)).unwrap().clone();
    net.ok("down");
    let _taken = std::net::UdpSocket::bind(before.client_address).unwrap();
    net.ok("up");
    let after = net.open().configuration().member(ReplicaId(2)).unwrap().clone();
    assert_ne!(after.client_address, before.client_address);
    // A single replica's ports are known to the others: here it is an error that names the port.
    net.ok("kill r2");
    let _taken = std::net::UdpSocket::bind(after.peer_address).unwrap();
    let complaint = net.fails("restart r2", 3);
    assert!(
        complaint.contains(&after.peer_address.to_string()) && complaint.contains("in use"),
        "{complaint}"
    );
}
