//! The command without a command.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::support::{PATIENCE, TURN, leaves_nothing, processes_of, program, text};

/// The job with little load, all of whose files are below `temporary`.
fn job(n: usize, temporary: &Path) -> Command {
    let mut command = Command::new(program());
    command.env("TMPDIR", temporary).env("PBFT_TESTNET_RECORDS", "100").args([
        "--sessions",
        "3",
        "--calm",
        "300",
        "--seed",
        "7",
    ]);
    command.args(["-n", &n.to_string()]);
    command
}

fn passes(n: usize) {
    let _turn = TURN.blocking_lock();
    let (temporary, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output_folder = output.path().join("new");
    let done = job(n, temporary.path()).arg("--output").arg(&output_folder).output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
    assert!(text(&done.stdout).contains("PASS"));
    let report: Value =
        serde_json::from_str(&fs::read_to_string(output_folder.join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["verdict"], &report["replicas"]), (&Value::from("pass"), &Value::from(n)));
    assert!(report["phases"]["crash"]["paused_seconds"].as_f64().unwrap() < 20.0);
    assert_eq!(report["evidence"][0]["accused"], report["phases"]["lie"]["replica"]);
    leaves_nothing(temporary.path());
}

#[test]
fn four_replicas_pass() {
    passes(4);
}

#[test]
fn seven_replicas_pass() {
    passes(7);
}

/// Starts the job, and waits until its load is under way.
fn under_way(temporary: &Path) -> Child {
    let mut child = job(4, temporary).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let found = lines.map_while(Result::ok).any(|line| line.contains("mixed traffic"));
    assert!(found, "the job ended early");
    assert!(processes_of(temporary).len() >= 4);
    child
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn interrupted_it_leaves_nothing_behind() {
    let _turn = TURN.blocking_lock();
    for which in [Signal::TERM, Signal::INT] {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = under_way(temporary.path());
        signal(&child, which);
        assert_eq!(child.wait().unwrap().code(), Some(5));
        leaves_nothing(temporary.path());
    }
}

#[test]
fn killed_it_takes_its_replicas_along() {
    let _turn = TURN.blocking_lock();
    let temporary = tempfile::tempdir().unwrap();
    let mut child = under_way(temporary.path());
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !processes_of(temporary.path()).is_empty() {
        assert!(Instant::now() < deadline, "replicas outlive their launcher");
        // Looking costs a scan of all processes.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_cluster_that_stands_still_fails_the_verdict_and_is_kept() {
    let _turn = TURN.blocking_lock();
    let (temporary, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = job(4, temporary.path());
    // More records than are loaded before the signals arrive.
    command.args(["--records", "1000000", "--patience", "2", "--output"]).arg(output.path());
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("loading")), "the job ended early");
    let is = |pid: &u32, name: &str| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        text(&line).contains(&format!("/{name}/replica.key"))
    };
    // Two of four: more than the cluster can serve with.
    for pid in processes_of(temporary.path()).into_iter().filter(|pid| is(pid, "r2") || is(pid, "r3")) {
        kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::STOP).unwrap();
    }
    let complaints: Vec<_> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(99), "{complaints:?}");
    let kept = complaints.iter().find(|line| line.contains("folders are kept in")).unwrap();
    assert!(Path::new(kept.split("kept in ").nth(1).unwrap()).join("r0/replica.log").exists());
    assert_eq!(processes_of(temporary.path()), [0; 0]);
    let report: Value =
        serde_json::from_str(&fs::read_to_string(output.path().join("report.json")).unwrap()).unwrap();
    let reasons = report["reasons"].to_string();
    assert!(reasons.contains("stood still") && reasons.contains("r2 gave no answer"), "{reasons}");
    assert!(reasons.contains("r0 was in view"), "{reasons}");
}
