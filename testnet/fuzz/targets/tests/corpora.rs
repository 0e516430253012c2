//! Runs every target on its seeds, and on what the fuzzers found.
#![allow(clippy::unwrap_used)] // A test's panic is its failure.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use pbft_fuzz_targets::{TARGETS, Target, seeds};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The inputs of a target: its seeds, and what was found.
fn inputs(target: &Target) -> Vec<PathBuf> {
    let folders = ["seeds", "found"].map(|kind| fuzz().join(kind).join(target.name));
    let mut paths: Vec<PathBuf> = folders
        .iter()
        .filter_map(|it| fs::read_dir(it).ok())
        .flatten()
        .map(|it| it.unwrap().path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_target_holds_on_its_inputs() {
    for target in TARGETS {
        let paths = inputs(target);
        assert!(!paths.is_empty(), "{} has no seeds", target.name);
        for path in paths {
            let input = fs::read(&path).unwrap();
            assert!(
                catch_unwind(|| (target.run)(&input)).is_ok(),
                "{} fails on {}",
                target.name,
                path.display()
            );
        }
    }
}

/// A change of a message or of the encoding makes seeds worthless without anybody noticing.
#[test]
fn the_seeds_are_those_that_the_generator_makes() {
    let made: BTreeSet<(PathBuf, Vec<u8>)> = seeds()
        .into_iter()
        .map(|seed| (fuzz().join("seeds").join(seed.target).join(seed.name), seed.content))
        .collect();
    let kept: BTreeSet<(PathBuf, Vec<u8>)> = TARGETS
        .iter()
        .flat_map(inputs)
        .filter(|path| path.components().any(|part| part.as_os_str() == "seeds"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    let differ: Vec<_> = made.symmetric_difference(&kept).map(|(path, _)| path).collect();
    assert!(differ.is_empty(), "run `cargo run -p pbft-fuzz-targets --example seeds`: {differ:?}");
}

#[test]
fn every_target_has_its_binary() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for Target { name, .. } in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "testnet/fuzz/Cargo.toml lacks {name}");
        let source = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("\"{name}\"")), "fuzz_targets/{name}.rs runs another target");
    }
}
