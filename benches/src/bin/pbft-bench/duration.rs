//! Times as people write them.

use std::time::Duration;

/// Reads a whole number with its unit, above 0.
pub(crate) fn positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("the time must be above 0".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a whole number with its unit.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || "write a number and a unit, as in 10s, 500ms or 2m".to_owned();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    match number.checked_mul(milliseconds) {
        // A year is as good as for ever, and keeps clear of the clock's end.
        Some(total @ 0..=31_536_000_000) => Ok(Duration::from_millis(total)),
        _ => Err("the time must be at most a year".to_owned()),
    }
}

/// A latency for people: three digits that count, with the unit that suits.
pub(crate) fn readable(microseconds: f64) -> String {
    match microseconds {
        below if below < 1000.0 => format!("{below:.0} µs"),
        below if below < 10_000.0 => format!("{:.2} ms", below / 1000.0),
        below if below < 100_000.0 => format!("{:.1} ms", below / 1000.0),
        below if below < 1_000_000.0 => format!("{:.0} ms", below / 1000.0),
        any => format!("{:.2} s", any / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(positive("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(positive("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(positive("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        for wrong in ["", "s", "20", "1.5s", "-1s", "0s", "20 s", "9999999999h", "99999999999999999999s"] {
            assert!(positive(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn latencies_are_readable() {
        let texts = [999.4, 1234.0, 12_340.0, 123_400.0, 1_234_000.0].map(readable);
        assert_eq!(texts, ["999 µs", "1.23 ms", "12.3 ms", "123 ms", "1.23 s"]);
    }
}
