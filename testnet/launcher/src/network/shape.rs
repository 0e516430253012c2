//! What a bad line does to what it carries.

use std::fmt;
use std::time::Duration;

use clap::Args;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::units::{Rate, Share, Time};

/// How long a datagram may wait for a narrow line, as it would in a router; one that would wait longer is lost.
const ROUTER_BUFFER: Duration = Duration::from_millis(500);

/// After so long a handshake is given up: a line on which one takes as long carries no connection.
const HANDSHAKE_PATIENCE: Duration = Duration::from_millis(1500);

/// How many datagrams a handshake takes, one way and the other, and how large they are.
const HANDSHAKE: (u32, usize) = (4, 1200);

/// A line that loses as much carries no connection: each datagram of a handshake must come through in time, which one
/// try in some hundreds does, and a link that is up ends after a few seconds of silence.
const HOPELESS_LOSS: f64 = 0.75;

/// A bad line, in each of its two directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, Args)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// How much later each datagram arrives; a round trip takes twice that much longer
    #[arg(long, value_name = "TIME", default_value_t)]
    #[serde(skip_serializing_if = "is_default")]
    pub latency: Time,
    /// By how much the latency varies at random, up and down; datagrams then overtake each other
    #[arg(long, value_name = "TIME", default_value_t)]
    #[serde(skip_serializing_if = "is_default")]
    pub jitter: Time,
    /// The share of datagrams that never arrive: 5%
    #[arg(long, value_name = "SHARE", default_value_t)]
    #[serde(skip_serializing_if = "is_default")]
    pub loss: Share,
    /// How much passes to and from each other replica: 500kbit, 1mbit
    #[arg(long, value_name = "RATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Rate>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Shape {
    /// Whether the line is as good as cut: no connection over it comes up.
    #[must_use]
    pub fn severs(&self) -> bool {
        let (datagrams, bytes) = HANDSHAKE;
        let carrying = self.bandwidth.map_or(Duration::ZERO, |rate| rate.time_of(bytes) * datagrams);
        self.loss.get() >= HOPELESS_LOSS || self.latency.0 * 2 + carrying >= HANDSHAKE_PATIENCE
    }

    /// The line that both are, one after the other: what one end of a link does to it comes on top of what the other does.
    #[must_use]
    pub fn then(self, other: Self) -> Self {
        let bandwidth = match (self.bandwidth, other.bandwidth) {
            (Some(one), Some(other)) => Some(one.then(other)),
            (one, other) => one.or(other),
        };
        Self {
            latency: Time(self.latency.0 + other.latency.0),
            jitter: Time(self.jitter.0 + other.jitter.0),
            loss: self.loss.or(other.loss),
            bandwidth,
        }
    }

    /// When a datagram arrives that is sent now; `None` if never. `free_at` is when the line has carried all that was
    /// sent before.
    pub(super) fn arrival(
        &self,
        now: Duration,
        bytes: usize,
        free_at: &mut Duration,
        random: &mut StdRng,
    ) -> Option<Duration> {
        if random.random::<f64>() < self.loss.get() {
            return None;
        }
        let mut at = now;
        if let Some(rate) = self.bandwidth {
            let begins = now.max(*free_at);
            if begins - now > ROUTER_BUFFER {
                return None;
            }
            *free_at = begins + rate.time_of(bytes);
            at = *free_at;
        }
        let jitter = self.jitter.0.mul_f64(random.random::<f64>() * 2.0);
        Some((at + self.latency.0 + jitter).saturating_sub(self.jitter.0).max(now))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = (!is_default(&self.latency)).then(|| format!("latency {}", self.latency));
        let jitter = (!is_default(&self.jitter)).then(|| format!("jitter {}", self.jitter));
        let loss = (!is_default(&self.loss)).then(|| format!("loss {}", self.loss));
        let bandwidth = self.bandwidth.map(|rate| format!("bandwidth {rate}"));
        let parts: Vec<_> = [latency, jitter, loss, bandwidth].into_iter().flatten().collect();
        formatter.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    const NOW: Duration = Duration::from_secs(7);

    fn arrivals(shape: Shape, bytes: usize, count: usize) -> Vec<Option<Duration>> {
        let (mut free_at, mut random) = (Duration::ZERO, StdRng::seed_from_u64(3));
        let after = |at: Duration| at - NOW;
        (0..count).map(|_| shape.arrival(NOW, bytes, &mut free_at, &mut random).map(after)).collect()
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_good_line_changes_nothing() {
        assert_eq!(arrivals(Shape::default(), 1000, 3), [Some(Duration::ZERO); 3]);
        assert!(!Shape::default().severs());
    }

    #[test]
    fn latency_is_the_middle_of_the_jitter() {
        let shape = Shape { latency: Time(ms(50)), jitter: Time(ms(10)), ..Shape::default() };
        let all: Vec<_> = arrivals(shape, 1000, 1000).into_iter().flatten().collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|at| (ms(40)..=ms(60)).contains(at)));
        assert!(all.iter().min().unwrap() < &ms(41) && all.iter().max().unwrap() > &ms(59));
    }

    #[test]
    fn the_share_of_loss_is_lost() {
        let lossy = |text: &str| Shape { loss: text.parse().unwrap(), ..Shape::default() };
        let lost = arrivals(lossy("5%"), 1000, 10_000).iter().filter(|at| at.is_none()).count();
        assert!((400..600).contains(&lost), "{lost}");
        assert!(arrivals(lossy("100%"), 1, 100).iter().all(Option::is_none));
    }

    #[test]
    fn a_line_that_no_handshake_passes_is_as_good_as_cut() {
        let line = |latency: &str, loss: &str, bandwidth: Option<&str>| Shape {
            latency: latency.parse().unwrap(),
            loss: loss.parse().unwrap(),
            bandwidth: bandwidth.map(|rate| rate.parse().unwrap()),
            ..Shape::default()
        };
        assert!(line("0s", "99%", None).severs() && !line("0s", "50%", None).severs());
        assert!(line("750ms", "0%", None).severs() && !line("740ms", "0%", None).severs());
        assert!(line("0s", "0%", Some("1kbit")).severs() && !line("0s", "0%", Some("100kbit")).severs());
        // What each end does alone would pass.
        for bad in [line("400ms", "0%", None), line("0s", "50%", None), line("0s", "0%", Some("50kbit"))] {
            assert!(!bad.severs() && bad.then(bad).severs(), "{bad}");
            assert!(!bad.then(Shape::default()).severs());
        }
    }

    #[test]
    fn a_narrow_line_carries_one_after_the_other_and_a_full_buffer_loses() {
        let shape = Shape { bandwidth: Some("1mbit".parse().unwrap()), ..Shape::default() };
        let all = arrivals(shape, 1250, 100);
        assert_eq!(all[..3], [Some(ms(10)), Some(ms(20)), Some(ms(30))]);
        // What waits longer than the buffer holds is lost, and takes up no time of the line.
        assert_eq!(all.iter().flatten().max(), Some(&ms(510)));
        assert!(all[60..].iter().all(Option::is_none));
    }

    #[test]
    fn it_is_told_in_the_words_it_was_given_in() {
        let text = r#"{"latency":"50ms","jitter":"10ms","loss":"5%","bandwidth":"1mbit"}"#;
        let shape: Shape = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&shape).unwrap(), text);
        assert_eq!(shape.to_string(), "latency 50ms jitter 10ms loss 5% bandwidth 1mbit");
    }
}
