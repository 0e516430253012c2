//! `trials`: every strategy live, under load.

use std::time::Duration;

use pbft_byzantine::{CLIENT_STRATEGIES, STRATEGIES};
use pbft_testnet::Verdict;
use pbft_testnet::attack::Attacked;
use pbft_testnet::manifest::{self, Report, StrategyTrial};

use crate::arguments::Format;
use crate::exit::VERDICT_FAILED;
use crate::output::{BadInput, json, note, result, table, word};
use crate::run::{not_held, one};

pub(crate) async fn run(names: &[String], format: Format, quiet: bool) -> anyhow::Result<u8> {
    let known = || STRATEGIES.iter().chain(CLIENT_STRATEGIES).map(|it| it.name);
    if let Some(name) = names.iter().find(|name| !known().any(|it| it == name.as_str())) {
        let all = known().collect::<Vec<_>>().join(", ");
        return Err(BadInput(format!("no strategy is called {name:?}: there are {all}")).into());
    }
    let chosen =
        |it: &StrategyTrial| names.is_empty() || names.iter().any(|name| name == it.description.name);
    let mut rows = table([
        "row",
        "strategy",
        "where",
        "held",
        "longest pause",
        "answers/s",
        "evidence",
        "what it did, and what others saw of it",
        "what did not hold",
    ]);
    let (mut passed, mut all) = (0, 0);
    for trial in manifest::trials().filter(chosen) {
        all += 1;
        let report = match one(&trial.manifest, quiet).await {
            Ok(report) => report,
            // The others are tried all the same.
            Err(error) => {
                let (name, error) = (&trial.manifest.name, format!("{error:#}"));
                note(&format!("{name}: {error}"));
                let mut cells = <[String; 9]>::default();
                cells[0] = trial.description.row.to_string();
                (cells[1], cells[3], cells[8]) = (name.clone(), "NO".into(), error.clone());
                match format {
                    Format::Simple => result(&cells.join(" "))?,
                    Format::Table => drop(rows.add_row(cells)),
                    Format::Json => json(&not_held(name, &error))?,
                }
                continue;
            }
        };
        passed += usize::from(report.verdict == Verdict::Pass);
        let cells = cells(&trial, &report);
        match format {
            Format::Simple => result(&cells.join(" "))?,
            Format::Table => drop(rows.add_row(cells)),
            Format::Json => json(&report)?,
        }
    }
    if format == Format::Table {
        result(&rows.to_string())?;
    }
    note(&format!("{passed} of {all} strategies did no harm that they should not"));
    Ok(if passed == all { 0 } else { VERDICT_FAILED })
}

fn cells(StrategyTrial { description, manifest }: &StrategyTrial, report: &Report) -> [String; 9] {
    let limit = manifest.expect.pause_at_most.unwrap_or(Duration::MAX).as_secs_f64();
    let mut proofs: Vec<_> =
        report.evidence.iter().map(|it| format!("{}: {}", it.accused, word(&it.kind))).collect();
    proofs.dedup();
    // Of one that did nothing it is not known whether it would be defeated.
    let idle = manifest.expect.altered.is_empty() && report.attacks.is_empty();
    let held = match report.verdict {
        Verdict::Pass if idle => "untried",
        Verdict::Pass => "yes",
        Verdict::Fail => "NO",
    };
    [
        description.row.to_string(),
        manifest.name.clone(),
        word(&description.stage),
        held.to_owned(),
        format!("{:.2} of {limit:.1} s", report.longest_pause_seconds),
        format!("{:.0}", report.throughput),
        if proofs.is_empty() { "-".to_owned() } else { proofs.join(", ") },
        seen(report),
        report.reasons.join("; "),
    ]
}

/// What malicious clients and replicas did, and what correct ones reported.
fn seen(report: &Report) -> String {
    let attacks = report.attacks.iter().map(|(_, Attacked { sent, heard, cut })| {
        format!("{sent} messages sent, {heard} answers, {cut} connections cut")
    });
    let replicas = report.status.iter().flat_map(|status| &status.replicas).filter(|it| it.altered > 0);
    let altered = replicas.map(|it| format!("{} altered {} messages", it.replica, it.altered));
    attacks.chain(altered).chain([report.seen.to_string()]).collect::<Vec<_>>().join("; ")
}
