//! Which requests are sent, and what values say of who wrote them.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::settings::Settings;

/// The key with this number. All keys of all runs share a prefix, so that they are easily found and deleted.
#[must_use]
pub fn key(number: u32) -> Bytes {
    format!("pbft-bench/{number:010}").into()
}

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Read the key with this number.
    Read(u32),
    /// Write the key with this number.
    Write(u32),
}

/// An endless sequence of choices, which follows from the seed and the worker's number.
#[derive(Debug)]
pub struct Mix {
    random: StdRng,
    read_ratio: f64,
    keys: u32,
}

impl Mix {
    /// The sequence of one worker. The settings must have been checked.
    #[must_use]
    pub fn new(settings: &Settings, worker: usize) -> Self {
        // Neighbouring seeds give unrelated sequences, but worker 1 of seed 7 must not be worker 0 of seed 8.
        let seed = settings.seed ^ (worker as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { random: StdRng::seed_from_u64(seed), read_ratio: settings.read_ratio, keys: settings.keys }
    }

    /// The next choice.
    pub fn choose(&mut self) -> Choice {
        let key = self.random.random_range(0..self.keys);
        if self.random.random_bool(self.read_ratio) { Choice::Read(key) } else { Choice::Write(key) }
    }
}

/// Makes the values of one run and knows them again.
///
/// A value is text, so that an export of the store stays readable: 12 hexadecimal digits name the run, 12 the write,
/// and the rest, the same for all values of a run, fills up.
#[derive(Clone, Debug)]
pub struct Values {
    run: u64,
    filler: Vec<u8>,
}

/// Who wrote a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// This run: its write with this number.
    Ours(u64),
    /// This run's name is on it, but no write of this run has these bytes.
    Altered,
    /// Somebody else, perhaps another run.
    Foreign,
}

impl Values {
    /// The least bytes of a value.
    pub const MINIMUM: usize = 24;
    /// Digits of each of the two numbers, and what fits into them.
    const DIGITS: usize = Self::MINIMUM / 2;
    const MASK: u64 = (1 << (4 * Self::DIGITS)) - 1;

    /// Values of so many bytes, at least [`Values::MINIMUM`]. `run` should be random; 48 bits of it are used.
    #[must_use]
    pub fn new(run: u64, payload: usize) -> Self {
        let mut random = StdRng::seed_from_u64(run);
        // What does not repeat within a value does not compress, wherever something might try.
        let filler = (Self::MINIMUM..payload).map(|_| random.random_range(b'a'..=b'z')).collect();
        Self { run: run & Self::MASK, filler }
    }

    /// The run's name, as reports show it.
    #[must_use]
    pub fn run_id(&self) -> String {
        format!("{:012x}", self.run)
    }

    /// The number of a worker's write, counted from 0, among all writes of the run. 2^16 workers are told apart.
    #[must_use]
    pub fn number(worker: usize, count: u32) -> u64 {
        ((worker as u64) << 32) | u64::from(count)
    }

    /// The value of a write.
    #[must_use]
    pub fn value(&self, number: u64) -> Bytes {
        let mut value = Vec::with_capacity(Self::MINIMUM + self.filler.len());
        // 24 digits, formatted at once: this is done before each write.
        value.extend_from_slice(format!("{:012x}{:012x}", self.run, number & Self::MASK).as_bytes());
        value.extend_from_slice(&self.filler);
        value.into()
    }

    /// Who wrote a value.
    #[must_use]
    pub fn author(&self, value: &[u8]) -> Author {
        let Some((tag, filler)) = value.split_at_checked(Self::MINIMUM) else { return Author::Foreign };
        let (run, number) = tag.split_at(Self::DIGITS);
        if run != self.run_id().as_bytes() {
            return Author::Foreign;
        }
        let number = std::str::from_utf8(number).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        match number {
            Some(number) if filler == self.filler => Author::Ours(number),
            _ => Author::Altered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    #[test]
    fn a_value_tells_its_author() {
        let (ours, others) = (Values::new(1, 100), Values::new(2, 100));
        let number = Values::number(usize::from(u16::MAX), u32::MAX);
        let value = ours.value(number);
        assert_eq!(value.len(), 100);
        assert!(value.is_ascii() && !value.contains(&b'\n') && !value.contains(&b'\t'));
        assert_eq!(ours.author(&value), Author::Ours(number));
        assert_eq!(others.author(&value), Author::Foreign);
        assert_eq!(ours.author(b"short"), Author::Foreign);
        let mut altered = value.to_vec();
        altered[99] ^= 1;
        assert_eq!(ours.author(&altered), Author::Altered);
        assert_eq!(ours.author(&value[..99]), Author::Altered);
        assert_eq!(Values::new(1, Values::MINIMUM).value(0).len(), Values::MINIMUM);
    }

    #[test]
    fn a_seed_repeats_and_workers_differ() {
        let choices = |settings: &Settings, worker| {
            let mut mix = Mix::new(settings, worker);
            (0..1000).map(|_| mix.choose()).collect::<Vec<_>>()
        };
        let settings = settings();
        assert_eq!(choices(&settings, 0), choices(&settings, 0));
        assert_ne!(choices(&settings, 0), choices(&settings, 1));
        let next = Settings { seed: settings.seed + 1, ..settings.clone() };
        assert_ne!(choices(&settings, 1), choices(&next, 0));
        let reads = choices(&settings, 0).iter().filter(|choice| matches!(choice, Choice::Read(_))).count();
        assert!((150..350).contains(&reads), "{reads} of 1000 at a ratio of 0.25");
    }

    #[test]
    fn the_extreme_ratios_are_exact() {
        let mut writes = Mix::new(&Settings { read_ratio: 0.0, keys: 1, ..settings() }, 0);
        let mut reads = Mix::new(&Settings { read_ratio: 1.0, keys: 1, ..settings() }, 0);
        for _ in 0..100 {
            assert_eq!((writes.choose(), reads.choose()), (Choice::Write(0), Choice::Read(0)));
        }
    }
}
