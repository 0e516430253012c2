//! The verdict: what must hold whatever was done to the cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use pbft_messages::{Accusation, ReplicaId};

use super::{Check, Trial};
use crate::check::{FinalState, Recorded, exactly_once, linearizable, lost_writes};
use crate::traffic::{Preloaded, scan};
use crate::{ClusterStatus, ReplicaStatus, Roots, TestnetError};

/// How many times the patience with one answer the reading of the whole store may take.
const READ_BACK: u32 = 4;

/// What is judged.
pub(crate) struct Case<'a> {
    /// What the clients saw.
    pub(crate) history: &'a [Recorded],
    /// What the store held before.
    pub(crate) preloaded: &'a Preloaded,
    /// Who was made to lie in a way that leaves evidence.
    pub(crate) liars: &'a BTreeSet<ReplicaId>,
    /// Who may be proven guilty besides: it was made to sign what may contradict something.
    pub(crate) suspects: &'a BTreeSet<ReplicaId>,
    /// When the replicas must have come to the same state.
    pub(crate) settled: Settled,
    /// Whether others wrote as well, to other keys, of whom there is no history.
    pub(crate) strangers: bool,
}

/// When replicas count as having come to the same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// When at most f are faulty and all others are equal; the patience is the trial's.
    Correct,
    /// When all of them take part and are equal, which they must be within this time.
    All(Duration),
}

/// What was found.
pub(crate) struct Judgement {
    pub(crate) checks: Vec<Check>,
    pub(crate) evidence: Vec<Accusation>,
    pub(crate) status: ClusterStatus,
}

/// Lets the replicas settle, reads everything back, and judges.
pub(crate) async fn judge(trial: &Trial, case: Case<'_>) -> Result<Judgement, TestnetError> {
    let (roots, status) = equal_roots(trial, case.settled).await?;
    let mut checks = Vec::new();
    match read_back(trial).await {
        Ok(end) => checks.extend(judge_history(&case, end)),
        Err(why) => checks.push(Check::failed("every acknowledged write is there", why)),
    }
    checks.push(roots);
    let report = trial.testnet.evidence().await?;
    let evidence: Vec<_> = report.accusations().collect();
    let mut guilty = only_the_liars(&evidence, case.liars, case.suspects);
    // What these alone know is not among the evidence.
    guilty
        .detail
        .extend(report.unasked.iter().map(|(replica, why)| format!("; {replica} was not asked: {why}")));
    // Only of those that cannot answer, or lie, is nothing asked.
    let is_correct = |replica| status.of(replica).is_some_and(ReplicaStatus::is_correct);
    guilty.passed &= !report.unasked.iter().any(|(replica, _)| is_correct(*replica));
    checks.push(guilty);
    Ok(Judgement { checks, evidence, status })
}

async fn read_back(trial: &Trial) -> Result<FinalState, String> {
    let read = async {
        let client = trial.connector.open_session().await.map_err(|error| error.to_string())?;
        scan(client).await.map_err(|error| error.to_string())
    };
    let patience = trial.patience * READ_BACK;
    let in_time = tokio::time::timeout(patience, read).await;
    in_time.unwrap_or_else(|_| Err(format!("the store could not be read within {patience:?}")))
}

fn judge_history(case: &Case<'_>, mut end: FinalState) -> Vec<Check> {
    let mut checks = Vec::new();
    let (gone, records) = (case.preloaded.take_from(&mut end), case.preloaded.entries.len());
    if records > 0 {
        let detail = format!("{} of {records} as they were put", records - gone);
        checks.push(Check::new("every preloaded record is there", gone == 0, detail));
    }
    let lost = lost_writes(case.history, &end);
    let written = lost.acknowledged;
    checks.push(match &lost.lost[..] {
        [] => {
            let detail = format!("{written} writes; all {} keys hold the last one of theirs", lost.read_back);
            Check::passed("every acknowledged write is there", detail)
        }
        [first, ..] => {
            let detail = format!("{} keys lost theirs, {} among them", lost.lost.len(), first.escape_ascii());
            Check::failed("every acknowledged write is there", detail)
        }
    });
    if case.strangers {
        end = end.among_strangers(case.history);
    }
    checks.push(match linearizable(case.history, &end) {
        Ok(found) => {
            let detail = format!("{} answers are those of a single store that never failed", found.answers);
            Check::passed("clients saw one consistent store", detail)
        }
        Err(violation) => Check::failed("clients saw one consistent store", violation.to_string()),
    });
    checks.push(match exactly_once(case.history, &end) {
        Ok(()) => {
            let changes = end.revision - end.first_revision;
            Check::passed("nothing was done twice", format!("{changes} changes counted"))
        }
        Err(violation) => Check::failed("nothing was done twice", violation.to_string()),
    });
    checks
}

