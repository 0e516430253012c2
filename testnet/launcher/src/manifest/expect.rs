//! What must hold, beside what always must.

use std::cmp::Ordering::Equal;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use pbft_messages::{Accusation, EvidenceKind, ReplicaId};

use super::schedule::{optional, required};
use super::seen::word;
use super::{Seen, StepReport, Usage};
use crate::{Check, ClusterStatus};

/// What must hold. That no acknowledged write is lost, that clients saw one consistent store, that nothing was done
/// twice, and that the evidence names the accused and nobody else is always checked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// So soon after the load, all replicas run and hold the same state. Without it, those that are not faulty must,
    /// in any time.
    #[serde(deserialize_with = "optional")]
    pub all_equal_within: Option<Duration>,
    /// So soon after it was started, resumed or wiped, and under load, a replica has executed what the others had
    /// then. One that is struck again before it has need not.
    #[serde(deserialize_with = "optional")]
    pub caught_up_within: Option<Duration>,
    /// The longest time that any client may be without an answer.
    #[serde(deserialize_with = "optional")]
    pub pause_at_most: Option<Duration>,
    /// Answers a second, from the load's begin to its end.
    pub throughput_at_least: Option<f64>,
    /// Who must be proven guilty; nobody else may be, but who was made to sign contradictions.
    pub accused: BTreeSet<ReplicaId>,
    /// Of what kind the evidence against one of them must be; any, if left out.
    pub proof: Option<EvidenceKind>,
    /// Whose strategies must have altered, withheld or made messages: one that did nothing was not defeated. A replica
    /// that restarts begins to count anew.
    pub altered: BTreeSet<ReplicaId>,
    /// Whether correct replicas must have asked for another view.
    pub view_change: bool,
    /// Replicas that must have executed more than so many batches in the end.
    pub executed_past: BTreeMap<ReplicaId, u64>,
    /// How much more the replicas may need than at first.
    pub growth: Option<Growth>,
}

/// Limits on growth: of the median of the last quarter of all samples, compared with that of the first.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// What is sampled before is left out.
    #[serde(deserialize_with = "required")]
    pub warm_up: Duration,
    /// The limit for resident memory, in percent.
    pub memory_percent: f64,
    /// The limit for the data folder, in percent.
    pub disk_percent: f64,
}

/// What was measured.
pub(super) struct Measured<'a> {
    pub(super) steps: &'a [StepReport],
    pub(super) throughput: f64,
    pub(super) longest_pause: Duration,
    pub(super) usage: &'a [Usage],
    pub(super) status: &'a ClusterStatus,
    pub(super) seen: &'a Seen,
    pub(super) evidence: &'a [Accusation],
}

impl Expect {
    /// Compares what is expected with what was measured.
    pub(super) fn checks(&self, measured: &Measured<'_>) -> Vec<Check> {
        let mut checks = Vec::new();
        if let Some(limit) = self.caught_up_within {
            checks.push(caught_up(measured.steps, limit));
        }
        if let Some(limit) = self.pause_at_most {
            let detail = format!("{:.2} s, wanted at most {limit:?}", measured.longest_pause.as_secs_f64());
            checks.push(Check::new("service never paused for long", measured.longest_pause <= limit, detail));
        }
        if self.view_change {
            let passed = !measured.seen.view_changes.is_empty();
            let detail = format!("seen by others: {}", measured.seen);
            checks.push(Check::new("correct replicas asked for another view", passed, detail));
        }
        if let Some(kind) = self.proof {
            let proofs = measured.evidence.iter().filter(|it| it.kind == kind).count();
            checks.push(Check::new(
                "the proof is of the stated kind",
                proofs > 0,
                format!("{proofs} {}", word(&kind)),
            ));
        }
        if let Some(limit) = self.throughput_at_least {
            let detail = format!("{:.0} operations/s, wanted at least {limit}", measured.throughput);
            checks.push(Check::new("the cluster was fast enough", measured.throughput >= limit, detail));
        }
        for replica in &self.altered {
            checks.push(acted(*replica, measured.status.of(*replica).map_or(0, |it| it.altered)));
        }
        for (replica, point) in &self.executed_past {
            let executed = measured.status.of(*replica).and_then(|status| status.last_executed);
            let text = executed.map_or("no answer".to_owned(), |executed| executed.to_string());
            let detail = format!("executed {text}, wanted more than {point}");
            checks.push(Check::new(
                format!("{replica} executed past {point}"),
                executed > Some(*point),
                detail,
            ));
        }
        if let Some(growth) = self.growth {
            checks.extend(measured.usage.iter().flat_map(|usage| growth.checks(usage)));
        }
        checks
    }
}

