//! What came of a job, for people.

use super::report::{Phases, Report};
use crate::trial::{Check, Verdict, empty_table};

/// The tables that a person understands without having read the paper.
#[must_use]
pub fn table(report: &Report) -> String {
    let (n, f) = (report.replicas, report.faults_tolerated);
    let mut story = empty_table();
    story.set_header(["What was done", "What came of it"]);
    for (what, outcome) in lines(&report.phases, n, f) {
        story.add_row([what, outcome]);
    }
    let checks = Check::table(&report.checks);
    let verdict = match report.verdict {
        Verdict::Pass => format!(
            "PASS: {} operations, acknowledged by a cluster of {n} that lost its primary to a crash and another to a lie",
            report.operations
        ),
        Verdict::Fail => format!("FAIL: {}", report.reasons.join("; ")),
    };
    let Report { durability, view_timeout_ms, seed, version, revision, processor, .. } = report;
    format!(
        "{story}\n{checks}\n{verdict}\nseed {seed}, durability {durability}, view timeout {view_timeout_ms} ms, \
         version {version} ({revision}), {processor}"
    )
}

fn lines(phases: &Phases, n: usize, f: usize) -> Vec<(String, String)> {
    let seconds = |seconds: Option<f64>| seconds.map_or("never".to_owned(), |it| format!("{it:.2} s"));
    let leads = |primary: Option<pbft_messages::ReplicaId>| {
        primary.map_or("nobody took over".to_owned(), |primary| format!("{primary} took over"))
    };
    let Phases { start, load, steady, crash, restart, lie } = phases;
    let mut lines = vec![(
        format!("started {n} replicas"),
        format!("served after {:.2} s; up to {f} may be faulty at a time", start.seconds),
    )];
    if let Some(load) = load {
        let rate = load.records as f64 / load.seconds.max(1e-9);
        lines.push((
            format!("loaded {} records", load.records),
            format!("took {:.2} s, {rate:.0} records/s", load.seconds),
        ));
    }
    if let Some(steady) = steady {
        lines.push((
            format!("mixed traffic of {} clients", steady.sessions * steady.depth),
            format!("{:.0} operations/s, each signed and agreed on", steady.per_second),
        ));
    }
    if let Some(crash) = crash {
        lines.push((
            format!("killed {}, the primary (kill -9)", crash.replica),
            format!("service paused {}, then {}", seconds(crash.paused_seconds), leads(crash.new_primary)),
        ));
    }
    if let Some(restart) = restart {
        lines.push((
            format!("started {} again", restart.replica),
            format!(
                "listened after {:.2} s, had caught up after {}",
                restart.listens_seconds,
                seconds(restart.caught_up_seconds)
            ),
        ));
    }
    if let Some(lie) = lie {
        lines.push((
            format!("made {}, the primary, contradict itself", lie.replica),
            format!(
                "proof after {}; longest pause {}, then {}",
                seconds(lie.found_seconds),
                seconds(lie.paused_seconds),
                leads(lie.new_primary)
            ),
        ));
    }
    lines
}
