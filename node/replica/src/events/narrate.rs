//! Events as log lines, for people. Nothing reads them back: programs read the events themselves.

use pbft_messages::ReplicaId;
use pbft_protocol::Report;

/// Writes an event to the log, at a level that fits how seldom it is.
pub(super) fn narrate(replica: ReplicaId, report: &Report) {
    match report {
        Report::Started { view, stable, last_executed, abstains_through } => match abstains_through {
            None => tracing::info!(%replica, %view, %stable, %last_executed, "started"),
            Some(through) => tracing::info!(
                %replica, %view, %stable, %last_executed, abstains_through = %through,
                "started after a stop that was not in good order: prepares nothing that it may have prepared before"
            ),
        },
        Report::Proposed { view, sequence, digest, requests } => {
            tracing::debug!(%replica, %view, %sequence, ?digest, requests, "proposed");
        }
        Report::Prepared { view, sequence, digest } => {
            tracing::debug!(%replica, %view, %sequence, ?digest, "prepared");
        }
        Report::Committed { view, sequence, digest } => {
            tracing::debug!(%replica, %view, %sequence, ?digest, "committed");
        }
        Report::Executed { sequence, digest, requests } => {
            tracing::debug!(%replica, %sequence, ?digest, requests, "executed");
        }
        Report::Checkpoint { sequence, root } => tracing::debug!(%replica, %sequence, ?root, "checkpoint"),
        Report::Stable { sequence, root } => tracing::debug!(%replica, %sequence, ?root, "stable checkpoint"),
        Report::ViewChange { view, reason } => {
            tracing::info!(%replica, %view, ?reason, "asks for another view");
        }
        Report::ViewEntered { view, primary, carried_over, null } => {
            tracing::info!(%replica, %view, %primary, carried_over, null, "entered a view");
        }
        Report::Evidence(accusation) => tracing::warn!(
            %replica, accused = %accusation.accused, kind = ?accusation.kind, view = %accusation.view,
            sequence = %accusation.sequence, "holds proof that a replica lied"
        ),
        Report::TransferStarted { sequence } => tracing::info!(%replica, %sequence, "fetches the state"),
        Report::Gathering { sequence, chunks, missing } => {
            tracing::info!(%replica, %sequence, chunks, missing, "knows what the state consists of");
        }
        Report::SourceDropped { source } => {
            tracing::warn!(%replica, %source, "asks a replica for no more state: it gave wrong chunks or none");
        }
        Report::Transferred { sequence } => {
            tracing::info!(%replica, %sequence, "installed the fetched state")
        }
        Report::RecoveryStarted => {
            tracing::warn!(%replica, "recovers: it has lost its votes, and votes nothing until it has caught up");
        }
        Report::RecoveryBounded { view, sequence } => {
            tracing::info!(%replica, %view, %sequence, "enough replicas have answered: waits for this checkpoint");
        }
        Report::Recovered { view } => tracing::info!(%replica, %view, "has recovered"),
        Report::Rejected { from, reason } => tracing::trace!(%replica, %from, ?reason, "refused a message"),
        Report::ReadRefused => tracing::debug!(%replica, "did not answer an unordered read"),
        Report::Shed => tracing::debug!(%replica, "did not take a submission: too many requests wait"),
        Report::Halted(halt) => tracing::error!(%replica, "stops for good: {halt}"),
    }
}
