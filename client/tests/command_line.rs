//! The binary against a stand-in for a cluster: what it prints, and its exit codes.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene should panic")]

mod cluster;

use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cluster::{Cluster, Manner, client_key};
use pbft_crypto::SecretKey;

const CORRECT: [Manner; 4] = [Manner::Correct; 4];

/// A folder with a cluster file and a key, and the cluster, served by threads of a runtime.
struct Bench {
    cluster: Cluster,
    folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

struct Ran {
    code: i32,
    stdout: Vec<u8>,
    stderr: String,
}

impl Bench {
    fn new(manners: &[Manner]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let cluster = {
            let _within = runtime.enter();
            Cluster::start(manners)
        };
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cluster.toml"), cluster.file()).unwrap();
        pbft_crypto::key_file::create(&folder.path().join("client.key"), &client_key()).unwrap();
        Self { cluster, folder, _runtime: runtime }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pbft-client"));
        command.env("PBFT_CLUSTER", self.path("cluster.toml")).current_dir(self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, b"")
    }

    fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Ran {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that does not read its input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed and print this.
    fn prints(&self, arguments: &[&str], expected: &str) {
        let ran = self.run(arguments);
        let printed = String::from_utf8_lossy(&ran.stdout);
        assert_eq!((ran.code, &*printed, &*ran.stderr), (0, expected, ""), "{arguments:?}");
    }

    /// Runs a command that must fail with this code and say this, in one line.
    fn fails(&self, arguments: &[&str], code: i32, message: &str) {
        let ran = self.run(arguments);
        assert!(ran.stderr.contains(message), "{arguments:?}: {}", ran.stderr);
        assert_eq!((ran.code, ran.stderr.lines().count()), (code, 1), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn keys() {
    let bench = Bench::new(&CORRECT);
    bench.prints(&["get", "a"], "");
    bench.prints(&["put", "a/1", "one"], "OK\n");
    bench.prints(&["put", "a/2", "-two"], "OK\n");
    bench.prints(&["get", "a/2"], "-two\n");
    bench.prints(&["range", "a/"], "a/1\tone\na/2\t-two\n");
    assert_eq!(bench.cluster.reads(), 0, "reads are ordered unless it is asked otherwise");
    bench.prints(&["get", "a/2", "--read-path", "unordered"], "-two\n");
    assert!(bench.cluster.reads() >= 3, "a quorum was asked");
    bench.prints(&["range", "a/", "--read-path", "unordered"], "a/1\tone\na/2\t-two\n");
    bench.prints(&["range", "--limit", "1"], "a/1\tone\n");
    bench.prints(&["range", "--keys-only", "a"], "a/1\na/2\n");
    bench.prints(&["range", "--revision", "2"], "a/1\tone\n");
    bench.prints(&["del", "a/1"], "1\n");
    bench.prints(&["del", "a/1"], "0\n");
    bench.prints(&["get", "a/1", "--revision", "3"], "one\n");
    bench.prints(&["del", "--prefix", ""], "1\n");
    assert_eq!(bench.run_with(&["put", "stdin"], b"1\n2\0").code, 0);
    assert_eq!(bench.run(&["get", "stdin"]).stdout, b"1\n2\0\n");
    bench.fails(&["get", "a", "--revision", "99"], 1, "revision 99 is in the future");
}

#[test]
fn formats() {
    let bench = Bench::new(&CORRECT);
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_slice(&bench.run(&[arguments, &["-w", "json"]].concat()).stdout).unwrap()
    };
    assert_eq!(json(&["put", "a", "1"])["revision"], 2);
    let entry = &json(&["get", "a"])["entries"][0];
    assert_eq!((&entry["key"], &entry["value"], &entry["version"]), (&"a".into(), &"1".into(), &1.into()));
    assert_eq!(json(&["range", ""])["more"], false);
    assert_eq!(json(&["del", "a"])["deleted"], 1);
    let table = bench.run(&["put", "a", "1", "-w", "table"]);
    assert!(String::from_utf8(table.stdout).unwrap().contains("revision"));
    let help = String::from_utf8(bench.run(&["--help"]).stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("Exit codes:"));
    assert!(!bench.run(&["completions", "bash"]).stdout.is_empty());
}

#[test]
fn transactions() {
    let bench = Bench::new(&CORRECT);
    let lock = ["txn", "--if", "create(\"lock\") = 0", "--then", "put lock me", "--else", "get lock"];
    bench.prints(&lock, "SUCCESS\n\nOK\n");
    bench.prints(&lock, "FAILURE\n\nlock\tme\n");
    let ran = bench.run_with(&["txn"], b"value(lock) = me\n\ndel lock\nput a \"x y\"\n");
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "SUCCESS\n\n1\n\nOK\n");
    bench.fails(&["txn", "--if", "size(a) > 1"], 3, "no such target: size");
    bench.fails(&["txn", "--then", "put a 1", "--then", "put a 2"], 3, "twice");
}

#[test]
fn import_and_export() {
    let bench = Bench::new(&CORRECT);
    let mut lines: Vec<String> = (0..3000).map(|index| format!("key{index:04}\tvalue\t{index}\r")).collect();
    lines.insert(1000, "key2999\toverwritten".to_owned());
    fs::write(bench.path("in.tsv"), lines.join("\n")).unwrap();
    let ran = bench.run(&["import", "in.tsv", "-w", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&report["lines"], &report["keys"]), (&3001.into(), &3000.into()));
    lines.remove(1000);
    let expected = lines.join("\n") + "\n";
    assert!(bench.run(&["export"]).stdout == expected.as_bytes());
    bench.prints(&["export", "--output", "out.tsv"], "");
    assert!(fs::read(bench.path("out.tsv")).unwrap() == expected.as_bytes());
    // What is no text goes through as well.
    let bytes = b"\xff\xfe\t\x00\x01\xff\n";
    assert_eq!(bench.run(&["del", "--prefix", ""]).code, 0);
    assert_eq!(bench.run_with(&["import", "-"], bytes).code, 0);
    assert_eq!(bench.run(&["export"]).stdout, bytes);
    let ran = bench.run_with(&["import", "-"], b"");
    assert!(ran.code == 0 && String::from_utf8(ran.stdout).unwrap().contains("imported 0 lines"));
    bench.prints(&["put", "broken", "1\n2"], "OK\n");
    bench.fails(&["export"], 1, "the value of key \"broken\" has a newline");
    bench.fails(&["export", "--output", "out.tsv"], 1, "\"broken\"");
    assert!(fs::read(bench.path("out.tsv")).unwrap() == expected.as_bytes(), "the old file is still whole");
}

#[test]
fn a_bad_line_is_named_before_anything_is_written() {
    let bench = Bench::new(&CORRECT);
    fs::write(bench.path("in.tsv"), "a\t1\nb 2\n").unwrap();
    bench.fails(&["import", "in.tsv"], 3, "in.tsv, line 2: there is no tab");
    bench.fails(&["import", "absent.tsv"], 3, "absent.tsv");
    bench.prints(&["range"], "");
}

#[test]
fn an_import_without_answers_says_what_is_known() {
    let bench = Bench::new(&[Manner::OpensOnly; 4]);
    fs::write(bench.path("in.tsv"), "a\t1\nb\t2\n").unwrap();
    bench.fails(
        &["import", "in.tsv", "--timeout", "500ms"],
        4,
        "0 of 2 lines of in.tsv acknowledged, the outcome of the others is unknown",
    );
}

#[test]
fn bad_input() {
    let bench = Bench::new(&CORRECT);
    bench.fails(&["put", "", "1"], 3, "a key must not be empty");
    bench.fails(&["get", "a", "--cluster", "absent.toml"], 3, "absent.toml");
    bench.fails(&["get", "a", "--key", "absent.key"], 3, "absent.key");
    assert_eq!(bench.run(&["get", "a", "--timeout", "5 bananas"]).code, 3);
    assert_eq!(bench.run(&["frobnicate"]).code, 3);
    assert_eq!(bench.run(&["put"]).code, 3);
    let invalid = std::ffi::OsStr::from_bytes(b"\xff");
    assert!(bench.command().arg("get").arg(invalid).output().unwrap().status.success(), "keys are bytes");
}

#[test]
fn unknown_outcomes_and_lacking_connections() {
    let bench = Bench::new(&[Manner::OpensOnly; 4]);
    bench.fails(
        &["put", "a", "1", "--timeout", "500ms"],
        4,
        "outcome unknown after 500ms: the request may or may not take effect; 4 of 4 replicas reachable, 2 matching \
         replies needed",
    );
    let bench = Bench::new(&[Manner::Silent; 4]);
    let unanswered = "outcome unknown after 500ms: the opening of a session is unanswered";
    bench.fails(&["put", "a", "1", "--timeout", "500ms"], 4, unanswered);
    let bench = Bench::new(&CORRECT);
    pbft_crypto::key_file::create(&bench.path("other.key"), &SecretKey::from_seed(&[99; 32])).unwrap();
    bench.fails(&["get", "a", "--key", "other.key"], 2, "[[client]]");
}

#[test]
fn status() {
    let bench = Bench::new(&CORRECT);
    let ran = bench.run(&["status"]);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert_eq!((ran.code, text.lines().count()), (0, 5), "{text}");
    assert!(
        text.contains("r3") && text.contains("reachable") && text.contains("view 0, primary r0"),
        "{text}"
    );
    let ran = bench.run(&["status", "-w", "json"]);
    let document: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(document["replicas"].as_array().unwrap().len(), 4);
    assert_eq!(document["service"]["answers"], true);
    let bench = Bench::new(&[Manner::Silent; 4]);
    let ran = bench.run(&["status", "--timeout", "500ms"]);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.code, 5, "{text}");
    assert!(text.contains("does not answer within 500ms: 4 of 4 replicas reachable, 3 must work"), "{text}");
}

#[test]
fn an_interrupt_ends_it_cleanly() {
    let bench = Bench::new(&[Manner::OpensOnly; 4]);
    fs::write(bench.path("in.tsv"), "a\t1\n").unwrap();
    for (arguments, message) in [
        (&["put", "a", "1"][..], "interrupted: the request may or may not take effect"),
        (&["import", "in.tsv"][..], "0 of 1 lines of in.tsv acknowledged"),
    ] {
        let before = bench.cluster.received(0).len();
        let child = bench.command().args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        // The request arrived, so the command is waiting for its answer.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !bench.cluster.received(0)[before..].contains(&1) {
            assert!(Instant::now() < deadline, "the request did not arrive");
            std::thread::yield_now();
        }
        let kill = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{stderr}");
        assert!(stderr.contains(message), "{stderr}");
    }
}
