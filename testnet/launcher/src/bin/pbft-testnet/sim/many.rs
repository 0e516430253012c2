//! Many seeds, over all processors.

use std::ops::ControlFlow;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use pbft_simulator::parallel::spread;
use pbft_simulator::scenario::{Scenario, Swarm};
use pbft_testnet::Progress as _;
use pbft_testnet::units::Time;

use super::tally::{Broken, Tally};
use super::{INTERRUPTED, SimArguments};
use crate::arguments::Format;
use crate::exit::VERDICT_FAILED;
use crate::interrupt::Interrupt;
use crate::output::{json, note, result};
use crate::progress::Shown;
use crate::watchdog::Watchdog;

/// For how long seeds are drawn if nothing is said.
const DURATION: Time = Time(Duration::from_secs(10));

pub(super) fn run(
    arguments: &SimArguments,
    swarm: &Swarm,
    quiet: bool,
    interrupt: &Interrupt,
) -> anyhow::Result<u8> {
    // Random seeds are short: they are typed again.
    let first = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let threads =
        arguments.threads.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from);
    let most = arguments.seeds.unwrap_or(u64::MAX);
    let limit = arguments.duration.or(arguments.seeds.is_none().then_some(DURATION));
    if !quiet {
        note(&format!("seeds from {first} on, {threads} at a time"));
    }
    let progress = match arguments.seeds {
        Some(total) => Shown::up_to(quiet, total),
        None => Shown::new(quiet),
    };
    let (started, mut done) = (Instant::now(), 0);
    let mut tally = Tally::new(first, threads);
    let in_time = |_: &u64| limit.is_none_or(|limit| started.elapsed() < limit.0);
    let seeds = (0..most).map(|index| first.wrapping_add(index)).take_while(in_time);
    let watchdog = Watchdog::start();
    let play = |seed| {
        let scenario = Scenario::draw(seed, swarm);
        let outcome = watchdog.during(&format!("seed {seed}"), || scenario.play(false));
        (seed, scenario, outcome)
    };
    spread(threads, seeds, play, |(seed, scenario, outcome)| {
        tally.add(&scenario, &outcome, started.elapsed());
        let broken = Broken::of(seed, &scenario, &outcome).and_then(|broken| tally.note(broken));
        if let Some(broken) = broken {
            progress.step(&broken.tell());
        }
        done += 1;
        progress.at(done);
        progress.live(&tally.line());
        if interrupt.came() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    match arguments.write {
        Format::Simple => result(&tally.lines())?,
        Format::Table => result(&tally.table())?,
        Format::Json => json(&tally)?,
    }
    Ok(match tally.failures() {
        0 if interrupt.came() => INTERRUPTED,
        0 => 0,
        _ => VERDICT_FAILED,
    })
}
