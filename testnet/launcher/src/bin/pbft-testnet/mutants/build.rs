//! Builds the tests with mutants in them, in a target folder of their own: nothing else is ever built so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tokio::process::Command;

use super::table::Binary;

/// Joins the flags that the project's own cargo configuration sets; a `RUSTFLAGS` variable would replace them.
const FLAGS: &str = r#"target."cfg(all())".rustflags = ["--cfg", "pbft_mutants"]"#;

/// A built binary of tests.
pub(super) struct Executable {
    pub(super) path: PathBuf,
    /// Where its tests run: its package's folder.
    pub(super) folder: PathBuf,
}

/// What cargo says of each thing that it has built, as far as it is of use.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    executable: PathBuf,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds these binaries.
pub(super) async fn build(
    binaries: &BTreeSet<Binary>,
    quiet: bool,
) -> anyhow::Result<BTreeMap<Binary, Executable>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(workspace.join("target"), PathBuf::from);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--no-run", "--locked", "--message-format=json-render-diagnostics"]);
    cargo.args(["--config", FLAGS]).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.arg("--target-dir").arg(target.join("mutants")).current_dir(&workspace);
    for package in binaries.iter().map(|binary| binary.package).collect::<BTreeSet<_>>() {
        cargo.args(["--package", package]);
    }
    let (unit, others): (Vec<&Binary>, Vec<_>) = binaries.iter().partition(|binary| binary.is_unit_tests());
    cargo.args(unit.first().map(|_| "--lib"));
    cargo.args(others.iter().flat_map(|binary| ["--test", binary.target]));
    if quiet {
        cargo.arg("--quiet");
    }
    // What cargo says to people goes to them as it comes.
    cargo.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let output = cargo.spawn().context("running cargo")?.wait_with_output().await.context("running cargo")?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    // Lines about what is no executable do not have these fields.
    let artifacts: Vec<Artifact> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let executable = |binary: &Binary| {
        let built = artifacts.iter().find(|it| it.target.name == binary.target);
        let Artifact { manifest_path, executable, .. } =
            built.with_context(|| format!("cargo built no tests of {}", binary.target))?;
        let folder = manifest_path.parent().context("a manifest lies in a folder")?;
        Ok((*binary, Executable { path: executable.clone(), folder: folder.to_owned() }))
    };
    binaries.iter().map(executable).collect()
}
