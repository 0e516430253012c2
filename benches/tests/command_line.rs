//! The binary against a stand-in for a cluster: what it reports, and its exit codes.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene should panic")]

// The stand-in of the client's own tests: real transport and real service, no agreement.
#[path = "../../client/tests/cluster/mod.rs"]
mod cluster;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use cluster::{Cluster, Manner, client_key};

const CORRECT: [Manner; 4] = [Manner::Correct; 4];

/// A folder with a cluster file and a key, and the cluster, served by threads of a runtime.
struct Scene {
    cluster: Cluster,
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
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
        Self { cluster, folder, runtime }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pbft-bench"));
        command.arg("--cluster").arg(self.path("cluster.toml"));
        command.env("PBFT_WRITE_OUT", "json").env("PBFT_WARMUP", "0s");
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a load that must end with this code and say this, in one line.
    fn fails(&self, arguments: &[&str], code: i32, said: &str) {
        let ran = self.run(&[&["-q"], arguments].concat());
        let stderr = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(said) && stderr.lines().count() == 1, "{stderr}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn report(ran: &Output) -> Value {
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&ran.stderr)))
}

#[test]
fn a_number_of_requests_is_sent_and_read_back() {
    let scene = Scene::new(&CORRECT);
    let arguments =
        ["-c", "4", "-n", "200", "--read-ratio", "0.5", "--keys", "20", "--output", "out", "--seed", "7"];
    let ran = scene.run(&arguments);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let result = report(&ran);
    assert_eq!(result["all"]["completed"], 200);
    let verdict = &result["verdict"];
    assert_eq!(verdict["result"], "pass");
    assert_eq!(verdict["confirmed"], verdict["keys_written"]);
    assert!(verdict["answers_checked"].as_u64() > Some(200), "{verdict}");
    assert_eq!((&result["record"]["settings"]["seed"], &result["loop"]), (&7.into(), &"closed".into()));
    let kept: Value =
        serde_json::from_slice(&fs::read(scene.path("out").join("result.json")).unwrap()).unwrap();
    assert_eq!(kept, result);
    scene.fails(&arguments, 3, "holds a result already");
}

