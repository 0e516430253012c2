//! Faults set on running replicas, which end by themselves, and strategies on trial.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use pbft_messages::ReplicaId;
use pbft_testnet::{ClusterStatus, Roots};

use super::support::{Net, PATIENCE, TURN, leaves_nothing, program, run, store, text};

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
    // What is harmless is no matter to the budget, and a cleared replica is not for that in touch again.
    net.ok("fault set r2 network --latency 1ms");
    assert!(net.run("fault clear r3").2.contains("stays so until `heal`"));
    net.ok("heal");
    until(all_agree).await.unwrap().expect("r3 catches up");

    // Who is paused hears of no healing.
    net.ok("partition r3");
    net.ok("pause r3");
    let (_, _, told) = net.run("heal");
    assert!(told.contains("but for r3: what is paused keeps"), "{told}");
    net.ok("resume r3");
    net.ok("heal");
    until(all_agree).await.unwrap().expect("r3 catches up again");

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
    let timed = |_| {
        let set = Instant::now();
        net.ok("fault set r3 silent --for 500ms");
        set.elapsed()
    };
    // Status before and after included, and whatever else keeps the machine busy.
    let quickest = (0..5).map(timed).min();
    assert!(quickest < Some(Duration::from_secs(1)), "an order is in effect within a second");
    until(all_agree).await.unwrap().expect("it behaves again");
    assert_eq!(testnet.status(Roots::Spared).await.unwrap().of(r3).unwrap().strategy, None);

    // What makes no sense is told before anything is done.
    assert!(net.fails("fault set r1 network", 3).contains("--latency 50ms"));
    assert!(net.fails("fault set r1 silent --loss 5%", 3).contains("belong to network"));
    assert!(net.fails("partition r7", 3).contains("r0 to r3"));
    assert!(net.fails("partition r0,r1,r2,r3", 3).contains("parts nobody from anybody"));
    assert!(net.fails("partition r3 --for 0s", 3).contains("no time for a fault"));
    assert!(net.fails("fault set r1 network --loss 5% --peers r1", 3).contains("no line to itself"));
    assert!(net.fails("fault set r1 equivocate --for 0s", 3).contains("no time for a fault"));
    assert!(net.fails("fault set r1 slow --param delay=300", 3).contains("delay is a time such as"));
    assert!(net.fails("fault set r1 renumber", 3).contains("is a strategy of clients (attack)"));
    assert!(net.fails("attack polite", 3).contains("there are split-requests"));
    let attacked = net.ok("attack split-requests --for 1s");
    assert!(!attacked.starts_with("0 messages sent"), "{attacked}");
    until(all_agree).await.unwrap().expect("malicious clients harm nobody");

    // A copy of the folder commands nobody.
    let copy = net.dir().with_file_name("copy");
    std::fs::create_dir(&copy).unwrap();
    for file in ["cluster.toml", "testnet.json"] {
        std::fs::copy(net.dir().join(file), copy.join(file)).unwrap();
    }
    let refused = run(["down", "--dir", copy.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));

    // Who never heard of an order has not followed it.
    let control = net.dir().join("r3/control.sock");
    std::fs::rename(&control, control.with_extension("away")).unwrap();
    assert!(net.fails("fault set r3 equivocate", 2).contains("r3 does not answer"));
    std::fs::rename(control.with_extension("away"), &control).unwrap();
    until(all_agree).await.unwrap().expect("it counts for nothing");

    // A replica that was told to lie may have, even where it had no occasion to.
    let standing = testnet.status(Roots::Spared).await.unwrap().replicas;
    let backup = standing.iter().rfind(|it| it.is_primary == Some(false)).unwrap().replica;
    let (code, _, told) = net.run(&format!("fault set {backup} equivocate --for 500ms"));
    assert!(code == 0 && told.contains(&format!("takes effect when {backup} leads, and r")), "{told}");
    assert!(told.contains("counts as one of f from now on"), "{told}");
    let behaves = |status: &ClusterStatus| status.replicas.iter().all(|it| it.strategy.is_none());
    until(behaves).await.unwrap().expect("its time is over");
    let status = net.ok("status -w simple");
    assert!(
        status.contains(" may have lied\n") && status.contains("no further fault is allowed"),
        "{status}"
    );
    let log = std::fs::read_to_string(net.dir().join(format!("{backup}/replica.log"))).unwrap();
    assert!(log.contains("it follows equivocate, for 500ms") && log.contains("order has ended"), "{log}");

    // A partition holds where one end of each link runs.
    net.ok("kill r2");
    net.ok("kill r3");
    assert!(net.fails("partition r2|r3", 3).contains("nobody would cut the link from r2 to r3"));

    // Where nobody runs, nothing is said to be done.
    net.ok("down");
    for command in ["heal", "partition r3", "attack renumber --for 1s"] {
        assert!(net.fails(command, 2).contains("is running"), "{command}");
    }
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
    assert!(report["status"]["replicas"][0]["altered"].as_u64() > Some(0), "{report}");
    leaves_nothing(temporary.path());
}
