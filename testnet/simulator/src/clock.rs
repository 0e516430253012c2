//! The replicas' wall clocks, each right or wrong in its own way (N6). Their monotonic clocks are all right.

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

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).expect("simulations last less than centuries")
}

#[cfg(test)]
mod tests {
    use super::*;

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
