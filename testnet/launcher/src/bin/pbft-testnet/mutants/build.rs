//! Builds tests and generators with mutants in them, in a target folder of their own: nothing else is ever built so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tokio::process::Command;

use super::generators::{GENERATORS, Generator, Program};
use super::table::Binary;

/// Joins the flags that the project's own cargo configuration sets; a `RUSTFLAGS` variable would replace them.
const FLAGS: &str = r#"target."cfg(all())".rustflags = ["--cfg", "pbft_mutants"]"#;

/// A built program.
#[derive(Clone)]
pub(super) struct Executable {
    pub(super) path: PathBuf,
    /// Where it runs: its package's folder.
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

/// Builds these binaries of tests.
pub(super) async fn build(
    binaries: &BTreeSet<Binary>,
    quiet: bool,
) -> anyhow::Result<BTreeMap<Binary, Executable>> {
    let mut arguments = vec!["test", "--no-run"];
    for package in binaries.iter().map(|binary| binary.package).collect::<BTreeSet<_>>() {
        arguments.extend(["--package", package]);
    }
    let (unit, others): (Vec<&Binary>, Vec<_>) = binaries.iter().partition(|binary| binary.is_unit_tests());
    arguments.extend(unit.first().map(|_| "--lib"));
    arguments.extend(others.iter().flat_map(|binary| ["--test", binary.target]));
    let artifacts = cargo(&arguments, quiet).await?;
    let executable = |binary: &Binary| Ok((*binary, find(&artifacts, binary.target)?));
    binaries.iter().map(executable).collect()
}

/// Builds what runs the generators, as far as it is no test that is built; gives the programs in their order.
pub(super) async fn build_generators(
    tests: &BTreeMap<Binary, Executable>,
    quiet: bool,
) -> anyhow::Result<Vec<(Generator, Executable)>> {
    // With overflow checks, and yet fast: scenarios are counted by the thousand.
    let mut arguments = vec!["build", "--config", "profile.dev.opt-level=3"];
    for generator in GENERATORS {
        if let Program::Example { package, name, .. } = generator.program {
            arguments.extend(["--package", package, "--example", name]);
        }
    }
    let artifacts = cargo(&arguments, quiet).await?;
    let program = |generator: Generator| {
        let executable = match generator.program {
            Program::Example { name, .. } => find(&artifacts, name)?,
            Program::Test { binary, .. } => tests[&binary].clone(),
        };
        Ok((generator, executable))
    };
    GENERATORS.into_iter().map(program).collect()
}

fn find(artifacts: &[Artifact], target: &str) -> anyhow::Result<Executable> {
    let built = artifacts.iter().find(|it| it.target.name == target);
    let built = built.with_context(|| format!("cargo built no {target}"))?;
    let folder = built.manifest_path.parent().context("a manifest lies in a folder")?;
    Ok(Executable { path: built.executable.clone(), folder: folder.to_owned() })
}

/// Runs cargo with mutants in everything; gives what it has built that can be run.
async fn cargo(arguments: &[&str], quiet: bool) -> anyhow::Result<Vec<Artifact>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(workspace.join("target"), PathBuf::from);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).args(["--locked", "--message-format=json-render-diagnostics"]);
    cargo.args(["--config", FLAGS]).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.arg("--target-dir").arg(target.join("mutants")).current_dir(&workspace);
    if quiet {
        cargo.arg("--quiet");
    }
    // What cargo says to people goes to them as it comes.
    cargo.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let output = cargo.spawn().context("running cargo")?.wait_with_output().await.context("running cargo")?;
    if !output.status.success() {
        bail!("what runs the mutants does not build");
    }
    // Lines about what is no executable do not have these fields.
    let lines = output.stdout.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}
