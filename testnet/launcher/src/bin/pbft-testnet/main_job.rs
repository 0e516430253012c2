//! Without a command: the main job.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use pbft_testnet::job::{self, Job, Report, table};
use pbft_testnet::traffic::Plan;
use pbft_testnet::{Durability, Verdict};

use crate::arguments::JobArguments;
use crate::exit::{VERDICT_FAILED, keep, keep_if_begun};
use crate::output::{note, result};
use crate::progress::Shown;

pub(crate) async fn run(arguments: JobArguments, quiet: bool) -> anyhow::Result<u8> {
    let JobArguments { n, output, seed, records, sessions, calm, patience } = arguments;
    // Found out now rather than after a minute of work.
    if let Some(output) = &output {
        fs::create_dir_all(output).with_context(|| format!("output folder {}", output.display()))?;
    }
    let seed = seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let plan = Plan { seed, records, sessions: sessions.into(), ..Plan::default() };
    // Removed when this future is dropped, whether it came to its end or was interrupted.
    let temporary =
        tempfile::Builder::new().prefix("pbft-testnet-").tempdir().context("a temporary folder")?;
    let job = Job {
        n,
        // A replica that keeps its votes in memory cannot come back from its disk, which this job is to show.
        durability: Durability::Sync,
        folder: temporary.path().to_owned(),
        plan,
        calm: Duration::from_millis(calm),
        patience: Duration::from_secs(patience.into()),
    };
    let progress = Arc::new(Shown::new(quiet));
    let done = job::run(job, progress.clone()).await;
    progress.finish();
    let report = match done {
        Ok(report) => report,
        Err(error) => {
            keep_if_begun(temporary);
            return Err(error.into());
        }
    };
    let failed = report.verdict == Verdict::Fail;
    if failed {
        // Before anything that can fail itself: whoever wants to know why needs the logs and the stores.
        keep(temporary);
    }
    result(&table(&report))?;
    if let Some(output) = output {
        write(&report, &output.join("report.json"))?;
    }
    Ok(if failed { VERDICT_FAILED } else { 0 })
}

fn write(report: &Report, path: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    fs::write(path, text + "\n").with_context(|| format!("report {}", path.display()))?;
    note(&format!("report written to {}", path.display()));
    Ok(())
}
