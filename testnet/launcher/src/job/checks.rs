//! The verdict: what must hold whatever was done to the cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_client::Connector;
use pbft_messages::{Accusation, ReplicaId};

use super::report::Check;
use crate::check::{FinalState, Recorded, exactly_once, linearizable, lost_writes};
use crate::traffic::scan;
use crate::{ClusterStatus, Roots, Testnet, TestnetError};

/// How many times the patience with one answer the reading of the whole store may take.
const READ_BACK: u32 = 4;

/// What was found.
pub(super) struct Judgement {
    pub(super) checks: Vec<Check>,
    pub(super) evidence: Vec<Accusation>,
    pub(super) status: ClusterStatus,
}

/// Reads everything back, and judges. What fails is added to the reasons.
pub(super) async fn judge(
    testnet: &Testnet,
    connector: &Connector,
    history: &[Recorded],
    liar: Option<ReplicaId>,
    patience: Duration,
    reasons: &mut Vec<String>,
) -> Result<Judgement, TestnetError> {
    let mut checks = Vec::new();
    match read_back(connector, patience * READ_BACK).await {
        Ok(end) => checks.extend(judge_history(history, &end)),
        Err(why) => checks.push(Check::failed("every acknowledged write is there", why)),
    }
    let (roots, status) = equal_roots(testnet, patience).await?;
    checks.push(roots);
    let evidence = testnet.evidence().await?.evidence;
    checks.push(only_the_liar(&evidence, liar));
    let failed = checks.iter().filter(|check| !check.passed);
    reasons.extend(failed.map(|check| format!("{}: {}", check.name, check.detail)));
    Ok(Judgement { checks, evidence, status })
}

async fn read_back(connector: &Connector, patience: Duration) -> Result<FinalState, String> {
    let read = async {
        let client = connector.open_session().await.map_err(|error| error.to_string())?;
        scan(client).await.map_err(|error| error.to_string())
    };
    let in_time = tokio::time::timeout(patience, read).await;
    in_time.unwrap_or_else(|_| Err(format!("the store could not be read within {patience:?}")))
}

fn judge_history(history: &[Recorded], end: &FinalState) -> Vec<Check> {
    let lost = lost_writes(history, end);
    let written = lost.acknowledged;
    let kept = match &lost.lost[..] {
        [] => {
            let detail = format!("{written} writes; all {} keys hold the last one of theirs", lost.read_back);
            Check::passed("every acknowledged write is there", detail)
        }
        [first, ..] => {
            let detail = format!("{} keys lost theirs, {} among them", lost.lost.len(), first.escape_ascii());
            Check::failed("every acknowledged write is there", detail)
        }
    };
    let order = match linearizable(history, end) {
        Ok(found) => {
            let detail = format!("{} answers are those of a single store that never failed", found.answers);
            Check::passed("clients saw one consistent store", detail)
        }
        Err(violation) => Check::failed("clients saw one consistent store", violation.to_string()),
    };
    let once = match exactly_once(history, end) {
        Ok(()) => Check::passed("nothing was done twice", format!("{} changes counted", end.revision - 1)),
        Err(violation) => Check::failed("nothing was done twice", violation.to_string()),
    };
    vec![kept, order, once]
}

/// Once nothing is asked any more, all correct replicas must come to the same state.
async fn equal_roots(testnet: &Testnet, patience: Duration) -> Result<(Check, ClusterStatus), TestnetError> {
    const NAME: &str = "all correct replicas hold the same state";
    let settled = |status: &ClusterStatus| {
        status.common_root().is_some() && status.faults_in_use <= status.faults_tolerated
    };
    Ok(match testnet.status_when(patience, Roots::Asked, settled).await? {
        Ok(status) => {
            let (sequence, root) = status.common_root().unwrap_or_default();
            let count = status.correct().count();
            let detail =
                format!("{count} replicas, root {}… after batch {sequence}", &root[..root.len().min(12)]);
            (Check::passed(NAME, detail), status)
        }
        Err(status) => {
            let stand = status.correct().map(|it| {
                let root = it.state_root.as_deref().unwrap_or("none");
                format!("{} {}… after {:?}", it.replica, &root[..root.len().min(8)], it.state_root_at)
            });
            let detail = stand.collect::<Vec<_>>().join(", ");
            (Check::failed(NAME, detail), status)
        }
    })
}

/// The evidence must name the liar, and nobody else.
fn only_the_liar(evidence: &[Accusation], liar: Option<ReplicaId>) -> Check {
    const NAME: &str = "the liar, and only the liar, is proven guilty";
    let accused: BTreeSet<_> = evidence.iter().map(|accusation| accusation.accused).collect();
    let names = accused.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match liar {
        Some(liar) if accused.iter().eq([&liar]) => {
            Check::passed(NAME, format!("{} proofs against {names}, from public keys alone", evidence.len()))
        }
        Some(liar) => Check::failed(NAME, format!("{liar} lied; proven guilty: [{names}]")),
        None if accused.is_empty() => Check::passed(NAME, "nobody was made to lie".into()),
        None => Check::failed(NAME, format!("nobody was made to lie; proven guilty: [{names}]")),
    }
}
