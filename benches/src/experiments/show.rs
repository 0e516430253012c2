//! How numbers are written for people.

use super::statistics::Spread;
use crate::lab::Figures;
use crate::page::Table;
use crate::verdict::VerdictResult;

/// Three digits that count, with the unit that suits.
pub(super) fn latency(microseconds: Option<u64>) -> String {
    match microseconds.map(|it| it as f64) {
        None => "-".to_owned(),
        Some(below) if below < 1000.0 => format!("{below:.0} µs"),
        Some(below) if below < 10_000.0 => format!("{:.2} ms", below / 1000.0),
        Some(below) if below < 1_000_000.0 => format!("{:.0} ms", below / 1000.0),
        Some(any) => format!("{:.2} s", any / 1_000_000.0),
    }
}

/// Requests a second, with a mark between thousands.
pub(super) fn rate(per_second: f64) -> String {
    let digits = format!("{per_second:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Repeated measurements of requests a second: the median, and between what.
pub(super) fn rates(Spread { count, min, median, max }: Spread) -> String {
    format!("{}/s ({} to {} over {count})", rate(median), rate(min), rate(max))
}

/// A ratio to something.
pub(super) fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}

/// Processor time of a request.
pub(super) fn processor(microseconds: Option<f64>) -> String {
    microseconds.map_or("-".to_owned(), |it| format!("{it:.0} µs"))
}

pub(super) fn verdict(it: &Figures) -> String {
    match it.verdict {
        VerdictResult::Pass if it.p50_us.is_none() => "no answers",
        VerdictResult::Pass => "pass",
        VerdictResult::Fail => "FAIL",
        VerdictResult::Unknown => "unknown",
    }
    .to_owned()
}

/// Bytes as people count memory.
pub(super) fn megabytes(bytes: f64) -> String {
    format!("{:.0} MB", bytes / 1e6)
}

/// What there is to say of a run: its load, rate, latencies, cost and verdict.
pub(super) fn run(it: &Figures) -> [String; 6] {
    [
        it.load.outstanding().to_string(),
        rate(it.throughput_per_s),
        latency(it.p50_us),
        latency(it.p99_us),
        processor(it.processor_us),
        verdict(it),
    ]
}

/// A row for each run, with its name.
pub(super) fn runs<'a>(name: &str, runs: impl IntoIterator<Item = (String, &'a Figures)>) -> Table {
    let mut table =
        Table::new(&[name, "under way", "a second", "p50", "p99", "processor time a request", "verdict"]);
    for (name, figures) in runs {
        table.add(std::iter::once(name).chain(run(figures)).collect());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let rates = [0.4, 320.0, 2350.4, 70_000.0, 1_234_567.0].map(rate);
        assert_eq!(rates, ["0", "320", "2,350", "70,000", "1,234,567"]);
        let spread = Spread { count: 2, min: 900.0, median: 1000.0, max: 1100.0 };
        assert_eq!(super::rates(spread), "1,000/s (900 to 1,100 over 2)");
        let latencies = [Some(999), Some(1234), Some(12_340), Some(1_234_000), None].map(latency);
        assert_eq!(latencies, ["999 µs", "1.23 ms", "12 ms", "1.23 s", "-"]);
    }
}
