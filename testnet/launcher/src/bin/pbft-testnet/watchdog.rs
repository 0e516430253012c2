//! Names a simulated run that does not end: nothing else would, and everything after it would wait for ever.

use std::collections::BTreeMap;
use std::process;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::exit::VERDICT_FAILED;
use crate::output::note;

/// How many seconds a run may take: it usually takes less than one.
const PATIENCE: u32 = 60;

/// For how many seconds each run is under way, by its name.
#[derive(Default)]
pub(crate) struct Watchdog(Mutex<BTreeMap<String, u32>>);

impl Watchdog {
    /// Watches from now on.
    pub(crate) fn start() -> &'static Self {
        let watchdog: &Self = Box::leak(Box::default());
        // It counts for itself, so a pause of the whole program is no fault of a run.
        thread::spawn(|| {
            loop {
                thread::sleep(Duration::from_secs(1));
                if let Some(name) = watchdog.overdue() {
                    note(&format!("{name} does not end: it has run for {PATIENCE} s"));
                    process::exit(VERDICT_FAILED.into());
                }
            }
        });
        watchdog
    }

    /// Lets a run be under way meanwhile. No two of a name may be at once.
    pub(crate) fn during<R>(&self, name: &str, run: impl FnOnce() -> R) -> R {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), 0);
        let result = run();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        result
    }

    /// Another second has passed.
    fn overdue(&self) -> Option<String> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.values_mut().for_each(|seconds| *seconds += 1);
        under_way.iter().find(|(_, seconds)| **seconds > PATIENCE).map(|(name, _)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_does_not_end_is_named() {
        let watchdog = Watchdog::default();
        let named = watchdog.during("seed 1", || {
            let waits = |seconds| (0..seconds).find_map(|_| watchdog.overdue());
            let early = watchdog.during("seed 2", || waits(PATIENCE));
            (early, waits(1))
        });
        assert_eq!(named, (None, Some("seed 1".to_owned())));
        assert_eq!(watchdog.overdue(), None, "it has ended");
    }
}
