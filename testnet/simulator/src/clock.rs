//! The replicas' clocks, each right or wrong in its own way (N6).

use std::time::Duration;

use pbft_messages::Timestamp;

/// Where right clocks start: some day in 2023.
const EPOCH: u64 = 1_700_000_000_000_000_000;

/// How a replica's wall clock goes, from the time at which it is set so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallClock {
    /// By how many nanoseconds it is ahead, at first.
    pub ahead: i64,
    /// By how many millionths it is too fast; -1,000,000 is frozen.
    pub drift: i64,
    /// When it was set so.
    pub(crate) since: Duration,
}

impl WallClock {
    /// Ahead by some time, and neither too fast nor too slow.
    #[must_use]
    pub fn ahead(duration: Duration) -> Self {
        Self { ahead: nanoseconds(duration), ..Self::default() }
    }

    /// Behind by some time, and neither too fast nor too slow.
    #[must_use]
    pub fn behind(duration: Duration) -> Self {
        Self { ahead: -nanoseconds(duration), ..Self::default() }
    }

    /// Too fast by so many millionths, or too slow.
    #[must_use]
    pub fn drifting(drift: i64) -> Self {
        Self { drift, ..Self::default() }
    }

    /// Stands still.
    #[must_use]
    pub fn frozen() -> Self {
        Self::drifting(-1_000_000)
    }

    /// What it shows.
    pub(crate) fn at(&self, now: Duration) -> Timestamp {
        let gained = i128::from(nanoseconds(now - self.since)) * i128::from(self.drift) / 1_000_000;
        let right = i128::from(EPOCH) + i128::from(nanoseconds(now));
        let shown = right + i128::from(self.ahead) + gained;
        Timestamp(u64::try_from(shown).expect("a test's clocks show times of this century"))
    }
}

/// How a replica's monotonic clock goes: it is never set, and may be too fast or too slow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// By how many millionths it is too fast, since `since`, when it showed `shown`.
    drift: i32,
    since: Duration,
    shown: Duration,
}

impl Pace {
    const MILLION: i64 = 1_000_000;

    /// The same clock, which goes otherwise from now on.
    pub(crate) fn drifting(self, drift: i32, now: Duration) -> Self {
        Self { drift, since: now, shown: self.at(now) }
    }

    /// What it shows.
    pub(crate) fn at(&self, now: Duration) -> Duration {
        self.shown + scaled(now - self.since, Self::MILLION + i64::from(self.drift), Self::MILLION)
    }

    /// How long it takes to go on by so much, or a little longer.
    pub(crate) fn takes(&self, duration: Duration) -> Duration {
        let rounding = if self.drift == 0 { 0 } else { 2 };
        scaled(duration, Self::MILLION, Self::MILLION + i64::from(self.drift))
            + Duration::from_nanos(rounding)
    }
}

fn scaled(duration: Duration, by: i64, of: i64) -> Duration {
    let scaled = i128::from(nanoseconds(duration)) * i128::from(by) / i128::from(of);
    Duration::from_nanos(u64::try_from(scaled).expect("clocks go forward"))
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).expect("simulations last less than centuries")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_clocks_drift_and_never_jump() {
        let second = Duration::from_secs(1);
        let fast = Pace::default().drifting(10_000, second * 10);
        assert_eq!([fast.at(second * 10), fast.at(second * 110)], [second * 10, second * 111]);
        let slow = fast.drifting(-10_000, second * 110);
        assert_eq!([slow.at(second * 110), slow.at(second * 210)], [second * 111, second * 210]);
        for pace in [fast, slow, Pace::default()] {
            let (now, wait) = (second * 300, Duration::from_millis(123));
            assert!(pace.at(now + pace.takes(wait)) >= pace.at(now) + wait);
        }
    }

    #[test]
    fn clocks_are_wrong_as_told() {
        let at = |clock: WallClock, seconds| {
            let shown =
                WallClock { since: Duration::from_secs(10), ..clock }.at(Duration::from_secs(seconds));
            i128::from(shown.0) - i128::from(EPOCH) - i128::from(seconds) * 1_000_000_000
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(at(WallClock::default(), 20), 0);
        assert_eq!(at(WallClock::ahead(hour), 20), 3_600_000_000_000);
        assert_eq!(at(WallClock::behind(hour), 20), -3_600_000_000_000);
        assert_eq!(at(WallClock::drifting(10_000), 20), 100_000_000);
        assert_eq!(at(WallClock::frozen(), 20), -10_000_000_000);
    }
}
