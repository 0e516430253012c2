//! `mutants`: shows that the generators and the tests can fail. Each fault is put back, one at a time; a generator must
//! find a scenario that breaks a guarantee, and the fault's own test must notice it.

mod build;
mod generators;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use tokio::process::Command;

use pbft_testnet::Progress as _;
use pbft_testnet::units::{Time, lasting};

use crate::arguments::Format;
use crate::exit::VERDICT_FAILED;
use crate::output::{BadInput, json, result, table};
use crate::progress::Shown;
use build::Executable;
use generators::{GENERATORS, Generator, Hunt, Program};
use table::{Binary, MUTANTS, Mutant, Test};

/// How long a test may take; one that hangs has noticed as well.
const PATIENCE: Duration = Duration::from_secs(180);

/// Each generator has a short turn first, a part of its time: most mutants are found within seconds by one of them.
const SHORT_TURN: u32 = 8;

pub(crate) const HELP: &str = "\
Each mutant is a fault that others shipped, or a rule that is broken, at one line of the code. The generators are tried \
in this order until one finds a scenario that breaks a guarantee: swarm (see `sim`), byzzfuzz, twins; then inputs, which \
are the fuzzers' targets on random bytes and, when its time is over, on the inputs that are kept; and node, which draws \
what a real replica's disk and threads go through. Each has an eighth of its time first, and then, if none has found \
anything, all of it. What was found is played ten times again. Without a mutant none may find anything. Then the fault's \
own test runs, with it and without.

Examples:
  pbft-testnet mutants                       all of them; takes about a quarter of an hour
  pbft-testnet mutants --for 60s             with a minute for each generator
  pbft-testnet mutants --tests-only          only the faults' own tests
  pbft-testnet mutants first-proof weak-key  these two

Exit codes: 0 all were found, 3 bad input, 99 one was not";

/// Which mutants, and how.
#[derive(Debug, Args)]
pub(crate) struct MutantsArguments {
    /// Only these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    // As --tests-only excludes it, it has no environment variable: one counts as given.
    /// How long each generator may look at each mutant
    #[arg(long = "for", value_name = "TIME", default_value = "20s", value_parser = lasting)]
    limit: Time,
    /// Run the faults' own tests, and no generator
    #[arg(long, conflicts_with = "limit")]
    tests_only: bool,
    /// How to print
    #[arg(short, long = "write-out", value_enum, default_value_t, env = "PBFT_WRITE_OUT")]
    write: Format,
}

/// What all came to.
#[derive(Serialize)]
struct Outcome {
    /// What each generator came to without a mutant.
    without: Vec<Tried>,
    mutants: Vec<Judged>,
    build_seconds: f64,
    seconds: f64,
}

/// A generator on the code as it is.
#[derive(Serialize)]
struct Tried {
    generator: &'static str,
    scenarios: u64,
    /// What it found, which is an error of the code or of the generator.
    found: Option<String>,
}

/// What was noticed of a mutant.
#[derive(Serialize)]
struct Judged {
    name: &'static str,
    against: &'static str,
    breaks: &'static str,
    test: String,
    /// Whether its own test passes without it, and fails with it.
    test_fails: bool,
    /// What the generators came to, if any was asked.
    generated: Option<Generated>,
}

/// What the generators came to with a mutant.
#[derive(Serialize)]
struct Generated {
    /// The one that found something, if one did.
    by: Option<&'static str>,
    /// What it found.
    scenario: Option<String>,
    /// Whether that was kept from before, and not generated.
    kept: bool,
    /// How many scenarios that one tried, or all of them together if none found anything.
    scenarios: u64,
    /// Whether it failed in the same way ten times again.
    replays: bool,
    seconds: f64,
}

pub(crate) async fn run(arguments: &MutantsArguments, quiet: bool) -> anyhow::Result<u8> {
    let MutantsArguments { names, limit, tests_only, write } = arguments;
    if let Some(unknown) = names.iter().find(|name| MUTANTS.iter().all(|it| it.name != **name)) {
        let all: Vec<_> = MUTANTS.iter().map(|it| it.name).collect();
        return Err(BadInput(format!("there is no mutant {unknown}: there are {}", all.join(", "))).into());
    }
    let chosen: Vec<_> =
        MUTANTS.iter().filter(|it| names.is_empty() || names.iter().any(|name| name == it.name)).collect();
    let begun = Instant::now();
    let mut binaries: BTreeSet<Binary> = chosen.iter().map(|it| it.test.binary).collect();
    let run_by_tests = GENERATORS.iter().filter_map(|it| match it.program {
        Program::Test { binary, .. } => Some(binary),
        Program::Example { .. } => None,
    });
    binaries.extend(run_by_tests.filter(|_| !tests_only));
    let executables = build::build(&binaries, quiet).await?;
    let generators =
        if *tests_only { Vec::new() } else { build::build_generators(&executables, quiet).await? };
    let built = begun.elapsed();

    let progress = Shown::up_to(quiet, chosen.len() as u64);
    let mut without = Vec::new();
    for (generator, program) in &generators {
        progress.live(&format!("without a mutant: {}", generator.name));
        let Hunt { scenarios, found, .. } = generator.hunt(program, None, limit.0).await?;
        let tried = Tried { generator: generator.name, scenarios, found };
        progress.step(&tried.told());
        without.push(tried);
    }
    let mut sound: BTreeMap<Test, bool> = BTreeMap::new();
    let mut mutants = Vec::new();
    for (number, Mutant { name, against, test, breaks }) in (1..).zip(&chosen) {
        progress.live(name);
        let executable = &executables[&test.binary];
        let passed = match sound.get(test) {
            Some(passed) => *passed,
            None => *sound.entry(*test).or_insert(passes(executable, test, None).await?),
        };
        let test_fails = passed && !passes(executable, test, Some(name)).await?;
        let generated = if *tests_only { None } else { Some(find(&generators, name, limit.0).await?) };
        let test = format!("{} {}", test.binary.target, test.path);
        let judged = Judged { name, against, breaks, test, test_fails, generated };
        progress.step(&judged.told());
        progress.at(number);
        mutants.push(judged);
    }
    progress.finish();
    let seconds = (begun.elapsed() - built).as_secs_f64();
    let outcome = Outcome { without, mutants, build_seconds: built.as_secs_f64(), seconds };
    match write {
        Format::Json => json(&outcome)?,
        Format::Simple => result(&outcome.verdict())?,
        Format::Table => result(&format!("{}\n{}", outcome.table(), outcome.verdict()))?,
    }
    Ok(if outcome.unnoticed().is_empty() { 0 } else { VERDICT_FAILED })
}

