//! Which views a cluster is in, while it is under load.

use std::time::{Duration, Instant};

use pbft_testnet::{Roots, Testnet};

use super::{LabError, Run};

/// How often the replicas are asked: seldom enough to cost them nothing.
const INTERVAL: Duration = Duration::from_millis(200);

/// The views that were seen, with the time at which each was seen first.
#[derive(Clone, Debug, Default)]
pub struct Views(Vec<(Instant, u64)>);

impl Views {
    /// Watches a testnet, until this future is dropped or the testnet cannot be asked.
    pub async fn watch(&mut self, testnet: &Testnet) -> LabError {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            match testnet.status(Roots::Spared).await {
                Ok(status) => self.seen(Instant::now(), status.view()),
                Err(error) => return error.into(),
            }
        }
    }

    /// Takes note of the view that most replicas agree on, if they do.
    fn seen(&mut self, at: Instant, view: Option<u64>) {
        if let Some(view) = view
            && self.0.last().is_none_or(|(_, last)| *last < view)
        {
            self.0.push((at, view));
        }
    }

    /// The changes since watching began, in seconds since a run's warm-up ended.
    #[must_use]
    pub fn changes(&self, run: &Run) -> Vec<(f64, u64)> {
        // One may come while the load warms up.
        let since = |at: Instant| at.saturating_duration_since(run.measured.measured_from).as_secs_f64();
        self.0.iter().skip(1).map(|(at, view)| (since(*at), *view)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_told_once() {
        let mut views = Views::default();
        let now = Instant::now();
        for view in [Some(0), None, Some(0), Some(2), Some(2), Some(1), Some(3)] {
            views.seen(now, view);
        }
        assert_eq!(views.0, [(now, 0), (now, 2), (now, 3)]);
    }
}
