//! Telling how a trial is getting on.

use std::sync::Arc;
use std::time::Duration;

use crate::traffic::Meter;

/// Hears how a trial is getting on.
pub trait Progress: Send + Sync {
    /// Something new begins, or has come out.
    fn step(&self, text: &str);
    /// How things are at the moment; often.
    fn live(&self, text: &str);
}

/// Tells the progress several times a second, until it is dropped.
pub(crate) struct Live(tokio::task::JoinHandle<()>);

impl Live {
    pub(crate) fn start(meter: Arc<Meter>, progress: Arc<dyn Progress>) -> Self {
        Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(200));
            loop {
                ticks.tick().await;
                let now = meter.now();
                let rate = meter.rate(now.saturating_sub(Duration::from_secs(1)), now);
                progress.live(&format!("{} operations acknowledged, {rate:.0}/s", meter.answered()));
            }
        }))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.abort();
    }
}
