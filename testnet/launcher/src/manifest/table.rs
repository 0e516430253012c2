//! What came of a manifest, for people.

use super::{Report, Series, StepReport, Usage};
use crate::attack::Attacked;
use crate::trial::empty_table;
use crate::{Check, Verdict};

/// The tables that tell what was done, what was found, and the verdict.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut text = format!("{}: {}\n", report.name, report.description);
    if !report.steps.is_empty() {
        let mut steps = empty_table();
        steps.set_header(["At", "What was done", "It took", "Service paused", "Caught up after"]);
        for step in &report.steps {
            steps.add_row(cells(step));
        }
        text += &format!("{steps}\n");
    }
    for (strategy, Attacked { sent, heard, cut }) in &report.attacks {
        text += &format!("{strategy}: {sent} messages sent, {heard} came back, {cut} connections cut\n");
    }
    text += &format!("seen by the others: {}\n", report.seen);
    if !report.usage.is_empty() {
        let mut usage = empty_table();
        usage.set_header(["After warm-up, MiB", "at first", "median", "at last", "most"]);
        for it in &report.usage {
            usage.add_row(series(&format!("{} memory", it.replica), &it.memory));
            usage.add_row(series(&format!("{} disk", it.replica), &it.disk));
        }
        text += &format!("{usage}\n");
    }
    format!("{text}{}\n{}", Check::table(&report.checks), verdict(report))
}

/// The same as plain lines.
#[must_use]
pub fn lines(report: &Report) -> String {
    let steps = report.steps.iter().map(|step| {
        let [at, what, took, paused, caught_up] = cells(step);
        let caught_up =
            if caught_up.is_empty() { caught_up } else { format!(", caught up after {caught_up}") };
        format!("{at} {what}: took {took}, service paused {paused}{caught_up}")
    });
    let usage = report.usage.iter().flat_map(|Usage { replica, memory, disk }| {
        [("memory", memory), ("disk", disk)].map(|(what, it)| {
            let [_, first, median, last, max] = series("", it);
            format!("{replica} {what} in MiB: first {first}, median {median}, last {last}, most {max}")
        })
    });
    let checks = report.checks.iter().map(|check| {
        let mark = if check.passed { "yes" } else { "NO" };
        format!("{mark}: {}: {}", check.name, check.detail)
    });
    let seen = format!("seen by the others: {}", report.seen);
    let all: Vec<_> = steps.chain([seen]).chain(usage).chain(checks).chain([verdict(report)]).collect();
    all.join("\n")
}

fn verdict(report: &Report) -> String {
    let Report { name, seconds, operations, unanswered, throughput, longest_pause_seconds, .. } = report;
    let figures = format!(
        "{seconds:.1} s, {operations} operations answered, {unanswered} not, {throughput:.0}/s, longest pause \
         {longest_pause_seconds:.2} s"
    );
    match report.verdict {
        Verdict::Pass => format!("PASS {name}: {figures}"),
        Verdict::Fail => format!("FAIL {name}: {} ({figures})", report.reasons.join("; ")),
    }
}

fn cells(step: &StepReport) -> [String; 5] {
    let caught_up = step.caught_up_seconds.iter().map(|(replica, took)| match took {
        Some(took) if step.replicas.len() == 1 => format!("{took:.2} s"),
        Some(took) => format!("{replica} {took:.2} s"),
        None => format!("{replica} did not"),
    });
    [
        format!("{:.1} s", step.began_seconds),
        step.to_string(),
        format!("{:.2} s", step.took_seconds),
        format!("{:.2} s", step.pause_seconds),
        caught_up.collect::<Vec<_>>().join(", "),
    ]
}

fn series(name: &str, series: &Series) -> [String; 5] {
    let mebibytes = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let Series { first, median, last, max } = *series;
    [name.to_owned(), mebibytes(first), mebibytes(median), mebibytes(last), mebibytes(max)]
}
