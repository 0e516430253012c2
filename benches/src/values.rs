//! What values say of who wrote them.

use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Makes the values of one run and knows them again.
///
/// A value is text, so that an export of the store stays readable: 12 hexadecimal digits name the run, 12 the write,
/// and the rest, the same for all values of a run, fills up.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    run: u64,
    filler: Arc<[u8]>,
}

/// Who wrote a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// This run: its write with this number.
    Ours(u64),
    /// This run's name is on it, but no write of this run has these bytes.
    Altered,
    /// Somebody else, perhaps another run.
    Foreign,
}

impl Values {
    /// The least bytes of a value.
    pub(crate) const MINIMUM: usize = 24;
    /// Digits of each of the two numbers, and what fits into them.
    const DIGITS: usize = Self::MINIMUM / 2;
    const MASK: u64 = (1 << (4 * Self::DIGITS)) - 1;

    /// Values of so many bytes, at least [`Values::MINIMUM`]. `run` should be random; 48 bits of it are used.
    pub(crate) fn new(run: u64, payload: usize) -> Self {
        let mut random = StdRng::seed_from_u64(run);
        // What does not repeat within a value does not compress, wherever something might try.
        let filler = (Self::MINIMUM..payload).map(|_| random.random_range(b'a'..=b'z')).collect();
        Self { run: run & Self::MASK, filler }
    }

    /// The run's name, as reports show it.
    pub(crate) fn run_id(&self) -> String {
        format!("{:012x}", self.run)
    }

    /// The value of a write.
    pub(crate) fn value(&self, number: u64) -> Bytes {
        let mut value = Vec::with_capacity(Self::MINIMUM + self.filler.len());
        value.extend_from_slice(&digits(self.run));
        value.extend_from_slice(&digits(number));
        value.extend_from_slice(&self.filler);
        value.into()
    }

    /// Who wrote a value.
    pub(crate) fn author(&self, value: &[u8]) -> Author {
        let Some((tag, filler)) = value.split_at_checked(Self::MINIMUM) else { return Author::Foreign };
        let (run, number) = tag.split_at(Self::DIGITS);
        if run != digits(self.run) {
            return Author::Foreign;
        }
        let number = std::str::from_utf8(number).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        match number {
            Some(number) if *filler == *self.filler => Author::Ours(number),
            _ => Author::Altered,
        }
    }
}

/// The lower 48 bits, as hexadecimal text. Formatting them the usual way takes several times as long, and this is done
/// for each write.
fn digits(number: u64) -> [u8; Values::DIGITS] {
    std::array::from_fn(|place| {
        b"0123456789abcdef"[(number >> (4 * (Values::DIGITS - 1 - place)) & 0xf) as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_its_author() {
        let (ours, others) = (Values::new(1, 100), Values::new(2, 100));
        let number = (1 << 48) - 2;
        let value = ours.value(number);
        assert_eq!(value.len(), 100);
        assert!(value.starts_with(b"000000000001fffffffffffe"));
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
}