/// Whether a strategy had any effect.
fn acted(replica: ReplicaId, altered: u64) -> Check {
    let detail = format!("{altered} messages altered, withheld or made");
    Check::new(format!("the strategy of {replica} had an effect"), altered > 0, detail)
}

/// One line for all returns: the slowest, or those that were too slow.
fn caught_up(steps: &[StepReport], limit: Duration) -> Check {
    let returns = steps.iter().flat_map(|step| step.caught_up_seconds.iter().map(move |it| (step, it)));
    let returns: Vec<_> = returns.map(|(step, (replica, took))| (step, replica, *took)).collect();
    let in_time = |took: Option<f64>| took.is_some_and(|took| took <= limit.as_secs_f64());
    let told = |(step, replica, took): &(&StepReport, &ReplicaId, Option<f64>)| {
        let took = took.map_or("did not".to_owned(), |took| format!("took {took:.2} s"));
        format!("{replica} {took} after {} at {:.1} s", step.action, step.began_seconds)
    };
    let late: Vec<_> = returns.iter().filter(|(.., took)| !in_time(*took)).map(told).collect();
    let detail = if late.is_empty() {
        let slowest = returns.iter().max_by(|(.., one), (.., other)| one.partial_cmp(other).unwrap_or(Equal));
        slowest.map_or("no replica returned".to_owned(), |it| {
            format!("{} returns, the slowest: {}", returns.len(), told(it))
        })
    } else {
        late.join(", ")
    };
    let passed = late.is_empty() && !returns.is_empty();
    Check::new("who returns catches up under load", passed, format!("{detail}; wanted at most {limit:?}"))
}

impl Growth {
    fn checks(&self, usage: &Usage) -> [Check; 2] {
        [("memory", &usage.memory, self.memory_percent), ("disk use", &usage.disk, self.disk_percent)].map(
            |(what, series, limit)| {
                let name = format!("the {what} of {} stays flat", usage.replica);
                let growth = series.growth_percent();
                let text = growth.map_or("too few samples".to_owned(), |growth| format!("{growth:+.1} %"));
                let passed = growth.is_some_and(|growth| growth <= limit);
                Check::new(name, passed, format!("{text}, wanted at most {limit:+} %"))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(caught_up: &[Option<f64>]) -> StepReport {
        StepReport {
            due_seconds: 2.0,
            began_seconds: 2.0,
            action: "restart".into(),
            replicas: vec![ReplicaId(1)],
            took_seconds: 0.1,
            pause_seconds: 0.1,
            caught_up_seconds: caught_up.iter().map(|took| (ReplicaId(1), *took)).collect(),
            error: None,
        }
    }

    #[test]
    fn every_return_counts_and_there_must_be_one() {
        let check = |steps: &[StepReport]| caught_up(steps, Duration::from_secs(3));
        let good = check(&[step(&[Some(1.0)]), step(&[Some(2.5)]), step(&[])]);
        assert!(good.passed && good.detail.starts_with("2 returns, the slowest: r1 took 2.50 s"), "{good:?}");
        let slow = check(&[step(&[Some(1.0)]), step(&[Some(3.5)]), step(&[None])]);
        assert!(!slow.passed && slow.detail.contains("took 3.50 s") && slow.detail.contains("r1 did not"));
        assert!(!check(&[step(&[])]).passed);
    }

    #[test]
    fn a_strategy_that_did_nothing_does_not_pass() {
        let check = |altered| acted(ReplicaId(1), altered);
        assert!(check(1).passed && !check(0).passed);
        assert_eq!(check(0).detail, "0 messages altered, withheld or made");
    }

    #[test]
    fn growth_is_limited_from_above_and_needs_samples() {
        let growth = Growth { warm_up: Duration::ZERO, memory_percent: 10.0, disk_percent: 10.0 };
        let series = |first, last| super::super::Series { first, last, ..Default::default() };
        let usage = Usage { replica: ReplicaId(0), memory: series(100, 60), disk: series(100, 111) };
        assert_eq!(growth.checks(&usage).map(|check| check.passed), [true, false]);
        let unseen = Usage { memory: series(0, 0), ..usage };
        assert!(!growth.checks(&unseen)[0].passed);
    }
}
