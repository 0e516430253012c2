//! Values that are a little wrong, or wholly.

use bytes::Bytes;
use rand::{Rng, RngExt as _};

use pbft_crypto::{Digest, Domain, Signature};
use pbft_messages::{Body, Sequence, View};

/// How far from the truth a changed value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One up or down.
    Small,
    /// Anything.
    Any,
}

/// Draws changed values.
pub(crate) struct Values<'a, R> {
    pub(crate) reach: Reach,
    pub(crate) random: &'a mut R,
}

impl<R: Rng> Values<'_, R> {
    pub(crate) fn number(&mut self, right: u64) -> u64 {
        match (self.reach, self.random.random_range(0..4)) {
            (Reach::Small, 0 | 1) => right.saturating_add(1),
            (Reach::Small, _) => right.saturating_sub(1),
            // Most of all numbers are far beyond every bound; those near it find more.
            (Reach::Any, 0 | 1) => self.random.random_range(0..16),
            (Reach::Any, 2) => self.random.random(),
            (Reach::Any, _) => u64::MAX,
        }
    }

    pub(crate) fn view(&mut self, right: View) -> View {
        View(self.number(right.0))
    }

    pub(crate) fn sequence(&mut self, right: Sequence) -> Sequence {
        Sequence(self.number(right.0))
    }

    pub(crate) fn digest(&mut self) -> Digest {
        if self.random.random_bool(0.2) {
            return Body::null_digest();
        }
        Digest::of(Domain::Batch, &self.random.random::<[u8; 8]>())
    }

    /// One byte less (an operand), one more (a result), or another one.
    pub(crate) fn bytes(&mut self, right: &Bytes, change: fn(u8) -> u8) -> Bytes {
        let mut wrong = right.to_vec();
        match (self.reach, wrong.last_mut()) {
            (Reach::Small, Some(last)) => *last = change(*last),
            (Reach::Any, Some(_)) => {
                let place = self.random.random_range(0..wrong.len());
                wrong[place] ^= self.random.random_range(1..=255_u8);
            }
            (_, None) => wrong.push(0),
        }
        wrong.into()
    }

    pub(crate) fn signature(&mut self) -> Signature {
        let mut bytes = [0; Signature::LENGTH];
        self.random.fill(&mut bytes);
        Signature::from_bytes(&bytes)
    }

    /// Takes one element out of a list.
    pub(crate) fn shorten<T>(&mut self, list: &mut Vec<T>) {
        if !list.is_empty() {
            list.remove(self.random.random_range(0..list.len()));
        }
    }

    /// Puts one element of a list into the place of another.
    pub(crate) fn repeat<T: Clone>(&mut self, list: &mut [T]) {
        if !list.is_empty() {
            let [from, to] = [(); 2].map(|()| self.random.random_range(0..list.len()));
            list[to] = list[from].clone();
        }
    }
}
