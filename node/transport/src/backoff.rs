//! How long to wait before dialing again.

use std::time::Duration;

/// The first wait. On one machine a replica restarts within a few of these.
const FIRST: Duration = Duration::from_millis(50);

/// The longest wait: what a recovered network costs at most.
const LONGEST: Duration = Duration::from_secs(1);

/// A connection that lived this long was a success; the next failure starts from the beginning. One that is lost
/// sooner was probably cut by the other side, which should not be dialed in a tight loop.
pub(crate) const PROVEN: Duration = Duration::from_secs(1);

/// Waits that double with each failure, with jitter so that replicas that lost the same peer don't return in step.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure, and says how long to wait: between half of the nominal time and all of it.
    pub(crate) fn after_failure(&mut self) -> Duration {
        let nominal = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        nominal.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Starts over, after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        for nominal in [50, 100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.after_failure();
            let nominal = Duration::from_millis(nominal);
            assert!(wait >= nominal / 2 && wait <= nominal, "{wait:?} of {nominal:?}");
        }
        backoff.reset();
        assert!(backoff.after_failure() <= FIRST);
    }
}
