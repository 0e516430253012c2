//! What came of a job, for programs: `report.json`.

use serde::{Deserialize, Serialize};

use pbft_messages::{Accusation, ReplicaId};

use super::Job;
use crate::check::{Outcome, Recorded};
use crate::trial::{Check, Judgement, Verdict, processor};
use crate::{ClusterStatus, Durability, Testnet};

/// Everything that is known at the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Whether all was as it must be.
    pub verdict: Verdict,
    /// What was not, each a sentence.
    pub reasons: Vec<String>,
    /// How many replicas there were.
    pub replicas: usize,
    /// f: how many faulty ones do no harm.
    pub faults_tolerated: usize,
    /// The replicas' durability.
    pub durability: Durability,
    /// The view timeout, in milliseconds.
    pub view_timeout_ms: u64,
    /// The seed of the load's choices.
    pub seed: u64,
    /// This program's version.
    pub version: String,
    /// The source revision that it was built from, or `unknown`.
    pub revision: String,
    /// The processor, and how many of it.
    pub processor: String,
    /// What was done, with what was measured.
    pub phases: Phases,
    /// How many operations were answered.
    pub operations: usize,
    /// How many were never answered.
    pub unanswered: usize,
    /// What was checked.
    pub checks: Vec<Check>,
    /// The evidence, as the checks found it.
    pub evidence: Vec<Accusation>,
    /// Where the replicas stood at the end.
    pub status: ClusterStatus,
}

/// What was done. A phase that was not reached is absent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Phases {
    /// Starting the cluster.
    pub start: StartPhase,
    /// Loading records.
    pub load: Option<LoadPhase>,
    /// Undisturbed traffic.
    pub steady: Option<TrafficPhase>,
    /// The primary's death.
    pub crash: Option<CrashPhase>,
    /// Its return.
    pub restart: Option<RestartPhase>,
    /// The primary's lie.
    pub lie: Option<LiePhase>,
}

/// Starting the cluster.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct StartPhase {
    /// Until a client was answered.
    pub seconds: f64,
}

/// Loading records.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LoadPhase {
    /// How many.
    pub records: usize,
    /// Until all were acknowledged.
    pub seconds: f64,
}

/// Undisturbed traffic.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TrafficPhase {
    /// How many sessions.
    pub sessions: usize,
    /// How many operations each has under way: a closed loop.
    pub depth: usize,
    /// For how long it was measured.
    pub seconds: f64,
    /// Answers a second.
    pub per_second: f64,
}

/// The primary's death.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CrashPhase {
    /// Who died.
    pub replica: ReplicaId,
    /// The view it led.
    pub view_before: u64,
    /// The view after.
    pub view_after: Option<u64>,
    /// Who led then.
    pub new_primary: Option<ReplicaId>,
    /// The longest time without an answer around its death; absent if service did not resume.
    pub paused_seconds: Option<f64>,
}

/// The dead replica's return.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RestartPhase {
    /// Who.
    pub replica: ReplicaId,
    /// Until it listened.
    pub listens_seconds: f64,
    /// How far the others had executed then; absent if too few of them answered.
    pub behind_until: Option<u64>,
    /// From its start until it had executed as much; absent if it never did.
    pub caught_up_seconds: Option<f64>,
}

/// The primary's lie.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiePhase {
    /// Who lied.
    pub replica: ReplicaId,
    /// How.
    pub strategy: String,
    /// The view it led.
    pub view_before: u64,
    /// The view after.
    pub view_after: Option<u64>,
    /// Who led then.
    pub new_primary: Option<ReplicaId>,
    /// Until evidence was there; absent if there was none.
    pub found_seconds: Option<f64>,
    /// The longest time without an answer; absent if service did not resume.
    pub paused_seconds: Option<f64>,
}

impl Report {
    pub(super) fn new(
        job: &Job,
        testnet: &Testnet,
        phases: Phases,
        judgement: Judgement,
        history: &[Recorded],
        mut reasons: Vec<String>,
    ) -> Self {
        let configuration = testnet.configuration();
        let Judgement { checks, evidence, status } = judgement;
        let failed = checks.iter().filter(|check| !check.passed);
        reasons.extend(failed.map(|check| format!("{}: {}", check.name, check.detail)));
        let unanswered = history.iter().filter(|recorded| recorded.outcome == Outcome::Unknown).count();
        Self {
            verdict: if reasons.is_empty() { Verdict::Pass } else { Verdict::Fail },
            reasons,
            replicas: configuration.n(),
            faults_tolerated: configuration.f(),
            durability: job.durability,
            view_timeout_ms: configuration.parameters().view_timeout.as_millis() as u64,
            seed: job.plan.seed,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: env!("PBFT_REVISION").to_owned(),
            processor: processor(),
            phases,
            operations: history.len() - unanswered,
            unanswered,
            checks,
            evidence,
            status,
        }
    }
}
