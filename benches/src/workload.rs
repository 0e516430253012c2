//! What is asked: the mix of requests, as one wishes or as YCSB has it.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

use crate::keys::{Distribution, Keys};

/// What is asked, and of which keys. Each part is from 0 to 1; what they leave of 1 is updates: writes of keys that
/// exist.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Workload {
    /// The part that reads a key.
    pub reads: f64,
    /// The part that reads 1 to 100 keys in order, from some key on.
    pub scans: f64,
    /// The part that writes a new key.
    pub inserts: f64,
    /// The part that reads a key and writes it, in one transaction.
    pub modifies: f64,
    /// Which keys.
    #[serde(skip)]
    pub distribution: Distribution,
}

/// The core workloads of the Yahoo Cloud Serving Benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ycsb {
    /// Half reads, half updates.
    A,
    /// Mostly reads, few updates.
    B,
    /// Reads only.
    C,
    /// Reads of the latest keys, few inserts.
    D,
    /// Short scans, few inserts.
    E,
    /// Half reads, half read-modify-writes.
    F,
}

impl Workload {
    /// Reads and updates of keys that are all alike.
    #[must_use]
    pub fn reading(reads: f64) -> Self {
        Self { reads, scans: 0.0, inserts: 0.0, modifies: 0.0, distribution: Distribution::Uniform }
    }

    /// A core workload of the Yahoo Cloud Serving Benchmark.
    ///
    /// There, a read-modify-write is two requests; here it is one transaction, which cannot be torn apart.
    #[must_use]
    pub fn ycsb(name: Ycsb) -> Self {
        let zipfian = Self { distribution: Distribution::Zipfian, ..Self::reading(0.0) };
        match name {
            Ycsb::A => Self { reads: 0.5, ..zipfian },
            Ycsb::B => Self { reads: 0.95, ..zipfian },
            Ycsb::C => Self { reads: 1.0, ..zipfian },
            Ycsb::D => Self { reads: 0.95, inserts: 0.05, distribution: Distribution::Latest, ..zipfian },
            Ycsb::E => Self { scans: 0.95, inserts: 0.05, ..zipfian },
            Ycsb::F => Self { reads: 0.5, modifies: 0.5, ..zipfian },
        }
    }

    /// Whether each part is one, and all of them together are no more than all.
    pub(crate) fn is_whole(&self) -> bool {
        let parts = [self.reads, self.scans, self.inserts, self.modifies];
        // What is added up in decimals may exceed 1 by a rounding.
        parts.iter().all(|part| (0.0..=1.0).contains(part)) && parts.iter().sum::<f64>() <= 1.0 + 1e-9
    }
}

/// What is asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Read this key.
    Read(u32),
    /// Read so many keys from this one on.
    Scan(u32, u32),
    /// Write this key, which may be new.
    Write(u32),
    /// Read and write this key.
    Modify(u32),
}

/// An endless sequence of choices, which follows from the seed and the number of who chooses.
#[derive(Debug)]
pub(crate) struct Mix {
    random: StdRng,
    workload: Workload,
    keys: Arc<Keys>,
}

/// The most keys that a scan asks for; YCSB's.
const LONGEST_SCAN: u32 = 100;

impl Mix {
    /// The workload must be a whole.
    pub(crate) fn new(seed: u64, number: usize, workload: Workload, keys: Arc<Keys>) -> Self {
        // Neighbouring seeds give unrelated sequences, but number 1 of seed 7 must not be number 0 of seed 8.
        let seed = seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { random: StdRng::seed_from_u64(seed), workload, keys }
    }

    /// The next choice.
    pub(crate) fn choose(&mut self) -> Choice {
        let Workload { reads, scans, inserts, modifies, .. } = self.workload;
        let mut place: f64 = self.random.random();
        let mut falls_into = |part: f64| {
            let inside = place < part;
            place -= part;
            inside
        };
        if falls_into(inserts) {
            return Choice::Write(self.keys.insert());
        }
        if falls_into(scans) {
            let count = self.random.random_range(1..=LONGEST_SCAN);
            return Choice::Scan(self.keys.choose(&mut self.random), count);
        }
        let (modify, read) = (falls_into(modifies), falls_into(reads));
        let key = self.keys.choose(&mut self.random);
        if modify {
            Choice::Modify(key)
        } else if read {
            Choice::Read(key)
        } else {
            Choice::Write(key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(seed: u64, number: usize, workload: Workload, keys: u32) -> Vec<Choice> {
        let keys = Arc::new(Keys::new(keys, workload.distribution));
        let mut mix = Mix::new(seed, number, workload, keys);
        (0..10_000).map(|_| mix.choose()).collect()
    }

    #[test]
    fn a_seed_repeats_and_numbers_differ() {
        let choices = |seed, number| choices(seed, number, Workload::reading(0.25), 10_000);
        assert_eq!(choices(7, 0), choices(7, 0));
        assert_ne!(choices(7, 0), choices(7, 1));
        assert_ne!(choices(7, 1), choices(8, 0));
    }

    #[test]
    fn the_extreme_ratios_are_exact() {
        assert!(choices(7, 0, Workload::reading(0.0), 1).iter().all(|choice| *choice == Choice::Write(0)));
        assert!(choices(7, 0, Workload::reading(1.0), 1).iter().all(|choice| *choice == Choice::Read(0)));
    }

    /// The parts of 100 that each workload of YCSB's paper (2010) and of its core package has.
    #[test]
    fn ycsb_workloads_have_their_parts() {
        // Reads, scans, updates, inserts, read-modify-writes.
        for (name, parts) in [
            (Ycsb::A, [50, 0, 50, 0, 0]),
            (Ycsb::B, [95, 0, 5, 0, 0]),
            (Ycsb::C, [100, 0, 0, 0, 0]),
            (Ycsb::D, [95, 0, 0, 5, 0]),
            (Ycsb::E, [0, 95, 0, 5, 0]),
            (Ycsb::F, [50, 0, 0, 0, 50]),
        ] {
            let workload = Workload::ycsb(name);
            assert!(workload.is_whole());
            let choices = choices(3, 0, workload, 1000);
            let mut counts = [0; 5];
            for choice in &choices {
                counts[match choice {
                    Choice::Read(_) => 0,
                    Choice::Scan(_, count) => {
                        assert!((1..=100).contains(count));
                        1
                    }
                    Choice::Write(0..1000) => 2,
                    Choice::Write(_) => 3,
                    Choice::Modify(_) => 4,
                }] += 1;
            }
            for (count, part) in counts.iter().zip(parts) {
                let expected: u32 = part * 100;
                let tolerance = if part == 0 || part == 100 { 0 } else { 150 };
                assert!(expected.abs_diff(*count) <= tolerance, "{name:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn what_is_more_than_all_is_no_workload() {
        let thirds = Workload { scans: 0.3, modifies: 0.3, inserts: 0.3, ..Workload::reading(0.1) };
        assert!(thirds.is_whole());
        for wrong in [1.1, -0.1, f64::NAN] {
            assert!(!Workload { reads: wrong, ..thirds }.is_whole());
        }
        assert!(!Workload { scans: 0.5, ..thirds }.is_whole());
    }
}
