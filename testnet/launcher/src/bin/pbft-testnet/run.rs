//! `run`: trials from manifests, one after the other.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use pbft_testnet::Verdict;
use pbft_testnet::manifest::{self, Manifest, Report};

use crate::arguments::Format;
use crate::exit::{BAD_INPUT, VERDICT_FAILED, keep, keep_if_begun};
use crate::output::{json, note, result};
use crate::progress::Shown;

pub(crate) async fn run(paths: &[PathBuf], format: Format, quiet: bool) -> anyhow::Result<u8> {
    // All are read first: a mistake in the last one shows before minutes are spent on the others.
    let (mut manifests, mut bad) = (Vec::new(), false);
    for path in paths {
        match Manifest::read(path) {
            Ok(manifest) => manifests.push(manifest),
            Err(error) => {
                bad = true;
                note(&format!("error: {error}"));
            }
        }
    }
    if bad {
        return Ok(BAD_INPUT);
    }
    let mut failed = Vec::new();
    for manifest in &manifests {
        let report = match one(manifest, quiet).await {
            Ok(report) => report,
            // The others are run all the same.
            Err(error) => {
                let error = format!("{error:#}");
                note(&format!("{}: {error}", manifest.name));
                if format == Format::Json {
                    json(&not_held(&manifest.name, &error))?;
                } else {
                    result(&format!("FAIL {}: {error}", manifest.name))?;
                }
                failed.push(manifest.name.clone());
                continue;
            }
        };
        match format {
            Format::Simple => result(&manifest::lines(&report))?,
            Format::Table => result(&format!("{}\n", manifest::table(&report)))?,
            Format::Json => json(&report)?,
        }
        if report.verdict == Verdict::Fail {
            failed.push(report.name);
        }
    }
    if manifests.len() > 1 {
        let (passed, all) = (manifests.len() - failed.len(), manifests.len());
        let names =
            if failed.is_empty() { String::new() } else { format!("; failed: {}", failed.join(", ")) };
        note(&format!("{passed} of {all} manifests passed{names}"));
    }
    Ok(if failed.is_empty() { 0 } else { VERDICT_FAILED })
}

/// The report of a trial that could not be held, for who reads JSON.
pub(crate) fn not_held(name: &str, error: &str) -> serde_json::Value {
    serde_json::json!({ "name": name, "verdict": Verdict::Fail, "reasons": [error] })
}

/// Runs one manifest, and keeps the replicas' folders if it failed.
pub(crate) async fn one(manifest: &Manifest, quiet: bool) -> anyhow::Result<Report> {
    // Removed when this future is dropped, whether it came to its end or was interrupted.
    let folder = tempfile::Builder::new().prefix("pbft-testnet-").tempdir().context("a temporary folder")?;
    let progress = Arc::new(Shown::new(quiet));
    let done = manifest::run(manifest, folder.path(), progress.clone()).await;
    progress.finish();
    match done {
        Ok(report) if report.verdict == Verdict::Pass => Ok(report),
        Ok(report) => {
            keep(folder);
            Ok(report)
        }
        Err(error) => {
            keep_if_begun(folder);
            Err(anyhow::Error::new(error))
        }
    }
}
