//! `twins` and `byzzfuzz`: scenarios that a rule generates, over all processors.

mod byzzfuzz;
mod findings;
mod twins;

use std::ops::ControlFlow;
use std::thread::available_parallelism;

use clap::Args;

use pbft_simulator::parallel::spread;
use pbft_testnet::Progress as _;

pub(crate) use byzzfuzz::{ByzzFuzzArguments, HELP as BYZZFUZZ_HELP, run as byzzfuzz};
pub(crate) use twins::{HELP as TWINS_HELP, TwinsArguments, run as twins};

use crate::arguments::Format;
use crate::exit::{BAD_INPUT, INTERRUPTED, VERDICT_FAILED};
use crate::interrupt::Interrupt;
use crate::progress::Shown;
use crate::watchdog::Watchdog;
use findings::Findings;

/// How to run, and how to print.
#[derive(Debug, Args)]
pub(crate) struct Running {
    /// How many scenarios run at once; by default as many as there are processors
    #[arg(long, env = "PBFT_SIM_THREADS", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// How to print
    #[arg(short, long = "write-out", value_enum, default_value_t, env = "PBFT_WRITE_OUT")]
    write: Format,
}

/// Plays every case, each with its name; `take` gets what came of each, in order, and counts it and what broke. Gives the
/// exit code.
fn play_all<T: Send, R: Send>(
    cases: impl ExactSizeIterator<Item = (String, T)> + Send,
    running: &Running,
    quiet: bool,
    interrupt: &Interrupt,
    findings: &mut Findings,
    play: impl Fn(T) -> R + Sync,
    mut take: impl FnMut(String, R, &mut Findings),
) -> u8 {
    let threads = running.threads.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from);
    let all = cases.len();
    let progress = Shown::up_to(quiet, all as u64);
    let mut done = 0;
    let watchdog = Watchdog::start();
    let play = |(name, case): (String, T)| {
        let played = watchdog.during(&name, || play(case));
        (name, played)
    };
    spread(threads, cases, play, |(name, played)| {
        let told = findings.told();
        take(name, played, findings);
        findings.since(told).for_each(|broken| progress.step(&broken.tell()));
        done += 1;
        progress.at(done);
        progress.live(&format!("{done} of {all}, {} broke a guarantee", findings.count()));
        if interrupt.came() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    match findings.count() {
        0 if interrupt.came() => INTERRUPTED,
        0 => 0,
        _ => VERDICT_FAILED,
    }
}
