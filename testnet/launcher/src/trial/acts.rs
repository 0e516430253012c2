//! Waiting for what a cluster does after it was disturbed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use pbft_messages::ReplicaId;

use crate::traffic::Traffic;
use crate::{ClusterStatus, ReplicaStatus, Roots, Testnet, TestnetError};

/// Who leads, and in which view, once the replicas agree on it; `None` if they don't within `patience`.
pub(crate) async fn primary(
    testnet: &Testnet,
    patience: Duration,
) -> Result<Option<(ReplicaId, u64)>, TestnetError> {
    let agreed = |status: &ClusterStatus| {
        status.primary().and_then(|it| status.of(it)).is_some_and(|it| it.is_primary == Some(true))
    };
    let status = testnet.status_when(patience, Roots::Spared, agreed).await?;
    Ok(status.ok().and_then(|status| Some((status.primary()?, status.view()?))))
}

/// How a replica caught up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CatchUp {
    /// How far the others had executed when it began.
    pub(crate) behind_until: u64,
    /// From `started` until the replica had executed as much and took part; `None` if it did not within the patience.
    pub(crate) took: Option<Duration>,
}

/// Waits until a replica that was started at `started` has executed all that the others have executed now, and takes
/// part again.
pub(crate) async fn catches_up(
    testnet: &Testnet,
    replica: ReplicaId,
    started: Instant,
    patience: Duration,
) -> Result<CatchUp, TestnetError> {
    let status = testnet.status(Roots::Spared).await?;
    let others = status.correct().filter(|status| status.replica != replica);
    let behind_until = others.filter_map(|status| status.last_executed).max().unwrap_or(0);
    let level = |status: &ClusterStatus| {
        let level = |it: &ReplicaStatus| it.last_executed >= Some(behind_until) && it.lag.is_none();
        status.of(replica).is_some_and(level)
    };
    let level = testnet.status_when(patience, Roots::Spared, level).await?;
    Ok(CatchUp { behind_until, took: level.is_ok().then(|| started.elapsed()) })
}

/// Puts a plan's records. Their number is the user's, so what is bounded is the time without an answer; whether all
/// were put.
pub(crate) async fn load_records(traffic: &mut Traffic, patience: Duration) -> bool {
    let meter = Arc::clone(traffic.meter());
    tokio::select! {
        () = traffic.load_records() => true,
        () = meter.stalls(patience) => false,
    }
}
