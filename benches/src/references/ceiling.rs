//! How fast anything could be that has each request signed by its client and verified by every replica on these cores.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use pbft_crypto::{PublicKey, SecretKey, Signature, Signer as _};

/// The bytes that are signed: what a write of a 100-byte value comes to, more or less.
const MESSAGE: usize = 192;

/// How many signatures are verified together.
const BATCH: usize = 256;

/// How long each cost is measured.
const LASTS: Duration = Duration::from_millis(300);

/// What signatures cost on this machine now, in microseconds of one core while all cores do the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SignatureCosts {
    /// To sign.
    pub sign_us: f64,
    /// To verify one by itself.
    pub alone_us: f64,
    /// To verify one of a batch of 256 by different keys.
    pub batched_us: f64,
    /// To verify one of a batch of 256 by one key.
    pub coalesced_us: f64,
}

/// The signature ceiling of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ceiling {
    /// What it follows from.
    pub costs: SignatureCosts,
    /// How many cores share the work.
    pub cores: usize,
    /// How many replicas verify.
    pub n: usize,
    /// Requests a second: cores ÷ (client sign + n × the cheapest verification).
    pub requests_per_s: f64,
}

impl SignatureCosts {
    /// Measures, for about a second and a half, on all cores at once: as in a loaded run, each core has a busy
    /// neighbour.
    #[must_use]
    pub fn measure() -> Self {
        let keys: Vec<_> = (0..BATCH).map(|index| SecretKey::from_seed(&[index as u8; 32])).collect();
        let message = vec![0x5a; MESSAGE];
        let signed: Vec<Signed> = keys.iter().map(|key| Signed::by(key, &message)).collect();
        let one_key: Vec<Signed> = (0..BATCH)
            .map(|index| {
                let message: Vec<_> = message.iter().map(|byte| byte ^ index as u8).collect();
                Signed::by(&keys[0], &message)
            })
            .collect();
        Self {
            sign_us: cost(1, || {
                black_box(keys[0].sign(black_box(&message)));
            }),
            alone_us: cost(1, || {
                let one = black_box(&signed[0]);
                assert!(one.key.verifies(&one.message, &one.signature), "a good signature is good");
            }),
            batched_us: cost(BATCH, || assert!(all_good(black_box(&signed)), "good signatures are good")),
            coalesced_us: cost(BATCH, || assert!(all_good(black_box(&one_key)), "good signatures are good")),
        }
    }

    /// The cheapest way to verify, whether it is used or not.
    #[must_use]
    pub fn cheapest_us(&self) -> f64 {
        self.alone_us.min(self.batched_us).min(self.coalesced_us)
    }

    /// The mean of two measurements, one from before something and one from after it.
    #[must_use]
    pub fn between(self, other: Self) -> Self {
        let mean = |one: f64, other: f64| f64::midpoint(one, other);
        Self {
            sign_us: mean(self.sign_us, other.sign_us),
            alone_us: mean(self.alone_us, other.alone_us),
            batched_us: mean(self.batched_us, other.batched_us),
            coalesced_us: mean(self.coalesced_us, other.coalesced_us),
        }
    }

    /// The ceiling of a cluster of `n` replicas.
    #[must_use]
    pub fn ceiling(self, n: usize) -> Ceiling {
        let cores = cores();
        let request_us = self.sign_us + n as f64 * self.cheapest_us();
        Ceiling { costs: self, cores, n, requests_per_s: cores as f64 * 1e6 / request_us }
    }
}

impl Ceiling {
    /// For people.
    #[must_use]
    pub fn told(&self) -> String {
        let SignatureCosts { sign_us, alone_us, batched_us, coalesced_us } = self.costs;
        format!(
            "Signature ceiling: {:.0} requests a second = {} cores ÷ (client sign {sign_us:.1} µs + {} × the cheapest \
             verification {:.1} µs). Measured then and there, on all cores at once: to verify takes {alone_us:.1} µs alone, \
             {batched_us:.1} µs in a batch of {BATCH} by as many keys, {coalesced_us:.1} µs in one by one key.",
            self.requests_per_s,
            self.cores,
            self.n,
            self.costs.cheapest_us(),
        )
    }
}

/// How many cores this program may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Something that was signed.
struct Signed {
    key: PublicKey,
    message: Vec<u8>,
    signature: Signature,
}

impl Signed {
    fn by(key: &SecretKey, message: &[u8]) -> Self {
        Self { key: key.public_key(), message: message.to_vec(), signature: key.sign(message) }
    }
}

/// Whether all are good, found out together.
fn all_good(signed: &[Signed]) -> bool {
    let messages: Vec<_> = signed.iter().map(|it| &it.message[..]).collect();
    let signatures: Vec<_> = signed.iter().map(|it| ed25519_dalek::Signature::from_bytes(&it.signature.to_bytes())).collect();
    let keys = signed.iter().map(|it| ed25519_dalek::VerifyingKey::from_bytes(it.key.as_bytes()));
    let keys: Result<Vec<_>, _> = keys.collect();
    keys.is_ok_and(|keys| ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok())
}

/// The microseconds of one of `count` things that `work` does at once, while every core does them.
fn cost(count: usize, work: impl Fn() + Sync) -> f64 {
    let (cores, start) = (cores(), Barrier::new(cores()));
    let measure = || {
        work();
        start.wait();
        let (started, mut done) = (Instant::now(), 0u64);
        while started.elapsed() < LASTS {
            work();
            done += 1;
        }
        started.elapsed().as_secs_f64() * 1e6 / (done * count as u64) as f64
    };
    let each: Vec<f64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(measure)).collect();
        // What panics in a thread is a signature that is no signature: that must not pass unnoticed.
        threads.into_iter().map(|thread| thread.join().expect("signatures can be measured")).collect()
    });
    each.iter().sum::<f64>() / each.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_takes_the_cheapest_verification() {
        let costs = SignatureCosts { sign_us: 18.0, alone_us: 24.0, batched_us: 11.5, coalesced_us: 8.0 };
        let ceiling = costs.ceiling(4);
        let expected = ceiling.cores as f64 * 1e6 / (18.0 + 4.0 * 8.0);
        assert!((ceiling.requests_per_s - expected).abs() < 1e-6, "{ceiling:?}");
        assert!(costs.ceiling(7).requests_per_s < ceiling.requests_per_s);
    }

    #[test]
    fn signatures_are_measured() {
        let costs = SignatureCosts::measure();
        for cost in [costs.sign_us, costs.alone_us, costs.batched_us, costs.coalesced_us] {
            assert!(cost > 0.5, "{costs:?}");
        }
    }
}
