//! Faults set on running replicas, which end by themselves, and strategies on trial.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use pbft_messages::ReplicaId;
use pbft_testnet::{ClusterStatus, Roots};

use super::support::{Net, PATIENCE, TURN, leaves_nothing, program, store, text};

fn all_agree(status: &ClusterStatus) -> bool {
    status.faults_in_use == 0 && status.common_root().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_is_divided_and_spoiled_and_heals_by_itself() {
    let _turn = TURN.lock().await;
    let net = Net::new();
    net.ok("up -n 4");
    let (testnet, r3) = (net.open(), ReplicaId(3));
    let client = store(&testnet, Duration::from_secs(20)).await;
    let until = |holds: fn(&ClusterStatus) -> bool| testnet.status_when(PATIENCE, Roots::Asked, holds);

    // A minority is cut off: it executes nothing, and counts; the majority needs nobody else.
    let refused = net.fails("partition r0,r1|r2,r3", 3);
    assert!(refused.contains("cannot make correct replicas disagree"), "{refused}");
    net.ok("partition r3");
    client.put("while/divided", "1").await.unwrap();
    let divided = until(|status| status.replicas[0].last_executed > status.replicas[3].last_executed).await;
    let divided = divided.unwrap().expect("r3 hears nothing of it");
    assert_eq!((divided.faulty(), divided.faults_in_use), ("r3 cut off".to_owned(), 1));
    let told = net.ok("status");
    assert!(
        told.contains("1 of f = 1 used (r3 cut off)") && told.contains("nothing gets to r0 r1 r2"),
        "{told}"
    );
    assert!(net.fails("fault set r2 silent", 3).contains("allow_exceed_f"));
    net.ok("heal");
    until(all_agree).await.unwrap().expect("r3 catches up");

    // What has an end comes to it without anybody's help, and late and lossy lines carry what must be carried.
    net.ok("partition r3 --for 1s");
    net.ok("fault set r0 network --latency 20ms --jitter 10ms --loss 10% --for 60s");
    until(|status| status.replicas[3].network.is_empty()).await.unwrap().expect("the partition ends");
    client.put("over/bad/lines", "2").await.unwrap();
    let lines = net.ok("status -w simple");
    assert!(lines.contains("latency 20ms jitter 10ms loss 10% with r1 r2 r3 for"), "{lines}");
    until(all_agree).await.unwrap().expect("bad lines are no fault");
    net.ok("fault clear r0");
    assert!(testnet.status(Roots::Spared).await.unwrap().replicas[0].network.is_empty());
    net.ok("fault set r3 silent --for 500ms");
    until(all_agree).await.unwrap().expect("it behaves again");
    assert_eq!(testnet.status(Roots::Spared).await.unwrap().of(r3).unwrap().strategy, None);

    // What makes no sense is told before anything is done.
    assert!(net.fails("fault set r1 network", 3).contains("--latency 50ms"));
    assert!(net.fails("fault set r1 silent --loss 5%", 3).contains("belong to network"));
    assert!(net.fails("partition r7", 3).contains("r0 to r3"));
    assert!(net.fails("attack polite", 3).contains("there are split-requests"));
    let attacked = net.ok("attack split-requests --for 1s");
    assert!(!attacked.starts_with("0 messages sent"), "{attacked}");
    until(all_agree).await.unwrap().expect("malicious clients harm nobody");
}

#[test]
fn a_strategy_on_trial_is_named_by_its_evidence() {
    let _turn = TURN.blocking_lock();
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command.env("TMPDIR", temporary.path()).args(["-q", "trials", "equivocate", "-w", "json"]);
    let done = command.output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&report["name"], &report["verdict"]), (&"equivocate".into(), &"pass".into()));
    assert_eq!(report["evidence"][0]["accused"], "r0");
    leaves_nothing(temporary.path());
}
