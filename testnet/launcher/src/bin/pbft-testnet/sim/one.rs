//! One scenario: of a seed, or as it was written down.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json as object;

use pbft_simulator::Violation;
use pbft_simulator::scenario::{Outcome, Scenario};
use pbft_testnet::Progress as _;

use super::{INTERRUPTED, SimArguments, lesson};
use crate::arguments::Format;
use crate::exit::VERDICT_FAILED;
use crate::interrupt::Interrupt;
use crate::output::{json, note, result};
use crate::progress::Shown;

/// How often it is looked up whether Ctrl-C came.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Reads a scenario; `None`, and it is told why, if it cannot be played.
pub(super) fn read(path: &Path) -> Option<Scenario> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string());
    let scenario = text.and_then(|text| Scenario::from_toml(&text).map_err(|why| why.to_string()));
    scenario.inspect_err(|why| note(&format!("error: scenario {}: {why}", path.display()))).ok()
}

/// Plays a scenario; `name` is the seed's or the file's.
pub(super) fn run(
    arguments: &SimArguments,
    name: &str,
    scenario: &Scenario,
    quiet: bool,
    interrupt: &Interrupt,
) -> anyhow::Result<u8> {
    let Some(outcome) = play(scenario, arguments.trace, interrupt) else { return Ok(INTERRUPTED) };
    // In JSON the story is a part of the one object.
    let story = arguments.trace.then(|| outcome.transcript.trim_end());
    let first = Violation::weightiest(&outcome.violations);
    match arguments.write {
        Format::Simple | Format::Table => {
            story.iter().try_for_each(|story| result(story))?;
            result(&tell(name, scenario, &outcome, first))?;
        }
        Format::Json => json(&object!({
            "name": name,
            "n": scenario.n,
            "faults": scenario.faults(),
            "steps": outcome.steps,
            "virtual_seconds": outcome.virtual_time.as_secs_f64(),
            "requests": outcome.answered,
            "view_changes": outcome.view_changes,
            "contradictions": outcome.contradictions,
            "history": format!("{:016x}", outcome.history),
            "transcript": story.map(|story| story.lines().collect::<Vec<_>>()),
            "violation": first.map(|it| object!({
                "invariant": it.invariant, "step": it.step, "at_seconds": it.at.as_secs_f64(), "text": it.text,
            })),
        }))?,
    }
    let Some(first) = first else { return Ok(0) };
    if arguments.shrink {
        let path = arguments.output.clone().unwrap_or_else(|| PathBuf::from(file_name(name)));
        shrink(scenario, first, name, &path, quiet, interrupt)?;
    }
    Ok(VERDICT_FAILED)
}

/// Plays a scenario; `None` if Ctrl-C came first. What is under way then ends with the process.
fn play(scenario: &Scenario, trace: bool, interrupt: &Interrupt) -> Option<Outcome> {
    let (sender, played) = mpsc::channel();
    let scenario = scenario.clone();
    // The player catches panics, so there is always something to send.
    thread::spawn(move || {
        // Nobody waits for it any more after Ctrl-C.
        let _ = sender.send(scenario.play(trace));
    });
    loop {
        match played.recv_timeout(LOOK_UP) {
            Ok(outcome) => return Some(outcome),
            Err(_) if interrupt.came() => return None,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

fn tell(name: &str, scenario: &Scenario, outcome: &Outcome, first: Option<&Violation>) -> String {
    let verdict = first.map_or("every guarantee held".to_owned(), |first| {
        let why = lesson::reason(scenario, first.invariant);
        let why = why.map(|why| format!("\n  why: {why}")).unwrap_or_default();
        format!("breaks {first}\n  {}{why}", lesson::meaning(first.invariant))
    });
    format!(
        "{name}: {} replicas, {} acts; {:.2} s of virtual time, {} events, {} requests answered, view {} at last, history {:016x}\n{name} {verdict}",
        scenario.n,
        scenario.acts.len(),
        outcome.virtual_time.as_secs_f64(),
        outcome.steps,
        outcome.answered,
        outcome.view_changes,
        outcome.history
    )
}

/// Where a smaller scenario goes if nothing is said.
fn file_name(name: &str) -> String {
    match name.strip_prefix("seed ") {
        Some(seed) => format!("sim-{seed}.toml"),
        None => format!("{}-smaller.toml", name.trim_end_matches(".toml")),
    }
}

fn shrink(
    scenario: &Scenario,
    first: &Violation,
    name: &str,
    path: &Path,
    quiet: bool,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let progress = Shown::new(quiet);
    let mut tries = 0;
    let smallest = scenario.shrink(first.invariant, |tried, smallest| {
        tries = tried;
        progress.live(&format!(
            "{tried} tries, {} of {} acts left",
            smallest.acts.len(),
            scenario.acts.len()
        ));
        if interrupt.came() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    let outcome = smallest.play(false);
    let header = Violation::weightiest(&outcome.violations).map(ToString::to_string).unwrap_or_default();
    let header = header.replace('\n', " ");
    let text = format!("# From {name}. It breaks {header}\n\n{}", smallest.to_toml());
    fs::write(path, text).with_context(|| format!("scenario {}", path.display()))?;
    note(&format!(
        "after {tries} tries {} of {} acts are left; play it with `pbft-testnet sim {} --trace`",
        smallest.acts.len(),
        scenario.acts.len(),
        path.display()
    ));
    Ok(())
}
