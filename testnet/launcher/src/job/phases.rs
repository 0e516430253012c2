//! The job's acts, one after the other, with what is measured in each.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Job;
use super::report::{CrashPhase, LiePhase, LoadPhase, RestartPhase, TrafficPhase};
use crate::traffic::{Meter, Traffic};
use crate::trial::Progress;
use crate::trial::acts::{CatchUp, catches_up, load_records, primary};
use crate::{Roots, Testnet, TestnetError};

/// How many answers after a fault show that service goes on.
const RESUMED: usize = 50;

/// What the acts share.
pub(super) struct Scene<'a> {
    pub(super) job: &'a Job,
    pub(super) testnet: &'a mut Testnet,
    pub(super) meter: Arc<Meter>,
    pub(super) progress: &'a dyn Progress,
    /// What went wrong.
    pub(super) reasons: &'a mut Vec<String>,
}

impl Scene<'_> {
    /// Puts the records.
    pub(super) async fn load(&mut self, traffic: &mut Traffic) -> Option<LoadPhase> {
        let records = self.job.plan.records;
        self.progress.step(&format!("loading {records} records"));
        let started = Instant::now();
        let loaded = load_records(traffic, self.job.patience).await;
        if !loaded {
            let (count, why) = (self.meter.answered(), self.waited());
            self.reasons
                .push(format!("the load of {records} records stood still at {count}: no answer {why}"));
        }
        loaded.then(|| LoadPhase { records, seconds: started.elapsed().as_secs_f64() })
    }

    pub(super) async fn steady(&mut self) -> Option<TrafficPhase> {
        let plan = &self.job.plan;
        let (sessions, depth) = (plan.sessions, plan.depth);
        self.progress.step(&format!("mixed traffic of {sessions} sessions"));
        let from = self.meter.now();
        self.calm().await;
        let to = self.meter.now();
        let per_second = self.meter.rate(from, to);
        // A short calm may see no answer on a busy machine; none within all patience is a standstill.
        if per_second == 0.0 && !self.meter.reached(self.meter.answered() + 1, self.job.patience).await {
            self.reasons.push(format!("nothing was acknowledged under plain load {}", self.waited()));
            return None;
        }
        Some(TrafficPhase { sessions, depth, seconds: (to - from).as_secs_f64(), per_second })
    }

    /// How long was waited in vain, with what the clients were told first.
    fn waited(&self) -> String {
        let within = format!("within {:?}", self.job.patience);
        match self.meter.failures() {
            (count, Some(first)) => format!("{within} ({count} failures; the first: {first})"),
            (_, None) => within,
        }
    }

    /// What cannot be done because of what the cluster does is a finding like any other.
    fn noted<T>(&mut self, result: Result<Option<T>, TestnetError>) -> Option<T> {
        result.unwrap_or_else(|error| {
            self.reasons.push(error.to_string());
            None
        })
    }

    /// Lets traffic flow undisturbed.
    pub(super) async fn calm(&self) {
        tokio::time::sleep(self.job.calm).await;
    }

    /// Kills the primary under load.
    pub(super) async fn crash(&mut self) -> Option<CrashPhase> {
        let done = self.try_crash().await;
        self.noted(done)
    }

    async fn try_crash(&mut self) -> Result<Option<CrashPhase>, TestnetError> {
        let Some((replica, view_before)) = self.primary().await? else { return Ok(None) };
        self.progress.step(&format!("kill -9 of {replica}, the primary, under load"));
        let from = self.meter.now();
        self.testnet.kill(replica).await?;
        let left = self
            .testnet
            .status_when(self.job.patience, Roots::Spared, |status| status.view() > Some(view_before))
            .await?;
        let view_after = left.as_ref().ok().and_then(|status| status.view());
        let new_primary = left.as_ref().ok().and_then(|status| status.primary());
        if view_after.is_none() {
            self.reasons.push(format!("no view change within {:?} of {replica}'s death", self.job.patience));
        }
        let pause = self.service_resumes(from, "the primary's death").await;
        if let (Some(pause), Some(primary)) = (pause, new_primary) {
            self.progress.step(&format!("service paused {:.2} s; {primary} leads now", pause.as_secs_f64()));
        }
        self.calm().await;
        let paused_seconds = pause.map(|pause| pause.as_secs_f64());
        Ok(Some(CrashPhase { replica, view_before, view_after, new_primary, paused_seconds }))
    }

    /// Starts the killed replica again, and lets it catch up.
    pub(super) async fn restart(&mut self, crash: Option<&CrashPhase>) -> Option<RestartPhase> {
        let done = self.try_restart(crash).await;
        self.noted(done)
    }

    async fn try_restart(
        &mut self,
        crash: Option<&CrashPhase>,
    ) -> Result<Option<RestartPhase>, TestnetError> {
        let Some(CrashPhase { replica, .. }) = crash else { return Ok(None) };
        let replica = *replica;
        self.progress.step(&format!("starting {replica} again from its disk"));
        let started = Instant::now();
        self.testnet.restart(replica, false).await?;
        let listens_seconds = started.elapsed().as_secs_f64();
        let CatchUp { behind_until, took } =
            catches_up(self.testnet, replica, started, self.job.patience).await?;
        let caught_up_seconds = took.map(|took| took.as_secs_f64());
        match caught_up_seconds {
            Some(seconds) => self.progress.step(&format!("{replica} caught up in {seconds:.2} s")),
            None => self.reasons.push(format!("{replica} did not catch up within {:?}", self.job.patience)),
        }
        Ok(Some(RestartPhase { replica, listens_seconds, behind_until, caught_up_seconds }))
    }

    /// Makes the primary lie under load.
    pub(super) async fn lie(&mut self) -> Option<LiePhase> {
        let done = self.try_lie().await;
        self.noted(done)
    }

    async fn try_lie(&mut self) -> Result<Option<LiePhase>, TestnetError> {
        let Some((replica, view_before)) = self.primary().await? else { return Ok(None) };
        self.progress.step(&format!("{replica}, the primary, tells one half this and the other half that"));
        let from = self.meter.now();
        let started = Instant::now();
        self.testnet.set_fault(replica, &"equivocate".into(), false).await?;
        let mut evidence = Vec::new();
        let mut attempts = tokio::time::interval(Duration::from_millis(20));
        while evidence.is_empty() && started.elapsed() < self.job.patience {
            attempts.tick().await;
            evidence = self.testnet.evidence().await?.accusations().collect();
        }
        let found_seconds = (!evidence.is_empty()).then(|| started.elapsed().as_secs_f64());
        if found_seconds.is_none() {
            self.reasons.push(format!("no evidence against {replica} within {:?}", self.job.patience));
        }
        let left = self
            .testnet
            .status_when(self.job.patience, Roots::Spared, |status| status.view() > Some(view_before))
            .await?;
        let view_after = left.as_ref().ok().and_then(|status| status.view());
        let new_primary = left.as_ref().ok().and_then(|status| status.primary());
        if view_after.is_none() {
            self.reasons.push(format!("the lying primary {replica} was not replaced"));
        }
        let pause = self.service_resumes(from, "the primary's lie").await;
        if let (Some(found), Some(primary)) = (found_seconds, new_primary) {
            self.progress.step(&format!("proof against {replica} after {found:.2} s; {primary} leads now"));
        }
        Ok(Some(LiePhase {
            replica,
            strategy: "equivocate".into(),
            view_before,
            view_after,
            new_primary,
            found_seconds,
            paused_seconds: pause.map(|pause| pause.as_secs_f64()),
        }))
    }

    /// Who leads, once the replicas agree on it.
    async fn primary(&mut self) -> Result<Option<(pbft_messages::ReplicaId, u64)>, TestnetError> {
        let found = primary(self.testnet, self.job.patience).await?;
        if found.is_none() {
            self.reasons.push("the replicas do not agree who leads".into());
        }
        Ok(found)
    }

    /// Waits until answers flow again; how long the longest time without one was since `from`.
    async fn service_resumes(&mut self, from: Duration, after: &str) -> Option<Duration> {
        let resumed = self.meter.reached(self.meter.answered() + RESUMED, self.job.patience).await;
        if !resumed {
            self.reasons.push(format!("service did not resume within {:?} of {after}", self.job.patience));
        }
        resumed.then(|| self.meter.longest_gap(from, self.meter.now()).length)
    }
}
