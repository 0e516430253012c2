//! Each mistake is one line that names the thing, an exit code that fits, and nothing half-done.

use std::fs;

use pbft_testnet::{ClusterStatus, Roots};

use super::support::{Net, PATIENCE, TURN, run, text};

#[test]
fn what_makes_no_testnet_is_refused() {
    let net = Net::new();
    assert!(net.fails("up -n 3", 3).contains("at least 4"));
    assert!(net.fails("up -n 101", 3).contains("100"));
    assert!(!net.dir().exists(), "nothing half-done");
    for command in ["status", "kill r0", "restart r0", "evidence", "events", "logs r0", "down"] {
        assert!(net.fails(command, 3).contains("no testnet in"), "{command}");
    }
    fs::create_dir(net.dir()).unwrap();
    fs::write(net.dir().join("precious"), "").unwrap();
    assert!(net.fails("up", 3).contains("not empty"));
    assert_eq!(fs::read_dir(net.dir()).unwrap().count(), 1);
}

#[test]
fn a_damaged_cluster_file_is_named() {
    let net = Net::new();
    fs::create_dir(net.dir()).unwrap();
    fs::write(net.dir().join("cluster.toml"), "name = \"x\"\ncolour = \"red\"\n").unwrap();
    let complaint = net.fails("status", 3);
    assert!(complaint.contains("cluster.toml") && complaint.contains("colour"), "{complaint}");
}

#[test]
fn bad_words_are_refused_and_help_helps() {
    for words in [vec!["dance"], vec!["kill", "first", "--dir", "x"], vec!["up", "-n", "many", "--dir", "x"]]
    {
        let output = run(&words);
        assert_eq!(output.status.code(), Some(3), "{words:?}");
        assert!(text(&output.stderr).starts_with("error:"), "{words:?}");
    }
    let help = run(["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("Examples:"));
    let completions = run(["completions", "bash"]);
    assert!(text(&completions.stdout).contains("pbft-testnet"));
}

#[test]
fn the_main_job_announces_nothing_that_cannot_be() {
    let output = run(["-n", "3"]);
    assert_eq!((output.status.code(), text(&output.stderr).lines().count()), (Some(3), 1));
    assert!(text(&output.stderr).contains("at least 4"));
}

#[tokio::test]
async fn votes_kept_in_memory_do_not_outlive_a_process() {
    let _turn = TURN.lock().await;
    let net = Net::new();
    let (code, _, warning) = net.run("up --durability memory");
    assert_eq!((code, warning.contains("by recovery only")), (0, true), "{warning}");
    net.ok("kill r1");
    let refused = net.fails("restart r2", 3);
    assert!(refused.contains("2 have forgotten their votes, and more than f = 1"), "{refused}");
    net.ok("restart r1");
    let back = |status: &ClusterStatus| status.working == 4;
    net.open().status_when(PATIENCE, Roots::Spared, back).await.unwrap().expect("r1 votes again");
    assert!(!net.run("kill r2").2.contains("warning"));
    let (_, _, warning) = net.run("kill r3");
    assert!(warning.contains("warning: 2 have forgotten their votes"), "{warning}");
    net.ok("down");
    assert!(net.fails("up", 3).contains("another folder"));
}
