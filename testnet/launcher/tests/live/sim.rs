//! `sim`: what it prints, and what it ends with.

use std::fs;

use serde_json::Value;

use super::support::{run, text};

#[test]
fn a_seed_is_the_same_run_each_time() {
    let play = || run(["sim", "--seed", "7", "--write-out", "json"]);
    let (first, second) = (play(), play());
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    assert_eq!(text(&first.stdout), text(&second.stdout));
    let told: Value = serde_json::from_str(&text(&first.stdout)).unwrap();
    assert_eq!(told["violation"], Value::Null);
    assert_eq!(told["contradictions"]["false_accusations"], 0);
    assert!(told["requests"].as_u64() > Some(0));
}

#[test]
fn many_seeds_are_summed_up() {
    let output = run(["sim", "--seed", "1", "--seeds", "3", "--quiet", "--write-out", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!((&told["seeds"], &told["violations"]), (&3.into(), &Value::Array(vec![])));
    assert!(told["contradictions"]["reached"].is_u64() && told["contradictions"]["proven"].is_u64());
}

#[test]
fn a_scenario_that_cannot_be_played_is_refused_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    fs::write(&file, "seed = 1\ncolour = 2\n").unwrap();
    let output = run(["sim".as_ref(), file.as_os_str()]);
    let complaint = text(&output.stderr);
    assert_eq!((output.status.code(), complaint.lines().count()), (Some(3), 1), "{complaint}");
    assert!(complaint.contains("bad.toml: line 2: unknown field `colour`"), "{complaint}");
}

/// With more liars than are tolerated something breaks, and it is told what, why, and how to see it again.
#[test]
fn beyond_f_it_is_told_what_breaks_and_why() {
    let output = run(["sim", "--beyond-f", "--seed", "0", "--seeds", "60", "--write-out", "json"]);
    assert_eq!(output.status.code(), Some(99), "{}", text(&output.stderr));
    let told: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    let first = &told["violations"][0];
    let again = format!("pbft-testnet sim --seed {} --trace --beyond-f", first["seed"]);
    assert_eq!(first["replay"], again);
    assert!(text(&output.stderr).contains(&again));
    assert!(first["reason"].as_str().unwrap().contains("tolerates f = "), "{first}");

    // For people it is a result as well, though nothing is told on the way.
    let (seed, step) = (first["seed"].to_string(), format!("at step {},", first["step"]));
    let quiet = ["--seeds", "1", "--quiet", "--write-out"];
    for format in ["simple", "table"] {
        let arguments = [&["sim", "--beyond-f", "--seed", &seed][..], &quiet, &[format]].concat();
        let output = run(arguments);
        let told = text(&output.stdout);
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(99), ""));
        assert!(told.contains(&again) && told.contains(&step), "{told}");
    }
}

/// What a rule generates is told as what a seed draws: which case broke, where, and how to see it again.
#[test]
fn what_twins_break_is_a_result() {
    let output = run(["twins", "--twins", "2", "--rounds", "1", "--quiet", "--write-out", "simple"]);
    let told = text(&output.stdout);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(99), ""), "{told}");
    let again = "again: pbft-testnet twins --n 4 --twins 2 --rounds 1 --scenario ";
    assert!(told.contains(again) && told.contains("in the schedule of "), "{told}");
}
