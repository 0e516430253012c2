//! So many times a second, where nothing tells the time but what happens.

use std::time::Duration;

use pbft_messages::Configuration;
use pbft_protocol::{Instant, Now};

use crate::parameters::Value;

/// So many times a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(u32);

impl Value for Rate {
    const FORM: &'static str = "a number a second, from 1 to 10000";

    fn parse(text: &str, _: &Configuration) -> Option<Self> {
        text.parse().ok().filter(|rate| (1..=10_000).contains(rate)).map(Self)
    }
}

/// Tells how often something is due. Nothing wakes a strategy up, but a replica's statuses are due all the time.
#[derive(Debug)]
pub(crate) struct Ticker {
    rate: Rate,
    /// Up to when all that was due has been done.
    done: Option<Instant>,
}

impl Ticker {
    /// The most that is due at a time: what was missed while nothing happened is not made up for.
    const BURST: u32 = 256;

    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, done: None }
    }

    /// How often it is due by now, since it was asked last.
    pub(crate) fn due(&mut self, now: Now) -> u32 {
        let done = *self.done.get_or_insert(now.instant);
        let period = Duration::from_secs(1) / self.rate.0;
        let count = now.instant.since(done).as_nanos() / period.as_nanos();
        if count > Self::BURST.into() {
            self.done = Some(now.instant);
            return Self::BURST;
        }
        let count = count as u32;
        self.done = Some(done.plus(period * count));
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::configuration;

    #[test]
    fn it_keeps_its_rate_however_often_it_is_asked() {
        let asked = |step: u64| {
            let mut ticker = Ticker::new(Rate(30));
            let times = (0..=10_000).step_by(step as usize);
            let at = |ms| Now { instant: Instant::after_start(Duration::from_millis(ms)), ..Now::default() };
            times.map(|ms| ticker.due(at(ms))).sum::<u32>()
        };
        assert_eq!((asked(1), asked(10), asked(500)), (300, 300, 300));
        assert_eq!(asked(10_000), Ticker::BURST);
    }

    #[test]
    fn rates_are_bounded() {
        let read = |text| Rate::parse(text, &configuration(4));
        assert_eq!((read("1"), read("10000")), (Some(Rate(1)), Some(Rate(10_000))));
        assert_eq!((read("0"), read("10001"), read("-1")), (None, None, None));
    }
}
