//! The binary's experiments, on testnets of real processes that it starts itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene should panic")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

const QUICK: [&str; 4] = ["--warmup", "100ms", "--read-back", "20"];

fn bench(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pbft-bench"));
    command.args(arguments).args(QUICK).current_dir(folder).env("TMPDIR", folder);
    command
}

/// What an experiment gives that must end well, with loads as short as that, on standard output.
fn quick(arguments: &[&str], folder: &Path) -> Value {
    let ran = bench(&[arguments, &["-w", "json", "-q"]].concat(), folder).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(left(folder), [""; 0]);
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// What is left in the folder that was made for temporary files.
fn left(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("pbft-bench-")).collect()
}

#[test]
fn a_sweep_starts_its_own_testnet_finds_a_peak_and_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["sweep", "-z", "300ms", "--most", "4", "--output", "out", "-w", "json", "-q"];
    let ran = bench(&arguments, folder.path()).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    let kept: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let sweep = &kept["result"];
    let points = sweep["points"].as_array().unwrap();
    assert!(points.len() >= 3 && points.iter().all(|point| point["verdict"] == "pass"), "{points:?}");
    let rates = points.iter().map(|point| point["throughput_per_s"].as_f64().unwrap());
    assert_eq!(sweep["peak"]["throughput_per_s"].as_f64(), rates.reduce(f64::max));
    assert!(sweep["ceiling"]["requests_per_s"].as_f64() > Some(100.0), "{sweep}");
    assert_eq!(kept["environment"]["durability"], "sync");

    let out = folder.path().join("out");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("latency against throughput"), "{page}");
    assert!(!page.contains("http:") && !page.contains("https:"), "it needs nothing else");
    let stored: Value = serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(stored, kept);
    for file in ["runs/sweep-1/result.json", "runs/sweep-1/latency.hlog", "runs/sweep-4/result.json"] {
        assert!(out.join(file).exists(), "{file}");
    }
    assert_eq!(left(folder.path()), [""; 0]);
    let again = bench(&arguments, folder.path()).output().unwrap();
    assert_eq!(again.status.code(), Some(3), "results are not overwritten");
}

#[test]
fn an_interrupted_experiment_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = bench(&["soak", "--for", "1h"], folder.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("starting 4 replicas")));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    // Read to the end, so that the child does not wait for room in the pipe. Replicas do not hold it open.
    let last = lines.last().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5), "{last}");
    assert!(last.starts_with("error: interrupted"), "{last}");
    assert_eq!(left(folder.path()), [""; 0]);
}

#[test]
fn the_unreplicated_service_keeps_its_word_too() {
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        ["compare", "unreplicated", "-z", "300ms", "--rounds", "2", "--outstanding", "4", "--bundle", "8"];
    let kept = quick(&[&arguments[..], &["--identities", "2", "--output", "out"]].concat(), folder.path());
    for turn in kept["result"]["turns"].as_array().unwrap() {
        for who in ["ours", "unreplicated"] {
            let (figures, verdict) = (&turn[who], &turn[who]["verdict"]);
            assert_eq!((verdict, &figures["load"]["bundle"]), (&"pass".into(), &8.into()), "{turn}");
            assert!(figures["throughput_per_s"].as_f64() > Some(10.0), "{turn}");
        }
    }
    let started = |run: &str| {
        let result = fs::read(folder.path().join("out/runs").join(run).join("result.json")).unwrap();
        let result: Value = serde_json::from_slice(&result).unwrap();
        assert_eq!(result["record"]["settings"]["identities"], 2);
        result["record"]["started_unix_ms"].as_u64().unwrap()
    };
    let order = ["turn-1", "turn-1-unreplicated", "turn-2-unreplicated", "turn-2"].map(started);
    assert!(order.is_sorted(), "each is first in turn: {order:?}");
    assert_eq!(kept["environment"]["identities"], 2);
    assert!(kept["environment"]["file_system"].is_string(), "{}", kept["environment"]);
    for spread in ["to_unreplicated", "p50_us", "p99_us"] {
        let Value::Object(spread) = &kept["result"][spread] else { panic!("{kept}") };
        assert!(spread["count"] == 2 && spread["min"].as_f64() > Some(0.0), "{spread:?}");
    }
}

