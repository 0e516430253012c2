//! `mutants`: shows that the tests can fail. Each fault is put back, one at a time, and its test must notice.

mod build;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::main_job::VERDICT_FAILED;
use crate::output::{self, note, result};
use build::Executable;
use table::{Binary, MUTANTS, Mutant, Test};

/// How long a test may take; one that hangs has noticed as well.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs the mutants of these names, or all.
pub(crate) async fn run(names: &[String], quiet: bool) -> anyhow::Result<u8> {
    if let Some(unknown) = names.iter().find(|name| MUTANTS.iter().all(|it| it.name != **name)) {
        bail!("there is no mutant {unknown}");
    }
    let chosen: Vec<_> =
        MUTANTS.iter().filter(|it| names.is_empty() || names.iter().any(|name| name == it.name)).collect();
    let begun = Instant::now();
    let binaries: BTreeSet<Binary> = chosen.iter().map(|it| it.test.binary).collect();
    let executables = build::build(&binaries, quiet).await?;
    let built = begun.elapsed();

    let mut sound: BTreeMap<Test, bool> = BTreeMap::new();
    let mut table = output::table(["Fault or rule", "Mutant", "What it breaks", "Test", "Without", "With"]);
    let mut bad = Vec::new();
    for mutant in &chosen {
        let Mutant { name, against, test, breaks } = mutant;
        let executable = &executables[&test.binary];
        let without = match sound.get(test) {
            Some(passed) => *passed,
            None => *sound.entry(*test).or_insert(passes(executable, test, None).await?),
        };
        let with = passes(executable, test, Some(name)).await?;
        if !without || with {
            bad.push(*name);
        }
        if !quiet {
            note(&format!("{name}: {}", if without && !with { "noticed" } else { "NOT NOTICED" }));
        }
        let shown = |passed: bool| if passed { "passes" } else { "fails" };
        let place = format!("{} {}", test.binary.target, test.path);
        table.add_row([against, name, breaks, place.as_str(), shown(without), shown(with)]);
    }
    let (count, tests) = (chosen.len(), begun.elapsed() - built);
    let verdict = match bad[..] {
        [] => format!("PASS: each of {count} mutants fails its test, which passes without it"),
        _ => format!("FAIL: {} of {count}: {}", bad.len(), bad.join(", ")),
    };
    result(&format!("{table}\n{verdict}\nbuilt in {} s, run in {} s", built.as_secs(), tests.as_secs()))?;
    Ok(if bad.is_empty() { 0 } else { VERDICT_FAILED })
}

/// Whether a test passes, with a mutation or without.
async fn passes(executable: &Executable, test: &Test, mutant: Option<&str>) -> anyhow::Result<bool> {
    let mut command = Command::new(&executable.path);
    command.args([test.path, "--exact"]).current_dir(&executable.folder);
    command.env("PBFT_MUTANT", mutant.unwrap_or_default()).env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let Ok(output) = tokio::time::timeout(PATIENCE, command.output()).await else { return Ok(false) };
    let output = output.with_context(|| format!("running {}", executable.path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.contains("running 1 test\n") {
        bail!("{} has no test {}", test.binary.target, test.path);
    }
    Ok(output.status.success())
}
