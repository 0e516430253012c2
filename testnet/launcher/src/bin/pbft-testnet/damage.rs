//! `damage`: what a replica makes of a damaged disk.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use pbft_testnet::damage::{self, Damage};

use crate::arguments::{DamageArguments, Format};
use crate::exit::{VERDICT_FAILED, keep, keep_if_begun};
use crate::output::{json, result};
use crate::progress::Shown;

/// How long a replica may take to come to the others' state: a few times what is usual on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn run(arguments: DamageArguments, quiet: bool) -> anyhow::Result<u8> {
    let DamageArguments { tries, seed, write } = arguments;
    let seed = seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let folder = tempfile::Builder::new().prefix("pbft-testnet-").tempdir().context("a temporary folder")?;
    let progress = Arc::new(Shown::new(quiet));
    let job = Damage { tries: tries as usize, seed, folder: folder.path().to_owned(), patience: PATIENCE };
    let report = damage::run(job, progress.clone()).await;
    progress.finish();
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            keep_if_begun(folder);
            return Err(error.into());
        }
    };
    match write {
        Format::Json => json(&report)?,
        Format::Simple => {
            for (name, it) in &report.files {
                let damage::Outcomes { refused, harmless, failed } = it;
                result(&format!("{name}: {refused} refused, {harmless} harmless, {failed} failed"))?;
            }
            report.failures.iter().try_for_each(|failure| result(failure))?;
        }
        Format::Table => result(&report.table())?,
    }
    if report.failures.is_empty() {
        return Ok(0);
    }
    // The undamaged files are in the folder `sound`, so that a try can be made again by hand.
    keep(folder);
    Ok(VERDICT_FAILED)
}
