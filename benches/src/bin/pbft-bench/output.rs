//! Prints the result: text and tables for people, JSON for programs.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use comfy_table::{CellAlignment, Table, presets};

use pbft_bench::{
    Distribution, Punctuality, Report, SeriesReport, SettingsRecord, Verdict, VerdictResult, Workload,
};

use crate::arguments::Format;
use crate::duration::readable;
use crate::failure::{Failure, Outcome};

const HEADER: [&str; 11] =
    ["", "answered", "a second", "p50", "p90", "p99", "p99.9", "max", "mean", "unknown", "failed"];

/// Writes to standard output.
pub(crate) fn write_all(bytes: &[u8]) -> Outcome {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

/// Prints a result.
pub(crate) fn print(report: &Report, format: Format) -> Outcome {
    let text = match format {
        Format::Simple => text(report, &aligned(&rows(report))),
        Format::Table => text(report, &table(rows(report))),
        Format::Json => serde_json::to_string(report).map_err(Failure::error)? + "\n",
    };
    write_all(text.as_bytes())
}

/// What both kinds of text say around the numbers.
fn text(report: &Report, numbers: &str) -> String {
    let settings = &report.record.settings;
    let cluster = &report.record.cluster;
    let mut text = format!("{}\n", report.loop_note);
    // Writing to a string does not fail, here and below.
    let _ = writeln!(text, "{}", load(settings));
    let _ = writeln!(
        text,
        "{:.2} s after {} s of warm-up, seed {}, {} replicas (f = {})",
        report.duration_s, settings.warmup_s, settings.seed, cluster.n, cluster.f,
    );
    let _ = writeln!(text, "\n{numbers}");
    if report.interrupted {
        text.push_str("interrupted: this is what was measured until then\n");
    }
    if let Some(Punctuality { arrivals, late, shed }) = report.punctuality
        && late + shed > 0
    {
        let _ = writeln!(text, "of {arrivals} requests due, {late} were sent more than 1 ms late");
        if shed > 0 {
            let _ = writeln!(
                text,
                "the cluster did not keep up: {shed} requests were due and never sent, so the latencies are too good"
            );
        }
    }
    if report.reads_not_found > 0 {
        let _ = writeln!(text, "{} reads found no such key", report.reads_not_found);
    }
    if report.reads_fell_back > 0 {
        let _ = writeln!(text, "{} unordered reads were ordered after all", report.reads_fell_back);
    }
    if report.sessions_lost > 0 {
        let _ =
            writeln!(text, "{} connections ended early: their sessions had expired", report.sessions_lost);
    }
    for (name, count) in &report.errors {
        let _ = writeln!(text, "without an answer: {count} {name}");
    }
    text.push_str(&verdict(&report.verdict));
    text
}

/// What was sent.
fn load(settings: &SettingsRecord) -> String {
    let mut text = format!("{} connections", settings.connections);
    // Writing to a string does not fail, here and below.
    for (count, meaning) in [
        (settings.identities, "identities"),
        (settings.pipeline, "bundles under way on each"),
        (settings.bundle, "requests a bundle"),
    ] {
        if count > 1 {
            let _ = write!(text, ", {count} {meaning}");
        }
    }
    if let (Some(rate), Some(arrivals)) = (settings.rate_per_s, settings.arrivals) {
        let _ = write!(text, ", {rate} requests/s ({arrivals})");
    }
    let Workload { reads, scans, inserts, modifies, .. } = settings.workload;
    let (payload, keys) = (settings.payload, settings.keys);
    let _ = write!(text, ", {payload}-byte values, {keys} keys");
    match settings.key_distribution {
        Distribution::Uniform => {}
        Distribution::Zipfian => text.push_str(" (zipfian)"),
        Distribution::Latest => text.push_str(" (latest first)"),
    }
    for (part, name) in
        [(reads, "reads"), (scans, "scans"), (inserts, "inserts"), (modifies, "read-modify-writes")]
    {
        if part > 0.0 || name == "reads" {
            let _ = write!(text, ", {}% {name}", (part * 1000.0).round() / 10.0);
        }
    }
    if reads + scans > 0.0 {
        let _ = write!(text, " ({})", settings.read_path);
    }
    text
}

fn verdict(verdict: &Verdict) -> String {
    let Verdict { keys_written, keys_to_read_back, confirmed, confirmed_later, .. } = verdict;
    let name = match verdict.result {
        VerdictResult::Pass => "pass",
        VerdictResult::Fail => "FAIL",
        VerdictResult::Unknown => "unknown",
    };
    let mut text = format!(
        "verdict: {name}; {keys_to_read_back} of {keys_written} keys with acknowledged writes read back: {confirmed} \
         hold the last one"
    );
    for (count, meaning) in [
        (*confirmed_later, "hold a later one of unknown outcome"),
        (verdict.foreign, "were overwritten by somebody else"),
        (verdict.unread, "could not be read"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {meaning}");
        }
    }
    let _ = writeln!(
        text,
        "; {} answers in order with real time",
        match verdict.violations {
            0 => format!("all {}", verdict.answers_checked),
            _ => format!("not all {}", verdict.answers_checked),
        }
    );
    for reason in &verdict.reasons {
        let _ = writeln!(text, "  {reason}");
    }
    text
}

fn rows(report: &Report) -> Vec<Vec<String>> {
    let parts = [("reads", &report.reads), ("writes", &report.writes), ("all", &report.all)];
    let present = |(_, series): &(&str, &SeriesReport)| series.completed + series.unknown + series.failed > 0;
    parts
        .into_iter()
        .filter(|part| part.0 == "all" || present(part))
        .map(|(name, series)| row(name, series))
        .collect()
}

fn row(name: &str, series: &SeriesReport) -> Vec<String> {
    let latencies = match &series.latency_us {
        Some(latency) => {
            let whole = [latency.p50, latency.p90, latency.p99, latency.p99_9, latency.max];
            whole
                .map(|microseconds| microseconds as f64)
                .into_iter()
                .chain([latency.mean])
                .map(readable)
                .collect()
        }
        None => vec!["-".to_owned(); 6],
    };
    let mut row =
        vec![name.to_owned(), series.completed.to_string(), format!("{:.0}", series.throughput_per_s)];
    row.extend(latencies);
    row.extend([series.unknown.to_string(), series.failed.to_string()]);
    row
}

/// Columns that line up, the first to the left and the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let header = HEADER.map(str::to_owned).to_vec();
    let all: Vec<_> = std::iter::once(&header).chain(rows).collect();
    let widths: Vec<_> = (0..header.len())
        .map(|column| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in all {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

fn table(rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(HEADER).add_rows(rows);
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    format!("{table}\n")
}