/// Once nothing is asked any more, the replicas must come to the same state.
async fn equal_roots(trial: &Trial, settled: Settled) -> Result<(Check, ClusterStatus), TestnetError> {
    let (name, patience) = match settled {
        Settled::Correct => ("all correct replicas hold the same state", trial.patience),
        Settled::All(within) => ("all replicas hold the same state", within),
    };
    let enough = |status: &ClusterStatus| match settled {
        Settled::Correct => status.faults_in_use <= status.faults_tolerated,
        Settled::All(_) => status.working == status.replicas.len(),
    };
    let began = Instant::now();
    let holds = |status: &ClusterStatus| status.common_root().is_some() && enough(status);
    let outcome = trial.testnet.status_when(patience, Roots::Asked, holds).await?;
    let wanted = match settled {
        Settled::Correct => String::new(),
        Settled::All(within) => {
            format!("; {:.2} s after the load, at most {within:?} wanted", began.elapsed().as_secs_f64())
        }
    };
    Ok(match outcome {
        Ok(status) => {
            let (sequence, root) = status.common_root().unwrap_or_default();
            let count = status.correct().count();
            let root = &root[..root.len().min(12)];
            let detail = format!("{count} replicas, root {root}… after batch {sequence}{wanted}");
            (Check::passed(name, detail), status)
        }
        Err(status) => {
            let stand = status.replicas.iter().map(|it| match (it.last_executed, &it.state_root) {
                (None, _) => format!("{} gives no answer", it.replica),
                (Some(executed), _) if it.lag.is_some() || it.state_root.is_none() => {
                    let lag = it.lag.map_or(String::new(), |lag| format!(", {lag}"));
                    format!("{} executed {executed}{lag}", it.replica)
                }
                (Some(_), root) => {
                    let root = root.as_deref().unwrap_or_default();
                    let at = it.state_root_at.unwrap_or_default();
                    format!("{} {}… after {at}", it.replica, &root[..root.len().min(8)])
                }
            });
            let detail = stand.collect::<Vec<_>>().join(", ") + &wanted;
            (Check::failed(name, detail), status)
        }
    })
}

/// The evidence must name the liars, and nobody else but suspects.
fn only_the_liars(
    evidence: &[Accusation],
    liars: &BTreeSet<ReplicaId>,
    suspects: &BTreeSet<ReplicaId>,
) -> Check {
    let accused: BTreeSet<_> = evidence.iter().map(|accusation| accusation.accused).collect();
    let names = |replicas: &BTreeSet<ReplicaId>| match replicas.len() {
        0 => "nobody".to_owned(),
        _ => replicas.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let name = match liars.len() {
        0 if suspects.is_empty() => "nobody is proven guilty",
        0 => "nobody but a liar is proven guilty",
        1 => "the liar, and only the liar, is proven guilty",
        _ => "the liars, and only the liars, are proven guilty",
    };
    let innocent = accused.iter().any(|it| !liars.contains(it) && !suspects.contains(it));
    if innocent || !liars.is_subset(&accused) {
        let detail = format!("proven guilty: {}; who lied: {}", names(&accused), names(liars));
        return Check::failed(name, detail);
    }
    let detail = match evidence.len() {
        0 => "no evidence against anybody".to_owned(),
        count => format!("{count} proofs against {}, from public keys alone", names(&accused)),
    };
    Check::passed(name, detail)
}

#[cfg(test)]
mod tests {
    use pbft_messages::{EvidenceKind, Sequence, View};

    use super::*;

    #[test]
    fn liars_must_be_proven_guilty_and_suspects_may_be() {
        let set = |replicas: &[u16]| replicas.iter().copied().map(ReplicaId).collect::<BTreeSet<_>>();
        let against = |accused: &u16| Accusation {
            accused: ReplicaId(*accused),
            kind: EvidenceKind::Prepare,
            view: View(0),
            sequence: Sequence(7),
        };
        let check = |accused: &[u16], liars: &[u16], suspects: &[u16]| {
            let evidence: Vec<_> = accused.iter().map(against).collect();
            let Check { name, passed, .. } = only_the_liars(&evidence, &set(liars), &set(suspects));
            (name, passed)
        };
        let passes = |accused, liars, suspects| check(accused, liars, suspects).1;
        assert!(passes(&[], &[], &[]) && passes(&[1], &[1], &[]) && passes(&[1], &[1], &[1]));
        assert!(!passes(&[1], &[], &[]) && !passes(&[], &[1], &[]) && !passes(&[2], &[1], &[1]));
        assert!(passes(&[], &[], &[1]) && passes(&[1], &[], &[1]));
        assert!(!passes(&[2], &[], &[1]) && !passes(&[1], &[2], &[1]) && passes(&[1, 2], &[2], &[1]));
        assert_eq!(check(&[], &[], &[1]).0, "nobody but a liar is proven guilty");
    }
}
