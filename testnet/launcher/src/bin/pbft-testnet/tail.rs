//! What replicas write, as it is and as it comes.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use pbft_testnet::Testnet;

use crate::arguments::One;
use crate::output;

/// How often a followed file is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

pub(crate) async fn events(dir: &Path, follow: bool) -> anyhow::Result<u8> {
    let testnet = Testnet::open(dir)?;
    let events = testnet.events()?;
    for event in &events {
        output::json(event)?;
    }
    if follow {
        let mut following = testnet.follow_events(&events).await?;
        while let Some(event) = following.next().await {
            output::json(&event)?;
        }
    }
    Ok(0)
}

pub(crate) async fn logs(one: &One, follow: bool) -> anyhow::Result<u8> {
    let testnet = Testnet::open(&one.at.dir)?;
    let replica = testnet.known(one.replica)?;
    let path = testnet.folder().log(replica);
    let mut file = File::open(&path).with_context(|| format!("log {}", path.display()))?;
    let mut looks = tokio::time::interval(INTERVAL);
    loop {
        let mut news = Vec::new();
        file.read_to_end(&mut news)?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&news)?;
        stdout.flush()?;
        drop(stdout);
        if !follow {
            return Ok(0);
        }
        looks.tick().await;
    }
}
