//! Which keys there are, and which of them a request takes.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde::Serialize;

/// The key with this number. All keys of all runs share a prefix, so that they are easily found and deleted; their
/// order is that of their numbers.
pub(crate) fn key(number: u32) -> Bytes {
    format!("pbft-bench/{number:010}").into()
}

/// The first key after all of [`key`].
pub(crate) fn end_of_keys() -> Bytes {
    Bytes::from_static(b"pbft-bench0")
}

/// How likely each key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// All alike.
    Uniform,
    /// By Zipf's law with an exponent of 0.99: of 10,000 keys, the most popular one takes 10% of the requests. The
    /// popular keys lie all over the range.
    Zipfian,
    /// By the same law, the newest key being the most popular one.
    Latest,
}

/// The keys of a run, for all that choose among them.
#[derive(Debug)]
pub(crate) struct Keys {
    /// How many there are at the start.
    initial: u32,
    distribution: Distribution,
    ranks: Zipf,
    /// The number of the next key to be inserted.
    next: AtomicU32,
    /// The newest key that was inserted and acknowledged, or the last of the initial ones.
    newest: AtomicU32,
}

impl Keys {
    /// `initial` is at least 1.
    pub(crate) fn new(initial: u32, distribution: Distribution) -> Self {
        let ranks = Zipf::new(if distribution == Distribution::Uniform { 1 } else { initial });
        let (next, newest) = (AtomicU32::new(initial), AtomicU32::new(initial - 1));
        Self { initial, distribution, ranks, next, newest }
    }

    /// One that exists, unless keys are not written before they are read.
    pub(crate) fn choose(&self, random: &mut StdRng) -> u32 {
        match self.distribution {
            Distribution::Uniform => random.random_range(0..self.initial),
            Distribution::Zipfian => scattered(self.ranks.draw(random), self.initial),
            Distribution::Latest => {
                self.newest.load(Ordering::Relaxed).saturating_sub(self.ranks.draw(random))
            }
        }
    }

    /// One that is new.
    pub(crate) fn insert(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A key was written.
    pub(crate) fn written(&self, number: u32) {
        if number >= self.initial {
            self.newest.fetch_max(number, Ordering::Relaxed);
        }
    }
}

/// Puts ranks to places below `count`, each to a place of its own, neighbours far apart.
fn scattered(rank: u32, count: u32) -> u32 {
    /// A prime near the golden section of 2^64, so that it has no divisor in common with any count.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c55;
    let count = u64::from(count);
    // Below 2^64, as each factor is below 2^32; the remainder is below the count.
    (u64::from(rank) * (STEP % count) % count) as u32
}

/// Draws ranks by Zipf's law: rank r with a probability in proportion to (r + 1)^-0.99. The way of Gray and others,
/// "Quickly generating billion-record synthetic databases" (1994), which YCSB goes too: exact for the first two ranks,
/// close for the others, and constant in time.
#[derive(Debug)]
struct Zipf {
    count: f64,
    zeta: f64,
    eta: f64,
}

/// YCSB's.
const EXPONENT: f64 = 0.99;

impl Zipf {
    /// Takes time in proportion to `count`.
    fn new(count: u32) -> Self {
        let zeta = |count: u32| (1..=count).map(|rank| f64::from(rank).powf(-EXPONENT)).sum::<f64>();
        let (all, first_two) = (zeta(count), zeta(2));
        let count = f64::from(count);
        let eta = (1.0 - (2.0 / count).powf(1.0 - EXPONENT)) / (1.0 - first_two / all);
        Self { count, zeta: all, eta }
    }

    fn draw(&self, random: &mut StdRng) -> u32 {
        let place: f64 = random.random();
        let scaled = place * self.zeta;
        if scaled < 1.0 {
            0
        } else if scaled < 1.0 + 0.5_f64.powf(EXPONENT) {
            1
        } else {
            let rank = self.count * (self.eta * (place - 1.0) + 1.0).powf(1.0 / (1.0 - EXPONENT));
            // Rounding may reach the count itself.
            rank.min(self.count - 1.0) as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;

    use super::*;

    fn counts(keys: &Keys, draws: usize) -> Vec<usize> {
        let mut random = StdRng::seed_from_u64(1);
        let mut counts = vec![0; keys.initial as usize];
        (0..draws).for_each(|_| counts[keys.choose(&mut random) as usize] += 1);
        counts
    }

    #[test]
    fn keys_are_in_the_order_of_their_numbers() {
        assert!(key(9) < key(10) && key(u32::MAX) < end_of_keys());
    }

    #[test]
    fn uniform_keys_are_all_alike() {
        let counts = counts(&Keys::new(100, Distribution::Uniform), 100_000);
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    /// The shares of the first ranks, and of whole decades of them, are those of the law.
    #[test]
    fn zipfian_ranks_keep_the_law() {
        const DRAWS: usize = 400_000;
        let keys = Keys::new(10_000, Distribution::Zipfian);
        let counts = counts(&keys, DRAWS);
        let zeta = |ranks: std::ops::Range<u32>| {
            ranks.map(|rank| f64::from(rank + 1).powf(-EXPONENT)).sum::<f64>() / keys.ranks.zeta
        };
        for (ranks, tolerance) in [
            (0..1, 0.02),
            (1..2, 0.03),
            (2..10, 0.2),
            (10..100, 0.06),
            (100..1000, 0.03),
            (1000..10_000, 0.05),
        ] {
            let drawn: usize = ranks.clone().map(|rank| counts[scattered(rank, 10_000) as usize]).sum();
            let (share, expected) = (drawn as f64 / DRAWS as f64, zeta(ranks.clone()));
            assert!((share / expected - 1.0).abs() < tolerance, "{ranks:?}: {share} for {expected}");
        }
        assert!(zeta(0..1) > 0.09 && zeta(0..1) < 0.11, "as the documentation says");
    }

    #[test]
    fn every_rank_has_a_place_of_its_own_and_neighbours_are_apart() {
        for count in [1, 2, 3, 1000, 1024, 9973] {
            let places: BTreeSet<_> = (0..count).map(|rank| scattered(rank, count)).collect();
            assert_eq!(places.len(), count as usize);
            assert!(places.last() < Some(&count));
        }
        assert!(scattered(1, 10_000).abs_diff(scattered(2, 10_000)) > 100);
        assert!(scattered(u32::MAX - 1, u32::MAX) < u32::MAX);
    }

    #[test]
    fn the_latest_key_is_the_most_popular_one() {
        let keys = Keys::new(1000, Distribution::Latest);
        let mut random = StdRng::seed_from_u64(1);
        let (first, second) = (keys.insert(), keys.insert());
        assert_eq!((first, second), (1000, 1001));
        assert!((0..1000).all(|_| keys.choose(&mut random) < 1000), "nothing is acknowledged yet");
        keys.written(second);
        keys.written(first);
        keys.written(5);
        let newest = (0..1000).filter(|_| keys.choose(&mut random) == second).count();
        assert!((90..180).contains(&newest), "{newest}");
    }

    #[test]
    fn few_keys_are_no_trouble() {
        for (initial, distribution) in [
            (1, Distribution::Zipfian),
            (2, Distribution::Zipfian),
            (1, Distribution::Latest),
            (3, Distribution::Latest),
        ] {
            assert!(counts(&Keys::new(initial, distribution), 1000).iter().all(|count| *count > 0));
        }
    }
}
