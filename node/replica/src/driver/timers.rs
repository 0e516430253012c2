//! When each of the protocol's timers expires.

use pbft_protocol::{Instant, Timer};

/// The protocol's timers, all in one table; the driver sleeps until the earliest.
#[derive(Debug, Default)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    /// Sets a timer, or stops it.
    pub(super) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        self.0[timer as usize] = at;
    }

    /// When the earliest timer expires.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Takes a timer that has expired, the one that was due first.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Timer> {
        let due = |timer: &Timer| self.0[*timer as usize].filter(|at| *at <= now);
        let timer = Timer::ALL.into_iter().filter(|timer| due(timer).is_some()).min_by_key(due)?;
        self.0[timer as usize] = None;
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timers_expire_once_and_in_order() {
        let at = |milliseconds| Instant::after_start(Duration::from_millis(milliseconds));
        let mut timers = Timers::default();
        timers.set(Timer::Request, Some(at(30)));
        timers.set(Timer::Status, Some(at(10)));
        timers.set(Timer::Deadline, Some(at(20)));
        timers.set(Timer::Deadline, None);
        assert_eq!((timers.next(), timers.expired(at(9))), (Some(at(10)), None));
        assert_eq!(timers.expired(at(30)), Some(Timer::Status));
        assert_eq!(timers.expired(at(30)), Some(Timer::Request));
        assert_eq!((timers.next(), timers.expired(at(99))), (None, None));
    }
}
