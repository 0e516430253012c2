//! Durable group commits in the stores that a replica's log could be kept in: redb, fjall, and an append-only file as
//! the floor that no store can beat. Prints a table; `pbft-node`'s module `store` shows one and draws the conclusion.
//!
//! `pbft-bench-stores [FOLDER]` measures on the file system of that folder, by default the current one.

mod log;
mod lsm;
mod tree;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

/// A record's value: about a prepared certificate, or a small body.
const VALUE: usize = 1024;

/// Rounds of all stores. Each store's figures are those of its best round, as the machine may do other things too.
const ROUNDS: usize = 3;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What a replica needs of a store: commits of records under ascending keys that are on disk when they return, and to
/// read everything back at boot.
trait Store: Sized {
    const NAME: &'static str;

    /// Opens the store in a folder, or makes it; and reads all that it holds: the number of records.
    fn open(folder: &Path) -> Outcome<(Self, usize)>;

    /// Writes records in one transaction and returns when they are on disk.
    fn commit(&mut self, records: &[(u64, [u8; VALUE])]) -> Outcome<()>;
}

struct Figures {
    commits: Vec<Duration>,
    reopen: Duration,
}

impl Figures {
    fn quantile(&self, share: f64) -> Duration {
        self.commits[((self.commits.len() - 1) as f64 * share) as usize]
    }

    fn rate(&self) -> f64 {
        self.commits.len() as f64 / self.commits.iter().sum::<Duration>().as_secs_f64()
    }
}

/// Bytes that nothing can compress, from a fixed seed.
fn value(number: u64) -> [u8; VALUE] {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = [0; VALUE];
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn measure<S: Store>(parent: &Path, commits: usize, batch: usize) -> Outcome<Figures> {
    let folder = tempfile::tempdir_in(parent)?;
    let (mut store, held) = S::open(folder.path())?;
    assert_eq!(held, 0, "a new store is empty");
    let mut times = Vec::with_capacity(commits);
    for commit in 0..commits {
        let first = (commit * batch) as u64;
        let records: Vec<_> = (first..first + batch as u64).map(|key| (key, value(key))).collect();
        let start = Instant::now();
        store.commit(&records)?;
        times.push(start.elapsed());
    }
    drop(store);
    let start = Instant::now();
    let (_store, held) = S::open(folder.path())?;
    let reopen = start.elapsed();
    assert_eq!(held, commits * batch, "{} lost records", S::NAME);
    times.sort_unstable();
    Ok(Figures { commits: times, reopen })
}

fn best<S: Store>(parent: &Path, commits: usize, batch: usize) -> Outcome<Figures> {
    let rounds = (0..ROUNDS).map(|_| measure::<S>(parent, commits, batch)).collect::<Outcome<Vec<_>>>()?;
    rounds.into_iter().min_by_key(|figures| figures.quantile(0.5)).ok_or_else(|| "no rounds".into())
}

fn print(name: &str, figures: &Figures, floor: &Figures) {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "| {name:<12} | {:>11.2} | {:>8.2} | {:>9.0} | {:>14.1} | {:>11.1} |",
        milliseconds(figures.quantile(0.5)),
        milliseconds(figures.quantile(0.99)),
        figures.rate(),
        milliseconds(figures.quantile(0.5)) / milliseconds(floor.quantile(0.5)),
        milliseconds(figures.reopen),
    );
}

fn main() -> Outcome<()> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let parent = Path::new(&parent);
    for (commits, batch) in [(1000, 1), (200, 256)] {
        println!("\n{commits} commits of {batch} records of {VALUE} bytes, each commit on disk before the next\n");
        println!("| store        | median (ms) | p99 (ms) | commits/s | median / floor | reopen (ms) |");
        println!("|--------------|-------------|----------|-----------|----------------|-------------|");
        let floor = best::<log::Log>(parent, commits, batch)?;
        print(log::Log::NAME, &floor, &floor);
        print(tree::Tree::NAME, &best::<tree::Tree>(parent, commits, batch)?, &floor);
        print(lsm::Lsm::NAME, &best::<lsm::Lsm>(parent, commits, batch)?, &floor);
    }
    Ok(())
}