/// Tries one generator after the other, each for a short turn and then for all of its time.
async fn find(
    generators: &[(Generator, Executable)],
    mutant: &str,
    limit: Duration,
) -> anyhow::Result<Generated> {
    let begun = Instant::now();
    let mut all = 0;
    for turn in [limit / SHORT_TURN, limit] {
        for (generator, program) in generators {
            let Hunt { scenarios, found, kept, replays } =
                generator.hunt(program, Some(mutant), turn).await?;
            all += scenarios;
            if found.is_some() {
                let (by, seconds) = (Some(generator.name), begun.elapsed().as_secs_f64());
                return Ok(Generated { by, scenario: found, kept, scenarios, replays, seconds });
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Generated { by: None, scenario: None, kept: false, scenarios: all, replays: false, seconds })
}

impl Generated {
    /// What found it, if anything did.
    fn finder(&self) -> Option<&'static str> {
        if self.kept { Some("a kept input") } else { self.by }
    }
}

impl Tried {
    fn told(&self) -> String {
        let Self { generator, scenarios, found } = self;
        match found {
            Some(found) => format!("without a mutant {generator} FINDS {found}"),
            None => format!("without a mutant {generator} finds nothing in {scenarios} scenarios"),
        }
    }
}

impl Judged {
    /// Whether a generator found it, in a way that can be played again, and its test fails; what was not asked for
    /// counts as done.
    fn is_noticed(&self) -> bool {
        self.test_fails && self.generated.as_ref().is_none_or(|it| it.by.is_some() && it.replays)
    }

    fn told(&self) -> String {
        let found = match &self.generated {
            Some(Generated { by: Some(by), scenario, scenarios, .. }) => {
                let scenario = scenario.as_deref().unwrap_or_default();
                format!("{by} finds it after {scenarios} scenarios ({scenario}); ")
            }
            Some(Generated { scenarios, .. }) => {
                format!("NO GENERATOR FINDS IT in {scenarios} scenarios; ")
            }
            None => String::new(),
        };
        let test = if self.test_fails { "fails" } else { "DOES NOT FAIL" };
        format!("{}: {found}its test {test}", self.name)
    }
}

impl Outcome {
    /// What went unnoticed, and what was found where there is nothing.
    fn unnoticed(&self) -> Vec<&str> {
        let generators = self.without.iter().filter(|it| it.found.is_some()).map(|it| it.generator);
        generators.chain(self.mutants.iter().filter(|it| !it.is_noticed()).map(|it| it.name)).collect()
    }

    fn table(&self) -> String {
        let mut shown = table([
            "Fault or rule",
            "Mutant",
            "What it breaks",
            "Found by",
            "Scenario",
            "After",
            "Again",
            "Time",
            "Test",
            "Fails",
        ]);
        for Judged { name, against, breaks, test, test_fails, generated } in &self.mutants {
            let found = generated.as_ref().map(|it| {
                [
                    it.finder().unwrap_or("NONE").to_owned(),
                    it.scenario.clone().unwrap_or_default(),
                    it.scenarios.to_string(),
                    if it.replays { "ten times alike" } else { "" }.to_owned(),
                    format!("{:.0} s", it.seconds),
                ]
            });
            let left = [*against, *name, *breaks].map(str::to_owned);
            let right = [test.clone(), if *test_fails { "yes" } else { "NO" }.to_owned()];
            shown.add_row(left.into_iter().chain(found.unwrap_or_default()).chain(right));
        }
        shown.to_string()
    }

    fn verdict(&self) -> String {
        let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
        for generated in self.mutants.iter().filter_map(|it| it.generated.as_ref()) {
            *shares.entry(generated.finder().unwrap_or("no generator")).or_default() += 1;
        }
        let shares: Vec<_> = shares.iter().map(|(by, count)| format!("{count} by {by}")).collect();
        let shares = if shares.is_empty() { String::new() } else { format!(" ({})", shares.join(", ")) };
        let count = self.mutants.len();
        let verdict = match &self.unnoticed()[..] {
            [] => format!("PASS: {count} of {count} mutants are found{shares}"),
            bad => format!("FAIL: {}{shares}", bad.join(", ")),
        };
        format!("{verdict}; built in {:.0} s, run in {:.0} s", self.build_seconds, self.seconds)
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
