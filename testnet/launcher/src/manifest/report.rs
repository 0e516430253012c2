//! What came of a manifest, for programs.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use pbft_messages::{Accusation, ReplicaId};

use super::{Manifest, Seen, Step, Usage};
use crate::attack::Attacked;
use crate::trial::processor;
use crate::{Check, ClusterStatus, TestnetError, Verdict};

/// Everything that is known at the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The manifest's name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What it shows.
    pub description: String,
    /// Whether all was as it must be.
    pub verdict: Verdict,
    /// What was not, each a sentence.
    pub reasons: Vec<String>,
    /// How long all of it took.
    pub seconds: f64,
    /// How long the preloading took, if there was one.
    pub preload_seconds: Option<f64>,
    /// How long the load lasted.
    pub load_seconds: f64,
    /// Answers a second under load.
    pub throughput: f64,
    /// The longest time that any client was without an answer under load.
    pub longest_pause_seconds: f64,
    /// How many operations were answered.
    pub operations: usize,
    /// How many were never answered.
    pub unanswered: usize,
    /// What was done, in the order of time.
    pub steps: Vec<StepReport>,
    /// What malicious clients did, by their strategies.
    pub attacks: Vec<(String, Attacked)>,
    /// What the replicas that were not told to misbehave saw of it all.
    pub seen: Seen,
    /// What was checked.
    pub checks: Vec<Check>,
    /// What the replicas needed; empty unless the manifest limits their growth.
    pub usage: Vec<Usage>,
    /// The evidence, as the checks found it.
    pub evidence: Vec<Accusation>,
    /// Where the replicas stood at the end.
    pub status: Option<ClusterStatus>,
    /// This program's version.
    pub version: String,
    /// The source revision that it was built from, or `unknown`.
    pub revision: String,
    /// The processor, and how many of it.
    pub processor: String,
}

/// One step. Times are since the load began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepReport {
    /// When it was due.
    pub due_seconds: f64,
    /// When it began.
    pub began_seconds: f64,
    /// What was done.
    pub action: String,
    /// To whom.
    pub replicas: Vec<ReplicaId>,
    /// How long that took.
    pub took_seconds: f64,
    /// The longest time without an answer from then to the next step.
    pub pause_seconds: f64,
    /// For each replica that had something to catch up with, how long that took; `None` if longer than the patience.
    /// A replica that was struck again before is left out.
    pub caught_up_seconds: Vec<(ReplicaId, Option<f64>)>,
    /// Why it could not be done.
    pub error: Option<String>,
}

impl Report {
    pub(super) fn new(manifest: &Manifest) -> Self {
        Self {
            name: manifest.name.clone(),
            path: manifest.path.clone(),
            description: manifest.description.clone(),
            verdict: Verdict::Fail,
            reasons: Vec::new(),
            seconds: 0.0,
            preload_seconds: None,
            load_seconds: 0.0,
            throughput: 0.0,
            longest_pause_seconds: 0.0,
            operations: 0,
            unanswered: 0,
            steps: Vec::new(),
            attacks: Vec::new(),
            seen: Seen::default(),
            checks: Vec::new(),
            usage: Vec::new(),
            evidence: Vec::new(),
            status: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: env!("PBFT_REVISION").to_owned(),
            processor: processor(),
        }
    }

    /// The verdict over all that is in it.
    pub(super) fn judged(mut self, took: Duration) -> Self {
        let failed = self.steps.iter().filter(|step| step.error.is_some()).map(ToString::to_string);
        self.reasons.extend(failed);
        let failed = self.checks.iter().filter(|check| !check.passed);
        self.reasons.extend(failed.map(|check| format!("{}: {}", check.name, check.detail)));
        self.verdict = if self.reasons.is_empty() { Verdict::Pass } else { Verdict::Fail };
        self.seconds = took.as_secs_f64();
        self
    }
}

impl StepReport {
    pub(super) fn new(
        step: &Step,
        replicas: Vec<ReplicaId>,
        began: Duration,
        ended: Duration,
        error: Option<TestnetError>,
    ) -> Self {
        Self {
            due_seconds: step.at.as_secs_f64(),
            began_seconds: began.as_secs_f64(),
            action: step.action.to_string(),
            replicas,
            took_seconds: (ended - began).as_secs_f64(),
            pause_seconds: 0.0,
            caught_up_seconds: Vec::new(),
            error: error.map(|error| error.to_string()),
        }
    }
}

impl fmt::Display for StepReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.action)?;
        self.replicas.iter().try_for_each(|replica| write!(formatter, " {replica}"))?;
        self.error.iter().try_for_each(|error| write!(formatter, ": {error}"))
    }
}
