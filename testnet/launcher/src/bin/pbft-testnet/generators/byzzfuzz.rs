//! `byzzfuzz`: random mutations and partitions in a few rounds.

use clap::Args;
use serde::Serialize;

use pbft_simulator::byzzfuzz::{Size, Tally, play};

use super::findings::Findings;
use super::{BAD_INPUT, Running, play_all};
use crate::arguments::Format;
use crate::interrupt::Interrupt;
use crate::output::{json, note, result, table};

pub(crate) const HELP: &str = "\
A round is a phase of one view and sequence (PRE-PREPARE, PREPARE, COMMIT, CHECKPOINT, VIEW-CHANGE or NEW-VIEW), in the \
order in which the cluster comes to them. In eight of them, one after the other, faults come: in D the replicas are \
parted; in C a malicious replica's messages reach some receivers, the clients perhaps among them, as mutated copies, \
signed with its real key. Then everybody behaves, and everything that waits must be executed.

Examples:
  pbft-testnet byzzfuzz --c 2 --d 2 --runs 200
  pbft-testnet byzzfuzz --all --runs 1000             each of the 16 with C and D from 0 to 3
  pbft-testnet byzzfuzz --c 2 --d 2 --seed 17 --trace one run, line by line

Exit codes: 0 every guarantee held, 3 bad input, 5 interrupted, 99 a guarantee broke";

/// Which runs.
#[derive(Debug, Args)]
pub(crate) struct ByzzFuzzArguments {
    /// How many replicas: 4 with one malicious, up to 13 with four
    #[arg(long, short, default_value_t = 4, env = "PBFT_BYZZFUZZ_N", value_parser = clap::value_parser!(u16).range(4..=13))]
    n: u16,
    /// In how many rounds messages are mutated
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=8))]
    c: u8,
    /// In how many rounds the replicas are parted
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=8))]
    d: u8,
    /// Each with c and d from 0 to 3
    #[arg(long, conflicts_with_all = ["c", "d", "trace"])]
    all: bool,
    /// How many runs; of each, with --all
    #[arg(long, default_value_t = 200, env = "PBFT_BYZZFUZZ_RUNS", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The first seed; random if left out
    #[arg(long, env = "PBFT_BYZZFUZZ_SEED")]
    seed: Option<u64>,
    /// Only the run of this seed, and tell what happens, line by line
    #[arg(long, requires = "seed")]
    trace: bool,
    #[command(flatten)]
    running: Running,
}

/// What all came to.
#[derive(Serialize)]
struct Outcome {
    n: u16,
    first_seed: u64,
    configurations: Vec<Configuration>,
    #[serde(flatten)]
    findings: Findings,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transcript: Vec<String>,
}

/// What the runs with one c and d came to.
#[derive(Serialize)]
struct Configuration {
    c: usize,
    d: usize,
    broken: usize,
    #[serde(flatten)]
    tally: Tally,
}

pub(crate) fn run(arguments: &ByzzFuzzArguments, quiet: bool, interrupt: &Interrupt) -> anyhow::Result<u8> {
    let ByzzFuzzArguments { n, c, d, all, runs, seed, trace, running } = arguments;
    let one = Size { n: *n, c: usize::from(*c), d: usize::from(*d) };
    let sizes: Vec<_> = if *all { Size::all(*n).collect() } else { vec![one] };
    // Random seeds are short: they are typed again.
    let first = seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let Some(end) = first.checked_add(if *trace { 1 } else { u64::from(*runs) }) else {
        note("error: the seeds go beyond the highest number");
        return Ok(BAD_INPUT);
    };
    if !quiet {
        note(&format!("seeds {first} to {}", end - 1));
    }
    let empty = |size: &Size| Configuration { c: size.c, d: size.d, broken: 0, tally: Tally::default() };
    let mut configurations: Vec<_> = sizes.iter().map(empty).collect();
    let cases: Vec<_> =
        (0..sizes.len()).flat_map(|size| (first..end).map(move |seed| (size, seed))).collect();
    let named = |(size, seed): (usize, u64)| {
        let Size { c, d, .. } = sizes[size];
        (format!("c = {c}, d = {d}, seed {seed}"), (size, seed))
    };
    let (mut findings, mut story) = (Findings::default(), None);
    let code = play_all(
        cases.into_iter().map(named),
        running,
        quiet,
        interrupt,
        &mut findings,
        |(size, seed)| (size, seed, play(sizes[size], seed, *trace)),
        |name, (size, seed, played), findings| {
            let Configuration { c, d, broken, tally } = &mut configurations[size];
            *tally += played.tally;
            *broken += usize::from(!played.violations.is_empty());
            let replay = format!("pbft-testnet byzzfuzz --n {n} --c {c} --d {d} --seed {seed} --trace");
            findings.note(name, &played.violations, None, replay);
            story = trace.then_some(played.transcript);
        },
    );
    // In JSON the story is a part of the one object.
    let mut transcript = Vec::new();
    if let Some(story) = story {
        if running.write == Format::Json {
            transcript.extend(story.lines().map(str::to_owned));
        } else {
            result(story.trim_end())?;
        }
    }
    let outcome = Outcome { n: *n, first_seed: first, configurations, findings, transcript };
    match running.write {
        Format::Json => json(&outcome)?,
        Format::Simple => {
            result(&outcome.seeds())?;
            outcome.configurations.iter().try_for_each(|it| {
                let Configuration { c, d, broken, tally } = it;
                result(&format!("c = {c}, d = {d}: {} runs, {broken} broke a guarantee", tally.runs))
            })?;
        }
        Format::Table => result(&format!("{}\n{}", outcome.table(), outcome.seeds()))?,
    }
    outcome.findings.print(running.write)?;
    Ok(code)
}

impl Outcome {
    /// What to begin with to play all of it again.
    fn seeds(&self) -> String {
        format!("first seed: {}", self.first_seed)
    }

    fn table(&self) -> String {
        let mut shown = table([
            "c",
            "d",
            "runs",
            "messages lost",
            "lies drawn",
            "struck",
            "mutated",
            "runs with view changes",
            "transfers",
            "evidence",
            "broken",
        ]);
        for Configuration { c, d, broken, tally } in &self.configurations {
            let Tally { runs, parted, drawn, struck, mutated, moved, transferred, accused } = tally;
            let row = [
                *c as u64,
                *d as u64,
                *runs,
                *parted,
                *drawn,
                *struck,
                *mutated,
                *moved,
                *transferred,
                *accused,
                *broken as u64,
            ];
            shown.add_row(row);
        }
        shown.to_string()
    }
}
