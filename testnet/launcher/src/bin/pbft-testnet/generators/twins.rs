//! `twins`: every scenario of one size.

use clap::Args;
use serde::Serialize;

use pbft_messages::{Quorum, faults_tolerated};
use pbft_simulator::twins::{Round, Space, Tally, play};

use super::findings::Findings;
use super::{BAD_INPUT, Running, play_all};
use crate::arguments::Format;
use crate::interrupt::Interrupt;
use crate::output::{json, note, result, table};

pub(crate) const HELP: &str = "\
Each faulty replica runs as two instances with one key, which know nothing of each other: whatever a liar could say by \
forgetting what it said, they say. A round is a leader and a way to part the instances into at most two blocks, within \
which messages are delivered. All choices for so many rounds are played, those that differ only in names once; then \
all are connected, and everything that waits must be executed.

Examples:
  pbft-testnet twins                                  4 replicas, 2 rounds: 510 scenarios
  pbft-testnet twins --rounds 3                       25740 scenarios
  pbft-testnet twins --rounds 4 --count               only how many there are
  pbft-testnet twins --rounds 3 --scenario 17 --trace one of them, line by line
  pbft-testnet twins --twins 2                        more twins than are tolerated: guarantees do break

Exit codes: 0 every guarantee held, 3 bad input, 5 interrupted, 99 a guarantee broke";

/// The most scenarios that are played: all are made before the first.
const MOST: u128 = 4_000_000;

/// Which scenarios.
#[derive(Debug, Args)]
pub(crate) struct TwinsArguments {
    /// How many replicas
    #[arg(long, short, default_value_t = 4, env = "PBFT_TWINS_N")]
    n: u16,
    /// How many of them are two instances; by default as many as may be faulty
    #[arg(long, env = "PBFT_TWINS_TWINS")]
    twins: Option<u16>,
    /// How many rounds
    #[arg(long, default_value_t = 2, env = "PBFT_TWINS_ROUNDS")]
    rounds: usize,
    /// Only say how many scenarios there are
    #[arg(long, conflicts_with_all = ["scenario", "trace"])]
    count: bool,
    /// Only the scenario of this number, from 1
    #[arg(long, value_name = "NUMBER")]
    scenario: Option<usize>,
    /// Tell what happens, line by line
    #[arg(long, requires = "scenario")]
    trace: bool,
    #[command(flatten)]
    running: Running,
}

/// What all came to.
#[derive(Serialize)]
struct Outcome {
    n: u16,
    twins: u16,
    rounds: usize,
    scenarios: u128,
    played: u64,
    #[serde(flatten)]
    tally: Tally,
    #[serde(flatten)]
    findings: Findings,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transcript: Vec<String>,
}

pub(crate) fn run(arguments: &TwinsArguments, quiet: bool, interrupt: &Interrupt) -> anyhow::Result<u8> {
    let TwinsArguments { n, rounds, count, scenario, trace, running, .. } = arguments;
    let f = faults_tolerated(usize::from(*n)) as u16;
    let twins = arguments.twins.unwrap_or(f);
    let space = match Space::new(*n, twins, *rounds) {
        Ok(space) => space,
        Err(error) => {
            note(&format!("error: {error}"));
            return Ok(BAD_INPUT);
        }
    };
    let all = space.count();
    if *count {
        result(&all.to_string())?;
        return Ok(0);
    }
    if all > MOST {
        note(&format!("error: {all} scenarios are more than are made at once, {MOST}; give fewer --rounds"));
        return Ok(BAD_INPUT);
    }
    let mut cases: Vec<(usize, Vec<Round>)> = (1..).zip(space.scenarios()).collect();
    if let Some(number) = scenario {
        cases.retain(|(it, _)| it == number);
        if cases.is_empty() {
            note(&format!("error: there is no scenario {number}: there are 1 to {all}"));
            return Ok(BAD_INPUT);
        }
    }
    if !quiet {
        let (n, rounds) = (space.n(), rounds);
        note(&format!("n = {n}, {twins} of them twins, {rounds} rounds: {all} scenarios"));
    }
    let mut outcome = Outcome {
        n: *n,
        twins,
        rounds: *rounds,
        scenarios: all,
        played: 0,
        tally: Tally::default(),
        findings: Findings::default(),
        transcript: Vec::new(),
    };
    let mut findings = Findings::default();
    let mut stories = Vec::new();
    let code = play_all(
        cases.into_iter().map(|(number, rounds)| (format!("scenario {number}"), (number, rounds))),
        running,
        quiet,
        interrupt,
        &mut findings,
        |(number, rounds)| (number, play(&space, &rounds, *trace)),
        |name, (number, played), findings| {
            outcome.played += 1;
            outcome.tally += played.tally;
            let reason = (twins > f).then(|| reason(*n, twins));
            let replay = format!(
                "pbft-testnet twins --n {n} --twins {twins} --rounds {rounds} --scenario {number} --trace"
            );
            findings.note(name, &played.violations, reason, replay);
            stories.extend(trace.then_some(played.transcript));
        },
    );
    outcome.findings = findings;
    // In JSON the story is a part of the one object.
    if running.write == Format::Json {
        outcome.transcript = stories.iter().flat_map(|story| story.lines().map(str::to_owned)).collect();
    } else {
        stories.iter().try_for_each(|story| result(story.trim_end()))?;
    }
    match running.write {
        Format::Json => json(&outcome)?,
        Format::Simple => {
            outcome.rows().into_iter().try_for_each(|(name, value)| result(&format!("{name}: {value}")))?;
        }
        Format::Table => {
            let mut shown = table(["twins", ""]);
            for (name, value) in outcome.rows() {
                shown.add_row([name.to_owned(), value]);
            }
            result(&shown.to_string())?;
        }
    }
    outcome.findings.print(running.write)?;
    Ok(code)
}

impl Outcome {
    fn rows(&self) -> [(&'static str, String); 9] {
        let Tally { runs, executed, equivocated, moved, carried, accused } = self.tally;
        [
            ("cluster", format!("{} replicas, {} of them twins; {} rounds", self.n, self.twins, self.rounds)),
            ("scenarios", format!("{} of {}", self.played, self.scenarios)),
            ("runs, each by three schedules", runs.to_string()),
            ("executed something while parted", executed.to_string()),
            ("two batches proposed at one place", equivocated.to_string()),
            ("entered later views", moved.to_string()),
            ("carried a batch over", carried.to_string()),
            ("found evidence", accused.to_string()),
            ("broke a guarantee", self.findings.count().to_string()),
        ]
    }
}

/// Why a guarantee breaks where more replicas are twins than are tolerated.
fn reason(n: u16, twins: u16) -> String {
    let (n, f) = (usize::from(n), faults_tolerated(usize::from(n)));
    let quorum = Quorum::of(n).get();
    format!(
        "n = {n} tolerates f = {f}. Any two quorums of {quorum} share {} replicas, of which one is correct while at \
         most {f} are not; with {twins} twins all that two quorums share may be twins, so that each block of a \
         partition has a quorum of its own",
        2 * quorum - n
    )
}
