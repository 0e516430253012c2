//! A peer's budget of offences (R3).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::OffenceLimits;

/// How long each frame of a peer waits that used up half of its budget.
const SLOW: Duration = Duration::from_millis(10);

/// What an offence led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was counted.
    Tolerated,
    /// The budget is used up: the peer is to be cut off.
    Cut,
}

/// Counts offences, forgives them with time, and remembers until when a peer is cut off.
#[derive(Debug)]
pub(crate) struct OffenceBudget {
    limits: OffenceLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Offences that are not forgiven yet, as a fraction: recovery is continuous.
    unforgiven: f64,
    updated: Instant,
    cooling_until: Option<Instant>,
}

impl OffenceBudget {
    pub(crate) fn new(limits: OffenceLimits) -> Self {
        let state = State { unforgiven: 0.0, updated: Instant::now(), cooling_until: None };
        Self { limits, state: Mutex::new(state) }
    }

    /// Counts an offence at time `now`.
    pub(crate) fn charge(&self, now: Instant) -> Verdict {
        let mut state = self.current(now);
        state.unforgiven += 1.0;
        // Rounded up: an offence counts whole until all of it is forgiven.
        if state.unforgiven.ceil() < f64::from(self.limits.burst) {
            return Verdict::Tolerated;
        }
        // After it cooled off the peer starts at half: the next offences slow it at once.
        state.unforgiven = f64::from(self.limits.burst) / 2.0;
        state.cooling_until = Some(now + self.limits.cooling);
        Verdict::Cut
    }

    /// How long the peer's next frame is to wait.
    pub(crate) fn delay(&self, now: Instant) -> Option<Duration> {
        let state = self.current(now);
        // An untouched budget of one offence is not half used.
        let half = f64::from(self.limits.burst) / 2.0;
        (state.unforgiven > 0.0 && state.unforgiven >= half).then_some(SLOW)
    }

    /// How long the peer stays cut off from `now`, if it is.
    pub(crate) fn cooling(&self, now: Instant) -> Option<Duration> {
        let until = self.current(now).cooling_until?;
        until.checked_duration_since(now).filter(|rest| !rest.is_zero())
    }

    fn current(&self, now: Instant) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(state.updated).as_secs_f64();
        let recovery = self.limits.recovery.as_secs_f64();
        let forgiven = if recovery > 0.0 { passed / recovery } else { f64::INFINITY };
        state.unforgiven = (state.unforgiven - forgiven).max(0.0);
        state.updated = state.updated.max(now);
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: OffenceLimits =
        OffenceLimits { burst: 4, recovery: Duration::from_secs(1), cooling: Duration::from_secs(10) };

    #[test]
    fn offences_slow_then_cut_then_cool() {
        let budget = OffenceBudget::new(LIMITS);
        let now = Instant::now();
        assert_eq!(budget.charge(now), Verdict::Tolerated);
        assert_eq!(budget.delay(now), None);
        assert_eq!(budget.charge(now), Verdict::Tolerated);
        assert_eq!(budget.delay(now), Some(SLOW));
        assert_eq!(budget.charge(now), Verdict::Tolerated);
        assert_eq!(budget.cooling(now), None);
        // Time passes between any two offences; it forgives a part of one only.
        let now = now + LIMITS.recovery / 10;
        assert_eq!(budget.charge(now), Verdict::Cut);
        assert_eq!(budget.cooling(now), Some(LIMITS.cooling));
        assert_eq!(budget.cooling(now + LIMITS.cooling), None);
    }

    #[test]
    fn rare_offences_are_forgiven() {
        let budget = OffenceBudget::new(LIMITS);
        let mut now = Instant::now();
        for _ in 0..100 {
            assert_eq!(budget.charge(now), Verdict::Tolerated);
            now += LIMITS.recovery;
        }
        assert_eq!(budget.delay(now), None);
    }
}
