//! Looks for a scenario that breaks a guarantee: `hunt GENERATOR SECONDS`, with one of swarm, twins and byzzfuzz. Prints
//! what it found as one line of JSON. `pbft-testnet mutants` runs it against each mutant.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};
use std::{env, process};

use pbft_simulator::parallel::spread;
use pbft_simulator::scenario::{Scenario, Swarm};
use pbft_simulator::{Violation, byzzfuzz, twins};

/// How often what was found is played again.
const AGAIN: usize = 10;

/// What is told of a scenario: its name, and how it broke a guarantee, in all detail that must be the same again.
type Broken = Option<(&'static str, String)>;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [generator, seconds] = &arguments[..] else { process::exit(2) };
    let limit = Duration::from_secs(seconds.parse().unwrap_or(10));
    // What panics is told below.
    set_hook(Box::new(|_| {}));
    match generator.as_str() {
        "swarm" => hunt(limit, 0.., |seed| format!("seed {seed}"), swarm),
        "byzzfuzz" => {
            let sizes: Vec<_> = byzzfuzz::Size::all(4).filter(|size| size.c + size.d > 0).collect();
            let runs = (0..).flat_map(move |seed| sizes.clone().into_iter().map(move |size| (size, seed)));
            let name =
                |(size, seed): &(byzzfuzz::Size, u64)| format!("c = {}, d = {}, seed {seed}", size.c, size.d);
            hunt(limit, runs, name, |(size, seed)| plain(&byzzfuzz::play(*size, *seed, false).violations));
        }
        "twins" => {
            let space =
                twins::Space::new(4, 1, 2).expect("four replicas with one twin are within the limits");
            let all = (1..).zip(space.scenarios());
            let name = |(number, _): &(u64, Vec<twins::Round>)| format!("scenario {number} of 2 rounds");
            hunt(limit, all, name, |(_, rounds)| plain(&twins::play(&space, rounds, false).violations));
        }
        _ => process::exit(2),
    }
}

fn swarm(seed: &u64) -> Broken {
    let outcome = Scenario::draw(*seed, &Swarm::default()).play(false);
    let (invariant, text) = plain(&outcome.violations)?;
    Some((invariant, format!("{text} {}", outcome.history)))
}

/// The first violation, and all of them in full.
fn plain(violations: &[Violation]) -> Broken {
    let first = violations.first()?;
    let name = format!("{}", first.invariant);
    let texts: Vec<_> = violations.iter().map(Violation::to_string).collect();
    Some((name.leak(), texts.join("; ")))
}

/// Plays until one breaks a guarantee or panics, then that one again.
fn hunt<T: Clone + Send + Sync>(
    limit: Duration,
    scenarios: impl Iterator<Item = T> + Send,
    name: impl Fn(&T) -> String,
    play: impl Fn(&T) -> Broken + Sync,
) {
    let began = Instant::now();
    let guarded = |scenario: &T| {
        let played = catch_unwind(AssertUnwindSafe(|| play(scenario)));
        played.unwrap_or_else(|_| Some(("panic", String::new())))
    };
    let (mut tried, mut found) = (0_u64, None);
    let threads = available_parallelism().map_or(1, usize::from);
    spread(
        threads,
        scenarios.take_while(|_| began.elapsed() < limit),
        |scenario| (guarded(&scenario), scenario),
        |(broken, scenario)| {
            tried += 1;
            match broken {
                None => ControlFlow::Continue(()),
                Some(broken) => {
                    found = Some((scenario, broken));
                    ControlFlow::Break(())
                }
            }
        },
    );
    print(&match found {
        None => format!("{{\"scenarios\": {tried}, \"found\": null}}"),
        Some((scenario, broken)) => {
            let alike = (0..AGAIN).all(|_| guarded(&scenario).as_ref() == Some(&broken));
            let found = format!("{}: {}", name(&scenario), broken.0);
            format!("{{\"scenarios\": {tried}, \"found\": {found:?}, \"replays\": {alike}}}")
        }
    });
}

#[allow(clippy::print_stdout)] // It is a program.
fn print(line: &str) {
    println!("{line}");
}