#[test]
fn both_ends_of_a_load_are_as_its_middle() {
    let scene = Scene::new(&CORRECT);
    let mut command =
        scene.command(&["-c", "4", "--pipeline", "8", "-z", "400ms", "--read-ratio", "0.5", "-q"]);
    let result = report(&command.args(["--warmup", "200ms"]).output().unwrap());
    assert_eq!(result["duration_s"], 0.4, "the answers to the last requests do not lengthen it");
    let count = |of: &str, what: &str| result[of][what].as_u64().unwrap();
    let answered = count("all", "answered");
    assert_eq!(answered, count("reads", "answered") + count("writes", "answered"));
    assert_eq!(result["throughput_per_s"].as_f64(), Some((answered as f64 / 0.4 * 1000.0).round() / 1000.0));
    let rows = result["timeline"]["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["completed"].as_u64().unwrap()).sum::<u64>(), answered);
    // What is under way at one end is under way at the other.
    assert!(answered.abs_diff(count("all", "completed")) <= 32, "{answered}");
}

#[test]
fn unordered_reads_go_to_every_replica_and_are_told_of() {
    let scene = Scene::new(&CORRECT);
    let arguments = ["-c", "2", "-n", "100", "--keys", "20", "--workload", "b", "--read-path", "unordered"];
    let ran = scene.run(&arguments);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let result = report(&ran);
    let reads = result["reads"]["completed"].as_u64().unwrap();
    let fell_back = result["reads_fell_back"].as_u64().unwrap();
    assert!(fell_back < reads && scene.cluster.reads() as u64 >= reads, "{fell_back} of {reads}");
    assert_eq!(
        (&result["verdict"]["result"], &result["record"]["settings"]["read_path"]),
        (&"pass".into(), &"unordered".into())
    );
    let printed = text(&scene.run(&[&arguments[..], &["-w", "simple"]].concat()).stdout);
    assert!(printed.contains("% reads (unordered)"), "{printed}");
}

#[test]
fn bundles_and_pipelines_are_counted_request_by_request() {
    let scene = Scene::new(&CORRECT);
    // The last bundle is not full, and the window holds six of them.
    let arguments = ["-c", "3", "-n", "500", "--bundle", "9", "--pipeline", "6", "--keys", "20"];
    let ran = scene.run(&[&arguments[..], &["--read-ratio", "0.3"]].concat());
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let result = report(&ran);
    let settings = &result["record"]["settings"];
    assert_eq!((&settings["bundle"], &settings["pipeline"]), (&9.into(), &6.into()));
    assert_eq!((&result["all"]["completed"], &result["verdict"]["result"]), (&500.into(), &"pass".into()));
    let rows = result["timeline"]["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["completed"].as_u64().unwrap()).sum::<u64>(), 500);
    assert!(result["load_cpu_us"].as_f64() > Some(0.0));
    scene.fails(&["--bundle", "9", "--pipeline", "8"], 3, "64, the window of a session");
}

#[test]
fn an_open_loop_keeps_its_rate_and_tells_when_the_cluster_does_not() {
    let scene = Scene::new(&CORRECT);
    let ran =
        scene.run(&["-c", "4", "--rate", "400", "--arrivals", "constant", "-n", "200", "--bundle", "2"]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let result = report(&ran);
    assert_eq!((&result["loop"], &result["all"]["completed"]), (&"open".into(), &200.into()));
    assert_eq!(
        (&result["punctuality"]["arrivals"], &result["punctuality"]["shed"]),
        (&200.into(), &0.into())
    );
    // Half a second for 200 of them, but for the first.
    assert!(result["duration_s"].as_f64() > Some(0.48), "{}", result["duration_s"]);

    let arguments = ["-c", "1", "--pipeline", "1", "--rate", "1000000", "-z", "300ms"];
    let overrun = report(&scene.run(&arguments));
    let shed = overrun["punctuality"]["shed"].as_u64().unwrap();
    let completed = overrun["all"]["completed"].as_u64().unwrap();
    assert!(shed > 200_000 && completed + shed < 400_000, "{shed} shed, {completed} answered");
    let median = overrun["all"]["latency_us"]["p50"].as_u64().unwrap();
    assert!(median > 50_000, "{median} µs: waiting for a turn is part of the latency");
    let printed = text(&scene.run(&[&arguments[..], &["-w", "simple"]].concat()).stdout);
    assert!(printed.contains("did not keep up"), "{printed}");
}

#[test]
fn each_workload_of_ycsb_passes() {
    for letter in ["a", "b", "c", "d", "e", "f"] {
        let scene = Scene::new(&CORRECT);
        let ran =
            scene.run(&["--workload", letter, "-c", "4", "-n", "300", "--keys", "50", "--pipeline", "4"]);
        assert_eq!(ran.status.code(), Some(0), "{letter}: {}", text(&ran.stderr));
        let result = report(&ran);
        assert_eq!(result["all"]["completed"], 300, "{letter}");
        assert!(
            result["verdict"]["keys_written"].as_u64() >= Some(50),
            "{letter}: all keys were written before"
        );
        // An insert may be read before it is acknowledged, which is rare.
        assert!(result["reads_not_found"].as_u64() < Some(5), "{letter}");
    }
}

#[test]
fn a_duration_is_kept_and_the_text_says_what_was_measured() {
    let scene = Scene::new(&CORRECT);
    let ran = scene.run(&["-c", "2", "-z", "300ms", "--read-back", "5", "-w", "simple"]);
    let printed = text(&ran.stdout);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    for said in ["closed loop: ", "2 connections", "writes", "p99.9", "verdict: pass; 5 of "] {
        assert!(printed.contains(said), "{printed}");
    }
    let lines = text(&ran.stderr);
    assert!(lines.contains("opening sessions\nloading\n"), "{lines}");
}

#[test]
fn an_interrupted_load_is_reported() {
    let scene = Scene::new(&CORRECT);
    let mut command = scene.command(&["-c", "2", "-z", "1h"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    assert!(lines.any(|line| line == "loading"));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    // Read to the end, so that the child does not wait for room in the pipe.
    let last = lines.last().unwrap();
    let ran = child.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(5), "{last}");
    let result = report(&ran);
    assert_eq!((&result["interrupted"], &result["verdict"]["result"]), (&true.into(), &"pass".into()));
}

#[test]
fn a_cluster_that_is_gone_or_silent_is_told_apart() {
    let scene = Scene::new(&[Manner::OpensOnly; 4]);
    scene.fails(&["-c", "2", "--timeout", "500ms"], 4, "outcome unknown");
    for replica in 0..4 {
        scene.runtime.block_on(scene.cluster.stop(replica));
    }
    scene.fails(&["-c", "2", "--timeout", "500ms"], 2, "0 of 4 replicas reachable");
}

#[test]
fn bad_input_is_named_before_anything_is_sent() {
    let scene = Scene::new(&CORRECT);
    scene.fails(&["--payload", "5"], 3, "--payload must be from 24");
    scene.fails(&["-c", "1000"], 3, "--connections must be from 1 to 128");
    scene.fails(&["--key", "missing.key"], 3, "--key or PBFT_KEY");
    scene.fails(&["--identities", "2"], 3, "spare-client-0.key");
    scene.fails(&["--rate", "0"], 3, "--rate must be from");
    scene.fails(&["--read-path", "unordered", "--bundle", "2"], 3, "--bundle 1 only");
    fs::write(scene.path("file"), "").unwrap();
    scene.fails(&["--output", "file"], 3, "cannot write file");
    let both = scene.run(&["-n", "5", "-z", "5s"]);
    assert_eq!(both.status.code(), Some(3), "{}", text(&both.stderr));
    // The environment yields to what is typed.
    let typed = scene.command(&["-n", "5"]).env("PBFT_DURATION", "1h").output().unwrap();
    assert_eq!(report(&typed)["all"]["completed"], 5);
    assert_eq!(scene.cluster.connections(), 0);
}

#[test]
fn completions_are_printed() {
    let ran = Command::new(env!("CARGO_BIN_EXE_pbft-bench")).args(["completions", "bash"]).output().unwrap();
    assert!(ran.status.success() && text(&ran.stdout).contains("--read-ratio"));
}
