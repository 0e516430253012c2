//! Waiting for what a cluster does after it was disturbed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use pbft_messages::ReplicaId;

use crate::traffic::Traffic;
use crate::{ClusterStatus, ReplicaStatus, Roots, Testnet, TestnetError, process::Condition};

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
    /// How far the others had executed when it began; `None` if too few of them answered within the patience.
    pub(crate) behind_until: Option<u64>,
    /// From `started` until the replica had executed as much and took part; `None` if it did not within the patience.
    pub(crate) took: Option<Duration>,
}

/// Waits until a replica that was started at `started` has executed all that the others have executed by now, and takes
/// part again. Others that are coming back as well are waited for, so that there is something to catch up with.
pub(crate) async fn catches_up(
    testnet: &Testnet,
    replica: ReplicaId,
    started: Instant,
    patience: Duration,
) -> Result<CatchUp, TestnetError> {
    let deadline = Instant::now() + patience;
    let runs = |other| {
        let state = testnet.state();
        state.is_ok_and(|state| matches!(state.living(other), Some((_, Condition::Running))))
    };
    let mut behind_until = None;
    let known = |status: &ClusterStatus| {
        behind_until = executed_by_others(status, replica, runs);
        behind_until.is_some()
    };
    if testnet.status_when(patience, Roots::Spared, known).await?.is_err() {
        return Ok(CatchUp { behind_until, took: None });
    }
    let level = |status: &ClusterStatus| {
        let level = |it: &ReplicaStatus| it.last_executed >= behind_until && it.lag.is_none();
        status.of(replica).is_some_and(level)
    };
    let patience = deadline.saturating_duration_since(Instant::now());
    let level = testnet.status_when(patience, Roots::Spared, level).await?;
    Ok(CatchUp { behind_until, took: level.is_ok().then(|| started.elapsed()) })
}

/// How far the replicas but this one have executed, once that is known: when a quorum of them answers, or all whose
/// processes run, which are one at least.
fn executed_by_others(
    status: &ClusterStatus,
    replica: ReplicaId,
    runs: impl Fn(ReplicaId) -> bool,
) -> Option<u64> {
    let others = || status.replicas.iter().filter(|it| it.replica != replica);
    let answers = |it: &ReplicaStatus| it.last_executed.is_some();
    let enough = others().filter(|it| answers(it)).count() >= status.quorum
        || others().all(|it| answers(it) || !runs(it.replica));
    let correct = status.correct().filter(|it| it.replica != replica);
    correct.filter_map(|it| it.last_executed).max().filter(|_| enough)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_to_catch_up_with_is_not_known_yet() {
        let status = |executed: [Option<u64>; 4]| {
            let replica = |(index, last_executed): (usize, Option<u64>)| ReplicaStatus {
                view: last_executed.map(|_| 0),
                last_executed,
                ..ReplicaStatus::silent(ReplicaId(index as u16), true)
            };
            let replicas = executed.into_iter().enumerate().map(replica).collect();
            ClusterStatus { replicas, faults_tolerated: 1, faults_in_use: 0, quorum: 3, working: 4 }
        };
        let known = |executed, running: &[u16]| {
            executed_by_others(&status(executed), ReplicaId(3), |it| running.contains(&it.0))
        };
        let all = [0, 1, 2, 3];
        assert_eq!(known([Some(5), Some(9), Some(7), Some(1)], &all), Some(9));
        assert_eq!(known([None, None, None, Some(1)], &all), None, "all are coming back");
        assert_eq!(known([Some(5), None, None, Some(1)], &all), None, "others may be further");
        assert_eq!(known([Some(5), Some(9), None, Some(1)], &[0, 1, 3]), Some(9), "r2 is paused or dead");
        assert_eq!(known([None, None, None, Some(1)], &[3]), None, "nobody else runs");
    }
}
