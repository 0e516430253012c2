//! When answers came: for the live line, and to see how long service paused.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Counts what is acknowledged, and when. Times are since the meter was made.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    /// When each worker was answered.
    answers: Mutex<BTreeMap<usize, Vec<Duration>>>,
    failures: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
    deadline: watch::Sender<Option<Instant>>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            answers: Mutex::default(),
            failures: Mutex::default(),
            count: watch::channel(0).0,
            deadline: watch::channel(None).0,
        }
    }
}

/// A time without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the last answer before it came.
    pub from: Duration,
    /// How long it was.
    pub length: Duration,
}

impl Meter {
    /// The time since the meter was made.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// How many operations were answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until so many operations were answered since the meter was made; whether they were before `patience`
    /// was over.
    pub async fn reached(&self, count: usize, patience: Duration) -> bool {
        let mut counted = self.count.subscribe();
        // The sender lives in `self`, so waiting ends by reaching the count or by the time-out.
        let reached = counted.wait_for(|answered| *answered >= count);
        matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_)))
    }

    /// Waits until nothing was answered for so long.
    pub async fn stalls(&self, patience: Duration) {
        while self.reached(self.answered() + 1, patience).await {}
    }

    /// Answers a second, over the time from `from` to `to`.
    #[must_use]
    pub fn rate(&self, from: Duration, to: Duration) -> f64 {
        let answers = locked(&self.answers);
        let count = answers.values().flatten().filter(|at| (from..to).contains(at)).count();
        count as f64 / to.saturating_sub(from).as_secs_f64().max(1e-9)
    }

    /// The longest time without an answer to anybody that touches the span from `from` to `to`.
    #[must_use]
    pub fn longest_gap(&self, from: Duration, to: Duration) -> Gap {
        let answers = locked(&self.answers).values().flatten().copied().collect();
        self.gap(answers, from, to)
    }

    /// The longest time that any one worker was without an answer and that touches the span from `from` to `to`: others
    /// may have been served meanwhile.
    #[must_use]
    pub fn longest_wait(&self, from: Duration, to: Duration) -> Gap {
        let all = locked(&self.answers).clone();
        let gaps = all.into_values().map(|answers| self.gap(answers, from, to));
        gaps.max_by_key(|gap| gap.length).unwrap_or(Gap { from, length: Duration::ZERO })
    }

    fn gap(&self, mut answers: Vec<Duration>, from: Duration, to: Duration) -> Gap {
        answers.sort();
        let ends = answers.iter().copied().chain([self.now()]);
        let starts = [Duration::ZERO].into_iter().chain(answers.iter().copied());
        let gaps = starts.zip(ends).filter(|(start, end)| *end > from && *start < to);
        let gaps = gaps.map(|(start, end)| Gap { from: start, length: end.saturating_sub(start) });
        gaps.max_by_key(|gap| gap.length).unwrap_or(Gap { from, length: Duration::ZERO })
    }

    /// The first thing that a client was told went wrong, if any, and how many there were.
    #[must_use]
    pub fn failures(&self) -> (usize, Option<String>) {
        let failures = locked(&self.failures);
        (failures.len(), failures.first().cloned())
    }

    /// Expects a worker's answers.
    pub(super) fn expect(&self, worker: usize) {
        locked(&self.answers).entry(worker).or_default();
    }

    pub(super) fn answer(&self, worker: usize, at: Duration) {
        locked(&self.answers).entry(worker).or_default().push(at);
        self.count.send_modify(|count| *count += 1);
    }

    pub(super) fn failure(&self, why: String) {
        locked(&self.failures).push(why);
    }

    /// From now on nobody waits longer than `patience` for an answer.
    pub(super) fn hurry(&self, patience: Duration) {
        self.deadline.send_replace(Some(Instant::now() + patience));
    }

    /// Waits until patience is over, which it never is before [`Meter::hurry`].
    pub(super) async fn out_of_patience(&self) {
        let mut deadline = self.deadline.subscribe();
        let at = match deadline.wait_for(Option::is_some).await {
            Ok(at) => *at,
            Err(_) => None,
        };
        match at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }
}

/// What a panic while counting leaves behind is still a list of counts.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_the_one_that_touches_the_span() {
        let meter = Meter::default();
        let ms = Duration::from_millis;
        // All in the past of a meter whose clock has hardly started, but for the last gap, which `now` ends.
        for at in [0, 0, 0] {
            meter.answer(0, ms(at));
        }
        assert!(meter.longest_gap(ms(0), ms(1)).length < ms(1000));
        for at in [5000, 5100, 9000, 9050] {
            meter.answer(0, ms(at));
        }
        assert_eq!(meter.longest_gap(ms(4000), ms(9999)), Gap { from: ms(0), length: ms(5000) });
        assert_eq!(meter.longest_gap(ms(5050), ms(5100)), Gap { from: ms(5000), length: ms(100) });
        assert_eq!(meter.longest_gap(ms(5100), ms(9999)), Gap { from: ms(5100), length: ms(3900) });
        assert_eq!(meter.rate(ms(5000), ms(6000)), 2.0);
        assert_eq!(meter.answered(), 7);
        // Another one is served in between, which is no comfort to the first, nor to one that never is.
        meter.answer(1, ms(7000));
        assert_eq!(meter.longest_gap(ms(5100), ms(9999)).length, ms(2000));
        assert_eq!(meter.longest_wait(ms(7500), ms(8999)), Gap { from: ms(5100), length: ms(3900) });
        meter.expect(2);
        assert_eq!(meter.longest_wait(ms(0), ms(1)).from, ms(0));
    }
}
