//! Names a seed whose run does not end: nothing else would, and everything after it would wait for ever.

use std::collections::BTreeMap;
use std::process;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::exit::VERDICT_FAILED;
use crate::output::note;

/// How many seconds a run may take: it usually takes less than one.
const PATIENCE: u32 = 60;

/// For how many seconds each of the seeds is under way.
#[derive(Default)]
pub(super) struct Watchdog(Mutex<BTreeMap<u64, u32>>);

impl Watchdog {
    /// Watches from now on.
    pub(super) fn start() -> &'static Self {
        let watchdog: &Self = Box::leak(Box::default());
        // It counts for itself, so a pause of the whole program is no fault of a seed.
        thread::spawn(|| {
            loop {
                thread::sleep(Duration::from_secs(1));
                if let Some(seed) = watchdog.overdue() {
                    note(&format!("seed {seed} does not end: it has run for {PATIENCE} s"));
                    process::exit(VERDICT_FAILED.into());
                }
            }
        });
        watchdog
    }

    /// Lets a seed be under way meanwhile.
    pub(super) fn during<R>(&self, seed: u64, run: impl FnOnce() -> R) -> R {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, 0);
        let result = run();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&seed);
        result
    }

    /// Another second has passed.
    fn overdue(&self) -> Option<u64> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.values_mut().for_each(|seconds| *seconds += 1);
        under_way.iter().find(|(_, seconds)| **seconds > PATIENCE).map(|(seed, _)| *seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_that_does_not_end_is_named() {
        let watchdog = Watchdog::default();
        let named = watchdog.during(1, || {
            let waits = |seconds| (0..seconds).find_map(|_| watchdog.overdue());
            let early = watchdog.during(2, || waits(PATIENCE));
            (early, waits(1))
        });
        assert_eq!(named, (None, Some(1)));
        assert_eq!(watchdog.overdue(), None, "it has ended");
    }
}
