//! Looks for an input that makes a target fail, at random, then among the seeds and what was found before, and prints
//! what it found as one line of JSON: `scour SECONDS`, or `scour TARGET PATH` for one input. `pbft-testnet mutants` runs
//! it against each mutant.

use std::panic::{catch_unwind, set_hook};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fmt, fs, process};

use pbft_fuzz_targets::{TARGETS, Target, random_input, run};

/// How often what was found is run again.
const AGAIN: usize = 10;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [seconds] => hunt(Duration::from_secs(seconds.parse().unwrap_or(10))),
        [target, path] => run(target, &fs::read(Path::new(path)).unwrap_or_default()),
        _ => process::exit(2),
    }
}

fn hunt(limit: Duration) {
    // What fails is told below.
    set_hook(Box::new(|_| {}));
    let mut tried = 0;
    let began = Instant::now();
    for seed in (0..).take_while(|_| began.elapsed() < limit) {
        let input = random_input(seed);
        // Damaged files take a thousand times as long as anything else.
        for target in TARGETS.iter().filter(|target| target.name != "store_file") {
            tried += 1;
            if let Some(why) = failure(target, &input) {
                return tell(tried, target, &Origin::Seed(seed), &input, &why);
            }
        }
    }
    for (target, path) in
        TARGETS.iter().flat_map(|target| kept(target.name).into_iter().map(move |it| (target, it)))
    {
        let Ok(input) = fs::read(&path) else { continue };
        tried += 1;
        if let Some(why) = failure(target, &input) {
            return tell(tried, target, &Origin::Kept(&path), &input, &why);
        }
    }
    print(&format!("{{\"scenarios\": {tried}, \"found\": null}}"));
}

/// The inputs of a target that are kept, in order.
fn kept(target: &str) -> Vec<PathBuf> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["seeds", "found"].map(|kind| fuzz.join(kind).join(target));
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// How the target fails on the input, if it does.
fn failure(target: &Target, input: &[u8]) -> Option<String> {
    let panic = catch_unwind(|| (target.run)(input)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned())).unwrap_or_default())
}

/// Where an input comes from.
enum Origin<'a> {
    /// It was drawn.
    Seed(u64),
    /// It is among the seeds or what was found before.
    Kept(&'a Path),
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(seed) => write!(formatter, "input {seed}"),
            Self::Kept(path) => {
                write!(formatter, "kept input {}", path.file_name().unwrap_or_default().display())
            }
        }
    }
}

fn tell(tried: u64, target: &Target, origin: &Origin<'_>, input: &[u8], why: &str) {
    let alike = (0..AGAIN).all(|_| failure(target, input).as_deref() == Some(why));
    let (found, kept) = (format!("{} {origin}", target.name), matches!(origin, Origin::Kept(_)));
    print(&format!(
        "{{\"scenarios\": {tried}, \"found\": {found:?}, \"kept\": {kept}, \"replays\": {alike}}}"
    ));
}

#[allow(clippy::print_stdout)] // It is a program.
fn print(line: &str) {
    println!("{line}");
}
