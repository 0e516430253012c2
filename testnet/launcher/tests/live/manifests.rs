//! Trials that are written down, and damage to a disk.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::support::{TURN, leaves_nothing, processes_of, program, text};

const SMALL: &str = r#"
name = "small"
nodes = 4
duration = "2s"
preload = { keys = 500, value_bytes = 20 }
load = { sessions = 2, depth = 2, records = 20 }

[[step]]
at = "300ms"
action = "wipe-disk"
target = "r2"

[expect]
all_equal_within = "60s"
caught_up_within = "60s"
executed_past = { r2 = 10 }
"#;

/// Runs manifests that are made of these texts; all files are below `temporary`.
fn run(temporary: &Path, manifests: &[&str], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command.env("TMPDIR", temporary).arg("run").args(arguments);
    for (index, manifest) in manifests.iter().enumerate() {
        let path = folder.path().join(format!("{index}.toml"));
        fs::write(&path, manifest).unwrap();
        command.arg(path);
    }
    command.output().unwrap()
}

#[test]
fn what_holds_passes_and_leaves_nothing() {
    let _turn = TURN.blocking_lock();
    let temporary = tempfile::tempdir().unwrap();
    let done = run(temporary.path(), &[SMALL], &["-w", "json"]);
    assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((report["name"].as_str(), report["verdict"].as_str()), (Some("small"), Some("pass")));
    assert_eq!(report["steps"][0]["action"], "wipe-disk");
    assert!(report["steps"][0]["caught_up_seconds"][0][1].as_f64().is_some());
    leaves_nothing(temporary.path());
}

#[test]
fn an_expectation_that_fails_is_named_with_what_was_measured() {
    let _turn = TURN.blocking_lock();
    let temporary = tempfile::tempdir().unwrap();
    let (before, _) = SMALL.split_once("[[step]]").unwrap();
    let wanted = format!("{before}[expect]\nthroughput_at_least = 1000000.0\n");
    let done = run(temporary.path(), &[&wanted], &[]);
    assert_eq!(done.status.code(), Some(99), "{}{}", text(&done.stdout), text(&done.stderr));
    let told = text(&done.stdout);
    assert!(told.contains("FAIL small: the cluster was fast enough: "), "{told}");
    assert!(told.contains("operations/s, wanted at least 1000000"), "{told}");
    assert_eq!(processes_of(temporary.path()), [0; 0]);
    let complaint = text(&done.stderr);
    let kept = complaint.lines().find_map(|line| line.split("folders are kept in ").nth(1)).unwrap();
    assert!(Path::new(kept).join("r0/replica.log").exists());
}

#[test]
fn one_that_cannot_be_held_ends_no_other() {
    let temporary = tempfile::tempdir().unwrap();
    let manifests = ["one", "two"].map(|name| SMALL.replace("\"small\"", &format!("\"{name}\"")));
    // There is no folder for the replicas.
    let done = run(&temporary.path().join("nowhere"), &[&manifests[0], &manifests[1]], &["-w", "simple"]);
    let (told, complaints) = (text(&done.stdout), text(&done.stderr));
    assert_eq!(done.status.code(), Some(99), "{told}{complaints}");
    assert!(told.starts_with("FAIL one: a temporary folder: ") && told.contains("\nFAIL two: "), "{told}");
    assert!(complaints.ends_with("0 of 2 manifests passed; failed: one, two\n"), "{complaints}");
    let done = run(&temporary.path().join("nowhere"), &[SMALL], &["-w", "json"]);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&report["name"], &report["verdict"]), (&"small".into(), &"fail".into()));
}

#[test]
fn one_bad_manifest_keeps_all_from_starting() {
    let temporary = tempfile::tempdir().unwrap();
    let bad = SMALL.replace("target = \"r2\"", "target = \"r2\"\ncolour = \"red\"");
    let done = run(temporary.path(), &[SMALL, &bad, "nodes = 4"], &[]);
    assert_eq!((done.status.code(), text(&done.stdout)), (Some(3), String::new()));
    let complaints = text(&done.stderr);
    let [first, second] = complaints.lines().collect::<Vec<_>>()[..] else { panic!("{complaints}") };
    assert!(first.contains("1.toml, line 12: unknown field `colour`, expected one of `at`"), "{first}");
    assert!(second.contains("2.toml, line 1: missing field `name`"), "{second}");
    leaves_nothing(temporary.path());
}

#[test]
fn a_damaged_disk_is_refused_or_harmless() {
    let _turn = TURN.blocking_lock();
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command.env("TMPDIR", temporary.path()).args(["damage", "--tries", "12", "--seed", "4", "-w", "json"]);
    let done = command.output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["failures"].as_array().unwrap().len(), 0);
    // This seed strikes the file of a few bytes, none of which may change, and the pages of the others as well.
    let files = report["files"].as_object().unwrap();
    let total = |outcome: &str| files.values().map(|it| it[outcome].as_u64().unwrap()).sum::<u64>();
    assert!(files["store.position"]["refused"].as_u64() > Some(0), "{report}");
    assert!(total("harmless") > 0 && total("refused") + total("harmless") == 12, "{report}");
    leaves_nothing(temporary.path());
}
