//! What signatures cost on this machine, now.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::{PublicKey, SecretKey, Signature, SignatureBatch, Signer as _};

/// Microseconds of one thread for each signature: the least of many short rounds, as whatever else runs only adds.
///
/// For what all processors do together, measure on as many threads at once: two processors are often one core, and share
/// its arithmetic units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignatureCosts {
    /// To sign.
    pub sign: f64,
    /// To verify alone, strictly: a replica's vote.
    pub alone: f64,
    /// To verify alone by the rule of ZIP 215: a client's submission.
    pub alone_zip215: f64,
    /// To verify one of 64 together, each by another key.
    pub of_64: f64,
    /// To verify one of 256 together, each by another key.
    pub of_256: f64,
    /// To verify one of 256 together, all by one key.
    pub of_256_by_one_key: f64,
}

const ROUNDS: usize = 100;
/// How long a round should take: less than a thread's turn on a processor.
const ROUND: Duration = Duration::from_millis(1);
/// What is signed: as long as a submission of one request with a value of 100 bytes, and what a signature covers besides.
const MESSAGE_BYTES: usize = 240;

impl SignatureCosts {
    /// Measures all of them, in about a second.
    #[must_use]
    pub fn measure() -> Self {
        let keys: Vec<_> = (0..=u8::MAX).map(|seed| SecretKey::from_seed(&[seed; 32])).collect();
        let by_many: Vec<_> = keys.iter().enumerate().map(|(index, key)| Case::new(key, index)).collect();
        let by_one: Vec<_> = (0..by_many.len()).map(|index| Case::new(&keys[0], index)).collect();
        let together = |cases: &[Case]| {
            cost(cases.len(), || {
                let mut batch = SignatureBatch::default();
                cases.iter().for_each(|it| batch.add(&it.key, &it.message, &it.signature));
                batch.all_hold()
            })
        };
        let few = &by_many[..8];
        Self {
            sign: cost(few.len(), || {
                let signatures = few.iter().zip(&keys).map(|(case, key)| key.sign(&case.message));
                signatures.zip(few).all(|(signature, case)| signature == case.signature)
            }),
            alone: cost(few.len(), || few.iter().all(|it| it.key.verifies(&it.message, &it.signature))),
            alone_zip215: cost(few.len(), || {
                few.iter().all(|it| it.key.claim(&it.message, &it.signature).holds())
            }),
            of_64: together(&by_many[..64]),
            of_256: together(&by_many),
            of_256_by_one_key: together(&by_one),
        }
    }

    /// The cheapest way to verify a client's signature.
    #[must_use]
    pub fn cheapest(&self) -> f64 {
        [self.alone, self.alone_zip215, self.of_64, self.of_256, self.of_256_by_one_key]
            .into_iter()
            .fold(f64::INFINITY, f64::min)
    }
}

struct Case {
    key: PublicKey,
    message: [u8; MESSAGE_BYTES],
    signature: Signature,
}

impl Case {
    fn new(key: &SecretKey, index: usize) -> Self {
        let mut message = [0; MESSAGE_BYTES];
        message[..8].copy_from_slice(&index.to_le_bytes());
        Self { key: key.public_key(), message, signature: key.sign(&message) }
    }
}

/// Microseconds for each of the `count` signatures that `work` deals with, which must go well.
fn cost(count: usize, mut work: impl FnMut() -> bool) -> f64 {
    let mut microseconds = |repetitions: u128| {
        let started = Instant::now();
        let good = (0..repetitions).all(|_| black_box(work()));
        assert!(good, "what is measured here are good signatures");
        started.elapsed().as_secs_f64() * 1e6 / repetitions as f64
    };
    let repetitions = (ROUND.as_micros() as f64 / microseconds(1)).clamp(1.0, 1000.0) as u128;
    (0..ROUNDS).map(|_| microseconds(repetitions)).fold(f64::INFINITY, f64::min) / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn together_is_cheaper_than_alone() {
        let costs = SignatureCosts::measure();
        assert!(costs.sign > 0.0 && costs.cheapest() < costs.alone, "{costs:.1?}");
    }
}
