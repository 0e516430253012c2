//! Times as scenarios write them: `350ms`, `2s`, `10m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time of a scenario, written as a number and a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl Time {
    /// So many milliseconds.
    #[must_use]
    pub const fn ms(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }
}

/// The units, largest first, with their lengths in nanoseconds.
const UNITS: [(&str, u128); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1000),
    ("ns", 1),
];

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time: write 2s, 350ms or 10m")]
pub struct NoTime(String);

impl FromStr for Time {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        let parse = || {
            let (number, unit) = text.split_at(text.find(|it: char| it.is_ascii_alphabetic())?);
            let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
            let all = number.parse::<u64>().ok().map(u128::from)? * nanoseconds;
            u64::try_from(all).ok().map(|all| Self(Duration::from_nanos(all)))
        };
        parse().ok_or_else(|| NoTime(text.to_owned()))
    }
}

/// In the largest unit in which it is a whole number.
impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        let whole = |(_, length): &&(&str, u128)| nanoseconds > 0 && nanoseconds.is_multiple_of(*length);
        let (unit, length) = UNITS.iter().find(whole).unwrap_or(&("ms", 1));
        write!(formatter, "{}{unit}", nanoseconds / length)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_read() {
        for (text, nanoseconds) in [
            ("2s", 2_000_000_000),
            ("350ms", 350_000_000),
            ("1500us", 1_500_000),
            ("7ns", 7),
            ("0ms", 0),
            ("2m", 120_000_000_000),
        ] {
            let time: Time = text.parse().unwrap();
            assert_eq!((time.0.as_nanos(), time.to_string().as_str()), (nanoseconds, text));
        }
        assert_eq!("1000ms".parse::<Time>().unwrap().to_string(), "1s");
        for text in
            ["", "7", "s", "-1s", "3d", "1s2", "1.5s", "99999999999999999999s", "18446744073709551615s"]
        {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }
}