#[test]
fn sizes_are_compared_in_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["scale", "-z", "300ms", "--sizes", "4,5", "--rounds", "2", "--outstanding", "8"];
    let kept = quick(&arguments, folder.path());
    let sizes = kept["result"]["sizes"].as_array().unwrap();
    assert_eq!(sizes.iter().map(|it| it["n"].as_u64().unwrap()).collect::<Vec<_>>(), [4, 5]);
    for size in sizes {
        let rounds = size["rounds"].as_array().unwrap();
        assert!(rounds.len() == 2 && rounds.iter().all(|it| it["verdict"] == "pass"), "{size}");
        assert!(size["ratio"]["count"] == 2 && size["ratio"]["min"].as_f64() > Some(0.0), "{size}");
    }
    assert!(sizes[1]["ceiling_ratio"].as_f64() < Some(1.0), "{kept}");
    assert_eq!(kept["result"]["stopped"], Value::Null);
}

#[test]
fn a_primary_attacks_while_it_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["attack-matrix", "-z", "300ms", "--primary-duration", "3s", "--strategy", "slow"];
    let kept = quick(&[&arguments[..], &["--outstanding", "8", "--output", "out"]].concat(), folder.path());
    let slow = &kept["result"]["attacks"][0];
    assert_eq!(slow["attack"]["who"], "primary");
    let round = &slow["rounds"][0];
    let run = fs::read(folder.path().join("out/runs/attack-00-slow-1/result.json")).unwrap();
    let run: Value = serde_json::from_slice(&run).unwrap();
    let (watched, all) = (round["watched_s"].as_f64(), run["duration_s"].as_f64());
    assert!(watched > Some(0.0) && watched < all, "it begins when the warm-up is over: {all:?}, {round}");
    let (calm, attacked) = (&round["calm"]["throughput_per_s"], &round["attacked"]["throughput_per_s"]);
    assert!(attacked.as_f64() < calm.as_f64(), "{round}");
}

#[test]
fn the_death_of_a_primary_is_a_pause() {
    let folder = tempfile::tempdir().unwrap();
    // Whether the pause is short enough is for a machine without other work to tell.
    let ran = bench(&["failover", "--times", "1", "-w", "json", "-q"], folder.path()).output().unwrap();
    let kept: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let failover = &kept["result"];
    let kill = &failover["kills"][0];
    assert!(kill["figures"]["verdict"] == "pass" && kill["figures"]["unknown"] == 0, "{kill}");
    let pause = failover["pause_ms"]["max"].as_f64();
    assert!(pause > Some(100.0) && failover["pause_ms"]["count"] == 1, "{failover}");
    let within = pause <= failover["view_timeout_ms"].as_f64().map(|timeout| timeout + 100.0);
    assert_eq!(ran.status.code(), Some(if within { 0 } else { 99 }), "{failover}");
    assert_eq!(left(folder.path()), [""; 0]);
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |arguments: &[&str], said: &str| {
        let ran = bench(arguments, folder.path()).env("PATH", "").output().unwrap();
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert_eq!((ran.status.code(), stderr.lines().count()), (Some(3), 1), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    };
    fails(&["compare", "etcd", "-q"], "etcd is not installed");
    fails(&["compare", "etcd", "--durability", "memory", "-q"], "leave it out");
    fails(&["soak", "--bundle", "64", "-q"], "--outstanding 128 does not fit");
    fails(&["scale", "--sizes", "4,7,4", "-q"], "names 4 twice");
    fails(&["attack-matrix", "--strategy", "nonsense", "-q"], "no strategy is called \"nonsense\"");
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    for refused in [
        &["failover", "-z", "5s"][..],
        &["soak", "--duration", "5s"],
        &["report", "-z", "5s"],
        &["scale", "--sizes", "4,7,3"],
        &["scale", "-c", "129"],
        &["attack-matrix", "--rounds", "0"],
    ] {
        let ran = bench(refused, folder.path()).output().unwrap();
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(3), "{refused:?}: {stderr}");
        assert!(!stderr.contains("starting"), "{stderr}");
    }
}
