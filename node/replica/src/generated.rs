//! Scenarios of what surrounds the core, each drawn from a seed: a disk that fails, a folder that forgets what was not
//! synced, checks that panic. `pbft-testnet mutants` looks among them for one that fails, with a time to look in
//! `PBFT_HUNT_SECONDS`; without it the first few seeds are tried.

use std::any::Any;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// A kind of scenario: its name, and how it is played.
type Scenario = (&'static str, fn(&mut StdRng));

/// What a seed is played as, one after the other.
const SCENARIOS: [Scenario; 3] = [
    ("writes", crate::store::tests::generated::writes),
    ("a folder", crate::folder::tests::forgets),
    ("checks", crate::verify::panicking_checks),
];

/// How many seeds are tried where nobody gives a time.
const SEEDS: u64 = 150;

/// How often what was found is played again.
const AGAIN: usize = 10;

/// How a seed fails, if it does.
fn failure(seed: u64) -> Option<String> {
    let (name, play) = SCENARIOS[seed as usize % SCENARIOS.len()];
    let told = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned())).unwrap_or_default()
    };
    let played = catch_unwind(AssertUnwindSafe(|| play(&mut StdRng::seed_from_u64(seed))));
    played.err().map(|panic| format!("{name}: {}", told(panic)))
}

#[test]
#[allow(clippy::print_stdout)] // Its output is read by a program.
fn nothing_that_is_drawn_breaks_a_rule() {
    let limit =
        env::var("PBFT_HUNT_SECONDS").ok().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let begun = Instant::now();
    let goes_on = |seed: &u64| limit.map_or(*seed < SEEDS, |limit| begun.elapsed() < limit);
    let mut tried = 0;
    let found =
        (0..).take_while(goes_on).inspect(|_| tried += 1).find_map(|seed| Some((seed, failure(seed)?)));
    if limit.is_none() {
        assert_eq!(found, None);
        return;
    }
    match found {
        None => println!("\n{{\"scenarios\": {tried}, \"found\": null}}"),
        Some((seed, why)) => {
            let alike = (0..AGAIN).all(|_| failure(seed).as_ref() == Some(&why));
            let found = format!("seed {seed}: {}", why.lines().next().unwrap_or_default());
            println!("\n{{\"scenarios\": {tried}, \"found\": {found:?}, \"replays\": {alike}}}");
        }
    }
}
