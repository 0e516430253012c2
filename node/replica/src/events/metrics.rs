//! Counts and gauges, in Prometheus' text form.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use pbft_protocol::Report;

type Labels = [(&'static str, String); 1];
type Level = Gauge<u64, AtomicU64>;

macro_rules! metrics {
    ($($field:ident: $type:ty = $help:literal),* $(,)?) => {
        /// All that is counted over the life of a replica, and its state as last reported.
        pub(crate) struct Metrics {
            registry: Registry,
            commit_time: Histogram,
            commit_writes: Histogram,
            $($field: $type,)*
        }

        impl Default for Metrics {
            fn default() -> Self {
                let mut registry = Registry::with_prefix("pbft");
                let commit_time = Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
                let commit_writes = Histogram::new(exponential_buckets(1.0, 2.0, 9));
                registry.register_with_unit(
                    "commit_time", "How long a durable transaction took", Unit::Seconds, commit_time.clone(),
                );
                registry.register("commit_writes", "Writes that one transaction covered", commit_writes.clone());
                $(let $field = <$type>::default();
                registry.register(stringify!($field), $help, $field.clone());)*
                Self { registry, commit_time, commit_writes, $($field,)* }
            }
        }
    };
}

metrics! {
    proposed: Counter = "Batches proposed by this replica as primary",
    prepared: Counter = "Prepared certificates",
    committed: Counter = "Committed certificates",
    executed_batches: Counter = "Batches executed",
    executed_requests: Counter = "Requests that the service executed",
    checkpoints: Counter = "Snapshots that became durable",
    view_changes: Family<Labels, Counter> = "View changes asked for, by reason",
    views_entered: Counter = "Views entered",
    evidence: Counter = "Pieces of evidence against replicas",
    transfers: Counter = "State transfers finished",
    sources_dropped: Counter = "Sources of state that were given up",
    rejected: Family<Labels, Counter> = "Well-signed messages that did nothing, by reason",
    shed: Counter = "Submissions that were not taken",
    reads_refused: Counter = "Unordered reads that were not answered",
    bad_peer_frames: Counter = "Frames of replicas that were not believed",
    bad_client_frames: Counter = "Frames of clients that were not believed",
    shed_client_frames: Counter = "Frames of clients that were not looked at because too many of the sender's waited",
    dropped_peer_frames: Counter = "Frames of replicas that were dropped because too many of the sender's waited",
    view: Level = "The last view entered",
    last_executed: Level = "The last sequence executed",
    stable: Level = "The last stable checkpoint",
    recovering: Level = "1 while the replica has lost its votes and votes nothing",
}

/// What is measured when somebody asks: a name, an optional label, a value.
#[derive(Debug, Default)]
pub(crate) struct Gauges(String);

impl Gauges {
    /// Adds a gauge of one value, or one of several under the same name with a label.
    pub(crate) fn add<L: std::fmt::Display>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Option<(&'static str, L)>, f64)>,
    ) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP pbft_{name} {help}.\n# TYPE pbft_{name} gauge");
        for (label, value) in values {
            let _ = match label {
                None => writeln!(self.0, "pbft_{name} {value}"),
                Some((key, label)) => writeln!(self.0, "pbft_{name}{{{key}=\"{label}\"}} {value}"),
            };
        }
    }
}

impl Metrics {
    /// Counts an event.
    pub(super) fn observe(&self, report: &Report) {
        match report {
            Report::Started { view, stable, .. } => {
                self.view.set(view.0);
                self.stable.set(stable.0);
            }
            Report::Proposed { .. } => {
                self.proposed.inc();
            }
            Report::Prepared { .. } => {
                self.prepared.inc();
            }
            Report::Committed { .. } => {
                self.committed.inc();
            }
            Report::Executed { sequence, requests, .. } => {
                self.executed_batches.inc();
                self.executed_requests.inc_by(*requests as u64);
                self.last_executed.set(sequence.0);
            }
            Report::Checkpoint { .. } => {
                self.checkpoints.inc();
            }
            Report::Stable { sequence, .. } => {
                self.stable.set(sequence.0);
            }
            Report::ViewChange { reason, .. } => {
                self.view_changes.get_or_create(&[("reason", name(reason))]).inc();
            }
            Report::ViewEntered { view, .. } => {
                self.views_entered.inc();
                self.view.set(view.0);
            }
            Report::Evidence(_) => {
                self.evidence.inc();
            }
            Report::TransferStarted { .. }
            | Report::Gathering { .. }
            | Report::RecoveryBounded { .. }
            | Report::Halted(_) => {}
            Report::RecoveryStarted => {
                self.recovering.set(1);
            }
            Report::Recovered { .. } => {
                self.recovering.set(0);
            }
            Report::SourceDropped { .. } => {
                self.sources_dropped.inc();
            }
            Report::Transferred { sequence } => {
                self.transfers.inc();
                self.last_executed.set(sequence.0);
            }
            Report::Rejected { reason, .. } => {
                self.rejected.get_or_create(&[("reason", name(reason))]).inc();
            }
            Report::Shed => {
                self.shed.inc();
            }
            Report::ReadRefused => {
                self.reads_refused.inc();
            }
        }
    }

    /// Counts a durable transaction.
    pub(crate) fn committed(&self, writes: usize, elapsed: Duration) {
        self.commit_time.observe(elapsed.as_secs_f64());
        self.commit_writes.observe(writes as f64);
    }

    pub(crate) fn bad_peer_frame(&self) {
        self.bad_peer_frames.inc();
    }

    pub(crate) fn bad_client_frame(&self) {
        self.bad_client_frames.inc();
    }

    pub(crate) fn shed_client_frame(&self) {
        self.shed_client_frames.inc();
    }

    pub(crate) fn dropped_peer_frame(&self) {
        self.dropped_peer_frames.inc();
    }

    /// The metrics as text, those that were just measured first.
    pub(crate) fn text(&self, gauges: Gauges) -> String {
        let mut text = gauges.0;
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// The name of a reason, as events spell it.
fn name(reason: &impl serde::Serialize) -> String {
    // Reasons are enums without content, which serialize as strings.
    serde_json::to_value(reason).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Sequence, View};
    use pbft_protocol::ViewChangeReason;

    use super::*;

    #[test]
    fn reports_are_counted() {
        let metrics = Metrics::default();
        let digest = pbft_crypto::Digest::from_bytes([0; 32]);
        metrics.observe(&Report::Executed { sequence: Sequence(7), digest, requests: 3 });
        metrics.observe(&Report::ViewChange { view: View(1), reason: ViewChangeReason::RequestTimeout });
        metrics.committed(2, Duration::from_millis(1));
        let mut gauges = Gauges::default();
        gauges.add("queue", "Waiting", [(Some(("queue", "votes")), 4.0)]);
        let text = metrics.text(gauges);
        for line in [
            "pbft_queue{queue=\"votes\"} 4",
            "pbft_executed_requests_total 3",
            "pbft_last_executed 7",
            "pbft_view_changes_total{reason=\"request-timeout\"} 1",
            "pbft_commit_time_seconds_count 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
