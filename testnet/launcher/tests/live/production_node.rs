//! The replica that people run in earnest, as a testnet's replicas.

use std::time::Duration;

use pbft_messages::ReplicaId;
use pbft_testnet::{Options, Program, Roots, Testnet, TestnetError};

use super::support::{Features, Net, PATIENCE, TURN, built, store};

#[tokio::test(flavor = "multi_thread")]
async fn production_replicas_serve_crash_recover_and_cannot_be_made_to_lie() {
    let _turn = TURN.lock().await;
    let net = Net::new();
    let node = built("pbft-node", Features::OfPackage);
    // Mutants read this variable; without them nothing of it is there.
    let (binary, variable) = (std::fs::read(&node).unwrap(), b"PBFT_MUTANT");
    assert!(!binary.windows(variable.len()).any(|window| window == variable));
    let program = Program { path: node, arguments: vec!["start".into()] };
    let mut testnet = Testnet::up(Options { program, ..Options::new(net.dir()).unwrap() }).await.unwrap();
    let client = store(&testnet, Duration::from_secs(20)).await;
    client.put("a", "1").await.unwrap();

    let refused = testnet.set_fault(ReplicaId(1), &"equivocate".into(), false).await.unwrap_err();
    assert!(matches!(&refused, TestnetError::Refused { why, .. } if why.contains("production")), "{refused}");

    testnet.kill(ReplicaId(0)).await.unwrap();
    client.put("b", "2").await.unwrap();
    testnet.restart(ReplicaId(0), false).await.unwrap();
    let agreed = testnet.status_when(PATIENCE, Roots::Asked, |status| {
        status.faults_in_use == 0 && status.common_root().is_some()
    });
    agreed.await.unwrap().expect("r0 catches up");
    assert_eq!(client.get("a").await.unwrap().answer.unwrap().value, "1");
    assert!(testnet.evidence().await.unwrap().evidence.is_empty());
    assert_eq!(testnet.down().await.unwrap(), 4);
}
