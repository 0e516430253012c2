//! Times, shares and rates as people write them, in commands, manifests and status alike.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not what was asked for; it says what would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Unreadable {
    pub(crate) fn new(why: String) -> Self {
        Self(why)
    }
}

/// Splits `1.5s` into its number, which is finite and not negative, and its unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let (number, unit) = text.split_at(text.find(|it: char| !it.is_ascii_digit() && it != '.')?);
    let number = number.parse::<f64>().ok()?;
    number.is_finite().then_some((number, unit))
}

/// The longest time that makes sense: sums of a few of them, and points in time that are so far off, don't overflow.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// A time: `500ms`, `1.5s`, `10m`, `2h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl FromStr for Time {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let read = || {
            let (number, unit) = split(text)?;
            let seconds = match unit {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
            Some(number * seconds)
        };
        let why = || Unreadable(format!("{text:?} is no time: write 500ms, 1.5s, 10m or 2h"));
        let seconds = read().ok_or_else(why)?;
        let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST);
        time.map(Self).ok_or_else(|| Unreadable(format!("{text:?} is too long: at most a year, 8760h")))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 1.0 {
            write!(formatter, "{}ms", (seconds * 1e6).round() / 1e3)
        } else {
            write!(formatter, "{}s", (seconds * 1e3).round() / 1e3)
        }
    }
}

/// Reads a time that something is to last: not 0.
///
/// # Errors
/// [`Unreadable`]
pub fn lasting(text: &str) -> Result<Time, Unreadable> {
    match text.parse::<Time>()? {
        Time(Duration::ZERO) => Err(Unreadable(format!("{text:?} is no time for anything to last"))),
        time => Ok(time),
    }
}

/// A share from 0 to 1, written in percent: `5%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Share(f64);

impl Share {
    /// The share as a number from 0 to 1.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// The share of what either of two that know nothing of each other takes.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(1.0 - (1.0 - self.0) * (1.0 - other.0))
    }
}

impl FromStr for Share {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let read = || match split(text)? {
            (percent, "%") if percent <= 100.0 => Some(Self(percent / 100.0)),
            _ => None,
        };
        read().ok_or_else(|| Unreadable(format!("{text:?} is no share: write a number from 0% to 100%")))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}%", (self.0 * 1e6).round() / 1e4)
    }
}

/// How much passes in a time: `500kbit`, `1mbit`, `1.5gbit`, all a second.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// How long so many bytes take.
    #[must_use]
    pub fn time_of(self, bytes: usize) -> Duration {
        // No rate is below one bit a second, and no datagram above 64 KiB, so this is a sensible number.
        Duration::from_secs_f64(bytes as f64 * 8.0 / self.0)
    }

    /// The rate of two lines of which one follows the other: their times add up.
    #[must_use]
    pub fn then(self, other: Self) -> Self {
        Self(1.0 / (1.0 / self.0 + 1.0 / other.0))
    }
}

impl FromStr for Rate {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let read = || {
            let (number, unit) = split(text)?;
            let bits = match unit {
                "kbit" => 1e3,
                "mbit" => 1e6,
                "gbit" => 1e9,
                _ => return None,
            };
            let rate = number * bits;
            (rate >= 1.0 && rate.is_finite()).then_some(Self(rate))
        };
        read().ok_or_else(|| Unreadable(format!("{text:?} is no bandwidth: write 500kbit, 1mbit or 1gbit")))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bits if bits >= 1e9 => write!(formatter, "{}gbit", bits / 1e9),
            bits if bits >= 1e6 => write!(formatter, "{}mbit", bits / 1e6),
            bits => write!(formatter, "{}kbit", bits / 1e3),
        }
    }
}

/// Both directions of serde go by the text.
macro_rules! written_as_text {
    ($($unit:ty),*) => {$(
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

written_as_text!(Time, Share, Rate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let time = |text: &str| text.parse::<Time>().ok().map(|time| time.0);
        assert_eq!(time("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(time("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(time("10m"), Some(Duration::from_secs(600)));
        assert_eq!(time("0.5h"), Some(Duration::from_secs(1800)));
        for text in ["", "7", "s", "-1s", "3d", "1s2", "1e400s", "1..5s", "99999999999999999999999s"] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(time("8760h"), Some(LONGEST));
        let refused = "99999999999999m".parse::<Time>().unwrap_err().to_string();
        assert!(refused.contains("at most a year"), "{refused}");
        for text in ["500ms", "1.5s", "600s", "0ms"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_lasts_lasts_some_time() {
        assert_eq!(lasting("2h"), "7200s".parse());
        assert!(lasting("0ms").is_err() && lasting("0.0000000001s").is_err() && lasting("soon").is_err());
    }

    #[test]
    fn shares_are_percents_and_rates_bits_a_second() {
        let share = |text: &str| text.parse::<Share>().ok().map(Share::get);
        assert_eq!((share("5%"), share("0.1%"), share("100%")), (Some(0.05), Some(0.001), Some(1.0)));
        for text in ["5", "101%", "-1%", "%", "NaN%", "five%"] {
            assert_eq!(share(text), None, "{text}");
        }
        let second = |text: &str| text.parse::<Rate>().ok().map(|rate| rate.time_of(125));
        assert_eq!(second("1kbit"), Some(Duration::from_secs(1)));
        assert_eq!(second("1mbit"), Some(Duration::from_millis(1)));
        for text in ["1", "0mbit", "1MB", "mbit", "0.0001kbit"] {
            assert_eq!(second(text), None, "{text}");
        }
        for text in ["5%", "0.1%", "100%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        for text in ["500kbit", "1.5mbit", "2gbit"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }
}
