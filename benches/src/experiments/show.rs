//! How numbers are written for people.

use super::statistics::Spread;
use crate::lab::Figures;
use crate::page::Table;
use crate::references::EtcdRun;
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

/// Repeated measurements: the median, and between what. One is told by itself.
fn spread(it: Option<Spread>, told: impl Fn(f64) -> String) -> String {
    match it {
        None => "-".to_owned(),
        Some(Spread { count: 1, median, .. }) => told(median),
        Some(Spread { count, min, median, max }) => {
            format!("{} ({} to {} over {count})", told(median), told(min), told(max))
        }
    }
}

/// Repeated measurements of requests a second.
pub(super) fn rates(it: Option<Spread>) -> String {
    spread(it, |per_second| format!("{}/s", rate(per_second)))
}

/// Repeated measurements of a ratio.
pub(super) fn ratios(it: Option<Spread>) -> String {
    spread(it, ratio)
}

/// Repeated measurements of a latency, in microseconds.
pub(super) fn latencies(it: Option<Spread>) -> String {
    spread(it, |microseconds| latency(Some(microseconds.round() as u64)))
}

/// A ratio to something.
pub(super) fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}

/// Processor time of a request.
pub(super) fn processor(microseconds: Option<f64>) -> String {
    microseconds.map_or("-".to_owned(), |it| format!("{it:.0} µs"))
}

/// Whether a run kept its word, and answered.
pub(super) fn verdict(it: &Figures) -> String {
    match it.verdict {
        VerdictResult::Fail => "FAIL".to_owned(),
        VerdictResult::Unknown => "unknown".to_owned(),
        VerdictResult::Pass => answered(it.p50_us.is_some(), it.unanswered()),
    }
}

/// The verdict on a run that kept its word.
fn answered(any: bool, unanswered: u64) -> String {
    match unanswered {
        0 if any => "pass".to_owned(),
        0 => "no answers".to_owned(),
        count => format!("{count} unanswered"),
    }
}

/// The verdict on several runs: that on the first which is not good.
pub(super) fn verdicts<'a>(runs: impl IntoIterator<Item = &'a Figures>) -> String {
    runs.into_iter().find(|it| !it.kept()).map_or("pass".to_owned(), verdict)
}

/// The same of a run on etcd.
pub(super) fn verdict_on_etcd(it: &EtcdRun) -> String {
    let verdict =
        if it.violations > 0 { "FAIL".to_owned() } else { answered(it.throughput_per_s > 0.0, it.failed) };
    if it.led { verdict } else { format!("{verdict}; its leader changed: not compared") }
}

/// Why an experiment ended early, if it did.
pub(super) fn stopped(why: Option<&String>) -> Option<String> {
    why.map(|why| format!("Stopped early, with what was measured until then: {why}."))
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
    use crate::lab::figures;

    #[test]
    fn numbers_are_readable() {
        let rates = [0.4, 320.0, 2350.4, 70_000.0, 1_234_567.0].map(rate);
        assert_eq!(rates, ["0", "320", "2,350", "70,000", "1,234,567"]);
        let spread = Spread { count: 2, min: 900.0, median: 1000.0, max: 1100.0 };
        assert_eq!(super::rates(Some(spread)), "1,000/s (900/s to 1,100/s over 2)");
        assert_eq!(super::latencies(Some(spread)), "1.00 ms (900 µs to 1.10 ms over 2)");
        assert_eq!((super::ratios(Spread::of(&[0.5])), super::ratios(None)), ("0.50".into(), "-".into()));
        let latencies = [Some(999), Some(1234), Some(12_340), Some(1_234_000), None].map(latency);
        assert_eq!(latencies, ["999 µs", "1.23 ms", "12 ms", "1.23 s", "-"]);
    }

    #[test]
    fn requests_without_an_answer_are_told() {
        let good = figures(10.0, 1, 2);
        let some = Figures { unknown: 1, failed: 2, ..good.clone() };
        assert_eq!(verdicts([&good, &good]), "pass");
        assert_eq!(verdicts([&good, &some]), "3 unanswered");
        assert_eq!(verdict(&Figures { verdict: VerdictResult::Fail, ..some }), "FAIL");
        assert_eq!(verdict(&Figures { p50_us: None, ..good }), "no answers");
    }
}
