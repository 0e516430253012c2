//! `mutants`: shows that the generators and the tests can fail. Each fault is put back, one at a time; a generator must
//! find a scenario that breaks a guarantee, and the fault's own test must notice it.

mod build;
mod generators;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::process::Command;

use pbft_simulator::scenario::Time;

use crate::main_job::VERDICT_FAILED;
use crate::output::{self, note, result};
use build::Executable;
use generators::{Generator, Hunt};
use table::{Binary, MUTANTS, Mutant, Test};

/// How long a test may take; one that hangs has noticed as well.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) const HELP: &str = "\
Each mutant is a fault that others shipped, or a rule that is broken, at one line of the code. The generators are tried \
in this order until one finds a scenario that breaks a guarantee: swarm (see `sim`), byzzfuzz, twins, and last inputs, \
which are the fuzzers' targets on random bytes, for what no scenario of a whole cluster reaches. What was found is \
played ten times again. Without a mutant none may find anything. Then the fault's own test runs, with it and without.

Examples:
  pbft-testnet mutants                       all of them; takes long
  pbft-testnet mutants --for 60s             with a minute for each generator
  pbft-testnet mutants --tests-only          only the faults' own tests
  pbft-testnet mutants first-proof weak-key  these two

Exit codes: 0 all were found, 99 one was not";

/// Which mutants, and how.
#[derive(Debug, Args)]
pub(crate) struct MutantsArguments {
    /// Only these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// How long each generator may look at each mutant
    #[arg(long = "for", value_name = "TIME", default_value = "20s", env = "PBFT_MUTANTS_FOR")]
    limit: Time,
    /// Run the faults' own tests, and no generator
    #[arg(long, conflicts_with = "limit")]
    tests_only: bool,
}

/// How a mutant was found by a generator.
struct Found {
    by: &'static str,
    /// What, if anything.
    what: Option<String>,
    scenarios: u64,
    replays: bool,
}

pub(crate) async fn run(arguments: &MutantsArguments, quiet: bool) -> anyhow::Result<u8> {
    let MutantsArguments { names, limit, tests_only } = arguments;
    if let Some(unknown) = names.iter().find(|name| MUTANTS.iter().all(|it| it.name != **name)) {
        bail!("there is no mutant {unknown}");
    }
    let chosen: Vec<_> =
        MUTANTS.iter().filter(|it| names.is_empty() || names.iter().any(|name| name == it.name)).collect();
    let begun = Instant::now();
    let binaries: BTreeSet<Binary> = chosen.iter().map(|it| it.test.binary).collect();
    let executables = build::build(&binaries, quiet).await?;
    let generators = if *tests_only { Vec::new() } else { build::build_generators(quiet).await? };
    let built = begun.elapsed();
    let told = |text: &str| {
        if !quiet {
            note(text);
        }
    };

    let mut bad = Vec::new();
    for (generator, program) in &generators {
        let hunt = generator.hunt(program, None, limit.0).await?;
        if let Some(what) = &hunt.found {
            bad.push(format!("{} finds {what} without a mutant", generator.name));
        }
        told(&format!("without a mutant {} finds nothing in {} scenarios", generator.name, hunt.scenarios));
    }
    let mut sound: BTreeMap<Test, bool> = BTreeMap::new();
    let headings =
        ["Fault or rule", "Mutant", "What it breaks", "Found by", "After", "Again", "Test", "Fails"];
    let mut table = output::table(headings);
    let mut by_generator: BTreeMap<&str, usize> = BTreeMap::new();
    for mutant in &chosen {
        let Mutant { name, against, test, breaks } = mutant;
        let executable = &executables[&test.binary];
        let without = match sound.get(test) {
            Some(passed) => *passed,
            None => *sound.entry(*test).or_insert(passes(executable, test, None).await?),
        };
        let noticed = without && !passes(executable, test, Some(name)).await?;
        let found = find(&generators, name, limit.0).await?;
        *by_generator.entry(found.by).or_default() += 1;
        if !noticed || found.what.is_some() && !found.replays {
            bad.push((*name).to_owned());
        }
        told(&format!(
            "{name}: {}; its test {}",
            found.told(),
            if noticed { "fails" } else { "DOES NOT FAIL" }
        ));
        let place = format!("{} {}", test.binary.target, test.path);
        let what = found.what.as_ref().map_or(String::new(), |what| format!("{} {what}", found.by));
        let cells = [
            (*against).to_owned(),
            (*name).to_owned(),
            (*breaks).to_owned(),
            if found.what.is_some() { what } else { found.by.to_owned() },
            found.scenarios.to_string(),
            if found.replays { "ten times alike" } else { "" }.to_owned(),
            place,
            if noticed { "yes" } else { "NO" }.to_owned(),
        ];
        table.add_row(cells);
    }
    let (count, ran) = (chosen.len(), begun.elapsed() - built);
    let shares: Vec<String> = by_generator.iter().map(|(by, count)| format!("{count} {by}")).collect();
    let verdict = match bad[..] {
        [] => format!("PASS: each of {count} mutants is noticed ({})", shares.join(", ")),
        _ => format!("FAIL: {} ({})", bad.join(", "), shares.join(", ")),
    };
    result(&format!("{table}\n{verdict}\nbuilt in {} s, run in {} s", built.as_secs(), ran.as_secs()))?;
    Ok(if bad.is_empty() { 0 } else { VERDICT_FAILED })
}

/// Tries one generator after the other.
async fn find(generators: &[(Generator, PathBuf)], mutant: &str, limit: Duration) -> anyhow::Result<Found> {
    let mut scenarios = 0;
    for (generator, program) in generators {
        let hunt: Hunt = generator.hunt(program, Some(mutant), limit).await?;
        scenarios += hunt.scenarios;
        if hunt.found.is_some() {
            let Hunt { scenarios, found, replays } = hunt;
            return Ok(Found { by: generator.name, what: found, scenarios, replays });
        }
    }
    Ok(Found { by: "only its test", what: None, scenarios, replays: false })
}

impl Found {
    fn told(&self) -> String {
        let Self { by, what, scenarios, .. } = self;
        match what {
            Some(what) => format!("{by} finds it after {scenarios} scenarios ({what})"),
            None => format!("no generator finds it in {scenarios} scenarios"),
        }
    }
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
