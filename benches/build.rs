//! Tells the program which source revision it is built from, and whether files differed from it.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::path::Path;
use std::process::Command;

/// What goes into the program: when one of these changes, "differs from the revision" may have become true or false.
const SOURCES: [&str; 7] =
    ["../Cargo.lock", "../Cargo.toml", "../benches", "../client", "../crypto", "../node", "../testnet"];

fn main() {
    // Written at each commit and checkout; absent where the sources are no git checkout.
    for path in SOURCES.iter().chain(&["../.git/logs/HEAD"]).filter(|path| Path::new(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
    // Others may work in the same checkout: looking must not lock its index.
    let mut git = Command::new("git");
    git.args(["--no-optional-locks", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty"]);
    let described = git.output().ok().filter(|output| output.status.success());
    if let Some(revision) = described.and_then(|output| String::from_utf8(output.stdout).ok()) {
        println!("cargo::rustc-env=PBFT_BUILD_REVISION={}", revision.trim());
    }
}
