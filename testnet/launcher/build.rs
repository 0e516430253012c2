//! Tells the program which source revision it is built from, for its reports.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::path::Path;
use std::process::Command;

fn main() {
    // Written at each commit and checkout; absent where the sources are no git checkout.
    let log = Path::new("../../.git/logs/HEAD");
    println!("cargo::rerun-if-changed=build.rs");
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    let asked = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let revision = asked.ok().filter(|output| output.status.success());
    let revision = revision.and_then(|output| String::from_utf8(output.stdout).ok());
    println!("cargo::rustc-env=PBFT_REVISION={}", revision.as_deref().map_or("unknown", str::trim));
}
