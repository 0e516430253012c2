//! How fast anything could be that has each submission signed by its client and verified by every replica on these cores.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;

use pbft_crypto::SignatureCosts as OnOneThread;

/// What signatures cost on this machine now, in microseconds of one core while all cores do the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SignatureCosts {
    /// To sign.
    pub sign_us: f64,
    /// To verify one by itself, strictly or by ZIP 215, whichever is cheaper.
    pub alone_us: f64,
    /// To verify one of a batch of 64 or 256 by different keys, whichever is cheaper.
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
    /// How many requests share a signature.
    pub bundle: usize,
    /// Requests a second: bundle × cores ÷ (client sign + n × the cheapest verification).
    pub requests_per_s: f64,
}

impl SignatureCosts {
    /// Measures, for a second or two, on all cores at once: as in a loaded run, each core has a busy neighbour, which
    /// matters where two of them share the arithmetic units of one.
    ///
    /// # Panics
    /// If a signature that was made is none.
    pub async fn measure() -> Self {
        // So long no other task of this thread would get on, among them the one that hears of an interrupt.
        tokio::task::spawn_blocking(Self::on_all_cores).await.expect("signatures can be measured")
    }

    fn on_all_cores() -> Self {
        let (start, busy) = (Barrier::new(cores()), AtomicUsize::new(cores()));
        let measure = || {
            start.wait();
            let measured = OnOneThread::measure();
            busy.fetch_sub(1, Ordering::Relaxed);
            // Whoever is not done yet keeps its neighbour.
            while busy.load(Ordering::Relaxed) > 0 {
                std::hint::black_box(OnOneThread::measure());
            }
            measured
        };
        let each: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(measure)).collect();
            // What panics there is a signature that is none: that must not pass unnoticed.
            threads.into_iter().map(|thread| thread.join().expect("signatures can be measured")).collect()
        });
        let mean = |cost: fn(&OnOneThread) -> f64| each.iter().map(cost).sum::<f64>() / each.len() as f64;
        Self {
            sign_us: mean(|it| it.sign),
            alone_us: mean(|it| it.alone.min(it.alone_zip215)),
            batched_us: mean(|it| it.of_64.min(it.of_256)),
            coalesced_us: mean(|it| it.of_256_by_one_key),
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

    /// The ceiling of a cluster of `n` replicas, under submissions of `bundle` requests.
    #[must_use]
    pub fn ceiling(self, n: usize, bundle: usize) -> Ceiling {
        let cores = cores();
        let submission_us = self.sign_us + n as f64 * self.cheapest_us();
        Ceiling {
            costs: self,
            cores,
            n,
            bundle,
            requests_per_s: (bundle * cores) as f64 * 1e6 / submission_us,
        }
    }
}

impl Ceiling {
    /// For people.
    #[must_use]
    pub fn told(&self) -> String {
        let SignatureCosts { sign_us, alone_us, batched_us, coalesced_us } = self.costs;
        format!(
            "Signature ceiling: {:.0} requests a second = {} requests a signature × {} cores ÷ (client sign {sign_us:.1} µs + {} × the cheapest \
             verification {:.1} µs). Measured then and there, on all cores at once: to verify takes {alone_us:.1} µs alone, \
             {batched_us:.1} µs in a batch by many keys, {coalesced_us:.1} µs in a batch by one key.",
            self.requests_per_s,
            self.bundle,
            self.cores,
            self.n,
            self.costs.cheapest_us(),
        )
    }
}

/// How many cores this program may use.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_takes_the_cheapest_verification() {
        let costs = SignatureCosts { sign_us: 18.0, alone_us: 24.0, batched_us: 11.5, coalesced_us: 8.0 };
        let ceiling = costs.ceiling(4, 1);
        let expected = ceiling.cores as f64 * 1e6 / (18.0 + 4.0 * 8.0);
        assert!((ceiling.requests_per_s - expected).abs() < 1e-6, "{ceiling:?}");
        assert!(costs.ceiling(7, 1).requests_per_s < ceiling.requests_per_s);
        let bundles = costs.ceiling(4, 64).requests_per_s;
        assert!((bundles - 64.0 * expected).abs() < 1e-3, "{bundles}: one signature is of 64");
    }

    #[test]
    fn signatures_are_measured() {
        let costs = SignatureCosts::on_all_cores();
        for cost in [costs.sign_us, costs.alone_us, costs.batched_us, costs.coalesced_us] {
            assert!(cost > 0.5, "{costs:?}");
        }
    }
}
