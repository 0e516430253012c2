//! Everything in a short form, one after the other, with the targets.

use std::time::{Duration, Instant};

use serde::Serialize;

use pbft_testnet::Durability;

use super::targets::{Target, section, targets};
use super::{Attack, AttackMatrix, Comparison, Failover, Others, Scale, Search, Soak, Sweep, Trials, show};
use crate::lab::{Figures, Lab, LabError, Load};
use crate::page::Section;
use crate::references::{Etcd, Unreplicated};

/// How long each part takes, and how often it is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// How many connections share the load.
    pub connections: usize,
    /// The most submissions under way.
    pub most: usize,
    /// How long each load lasts.
    pub lasts_s: f64,
    /// How many turns the cluster takes with others.
    pub rounds: usize,
    /// The sizes of clusters, from the one that others are compared with.
    pub sizes: Vec<usize>,
    /// How long an attacking primary is watched.
    pub primary_lasts_s: f64,
    /// How often a primary is killed.
    pub kills: usize,
    /// How long the long run is.
    pub soak_s: f64,
}

impl Default for Plan {
    /// All of it in under five minutes, on two cores.
    fn default() -> Self {
        Self {
            connections: 16,
            most: 512,
            lasts_s: 2.0,
            rounds: 2,
            sizes: vec![4, 7, 10, 13],
            primary_lasts_s: 20.0,
            kills: 3,
            soak_s: 15.0,
        }
    }
}

/// Everything, in a short form. A part without a result is `null`, and [`Brief::failed`] tells why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Brief {
    /// Rises when a key changes its meaning or goes away.
    pub format: u32,
    /// How it was done.
    pub plan: Plan,
    /// What is aimed at, and whether it is reached.
    pub targets: Vec<Target>,
    /// The parts that an error ended early.
    pub failed: Vec<Failed>,
    /// One request at a time, replicas in `memory`.
    pub one_in_memory: Option<Figures>,
    /// One request at a time, replicas in `sync`.
    pub one_in_sync: Figures,
    /// Single requests, up to the peak.
    pub sweep: Sweep,
    /// Bundles of 64 requests, up to the peak.
    pub bundles: Option<Sweep>,
    /// The cluster at its peak of single requests beside others.
    pub comparison: Option<Comparison>,
    /// The cluster at its peak of bundles beside the unreplicated service.
    pub bundle_comparison: Option<Comparison>,
    /// Other sizes.
    pub scale: Option<Scale>,
    /// Under attack.
    pub attacks: Option<AttackMatrix>,
    /// Deaths of primaries.
    pub failover: Option<Failover>,
    /// A long run.
    pub soak: Option<Soak>,
    /// How long all of it took.
    pub took_s: f64,
}

/// A part that an error ended early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Which: a key of the result, or who could not be compared with.
    pub part: &'static str,
    /// What ended it.
    pub why: String,
}

impl Brief {
    /// Does everything, on clusters of 4 that are on disk: what the targets are for. One part alone is in memory.
    ///
    /// A part that an error ends early takes nothing from the others.
    ///
    /// # Errors
    /// [`LabError`], if the first part, whose peak is the load of others, has no result.
    pub async fn run(lab: &Lab, plan: Plan) -> Result<Self, LabError> {
        let lab = &lab.with(Durability::Sync);
        let began = Instant::now();
        let lasts = Duration::from_secs_f64(plan.lasts_s);
        let connections = plan.connections;
        let mut parts = Parts { lab, failed: Vec::new() };
        let (one_in_sync, sweep, bundles) = {
            let bed = lab.bed(4).await?;
            let subject = bed.subject()?;
            let one = lab.run("one-sync", &subject, Load::ONE, lasts).await?.figures();
            let search = Search::new(4, plan.most);
            let sweep = Sweep::run(lab, "sweep", &subject, 1, search, connections, lasts).await?;
            // A session has a window of 64 requests, which one bundle fills.
            let search = Search::new(4, connections * 2);
            let bundles = Sweep::run(lab, "bundles", &subject, 64, search, connections * 2, lasts).await;
            (one, sweep, parts.done("bundles", bundles, |it| it.stopped.as_ref()))
        };
        parts.stopped("sweep", sweep.stopped.as_ref());
        let one_in_memory = parts.done("one_in_memory", in_memory(lab, lasts).await, |_| None);
        let peak = sweep.peak.load;
        let unreplicated =
            parts
                .done("unreplicated", Unreplicated::start(lab.durability, lab.settings.identities), |_| None);
        let others = Others { unreplicated: unreplicated.as_ref(), etcd: None };
        let mut bundle_comparison = None;
        if let Some(load) = bundles.as_ref().map(|it| it.peak.load) {
            let done = Comparison::run(lab, "bundles-beside", others, 4, plan.rounds, load, lasts).await;
            bundle_comparison = parts.done("bundle_comparison", done, |it| it.stopped.as_ref());
        }
        let comparison = {
            let etcd = parts.done("etcd", etcd(lab).await, |_| None).flatten();
            let others = Others { etcd: etcd.as_ref(), ..others };
            let done = Comparison::run(lab, "beside", others, 4, plan.rounds, peak, lasts).await;
            parts.done("comparison", done, |it| it.stopped.as_ref())
        };
        drop(unreplicated);
        let scale = Scale::run(lab, &plan.sizes, 1, peak, lasts).await;
        let scale = parts.done("scale", scale, |it| it.stopped.as_ref());
        let primary_lasts = Duration::from_secs_f64(plan.primary_lasts_s);
        let trials = Trials { rounds: 1, lasts, primary_lasts };
        let attacks = AttackMatrix::run(lab, 4, &Attack::chosen(), peak, trials).await;
        let attacks = parts.done("attacks", attacks, |it| it.stopped.as_ref());
        let failover = Failover::run(lab, 4, plan.kills, peak).await;
        let failover = parts.done("failover", failover, |it| it.stopped.as_ref());
        let soak = Soak::run(lab, 4, peak, Duration::from_secs_f64(plan.soak_s)).await;
        let soak = parts.done("soak", soak, |_| None);
        let mut brief = Self {
            format: 2,
            plan,
            targets: Vec::new(),
            failed: parts.failed,
            one_in_memory,
            one_in_sync,
            sweep,
            bundles,
            comparison,
            bundle_comparison,
            scale,
            attacks,
            failover,
            soak,
            took_s: began.elapsed().as_secs_f64(),
        };
        brief.targets = targets(&brief);
        Ok(brief)
    }

    /// Whether every cluster kept its word under every load.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.one_in_memory.as_ref().is_none_or(Figures::kept)
            && self.one_in_sync.kept()
            && self.sweep.is_consistent()
            && self.bundles.as_ref().is_none_or(Sweep::is_consistent)
            && self.comparison.as_ref().is_none_or(Comparison::is_consistent)
            && self.bundle_comparison.as_ref().is_none_or(Comparison::is_consistent)
            && self.scale.as_ref().is_none_or(Scale::is_consistent)
            && self.attacks.as_ref().is_none_or(AttackMatrix::is_consistent)
            && self.failover.as_ref().is_none_or(Failover::is_consistent)
            && self.soak.as_ref().is_none_or(Soak::is_consistent)
    }

    /// What ended early, and why; `None` if nothing did.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        let told: Vec<_> = self.failed.iter().map(|Failed { part, why }| format!("{part}: {why}")).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// For people: the targets first.
    #[must_use]
    pub fn sections(&self) -> Vec<Section> {
        let memory = self.one_in_memory.as_ref().map(|it| ("memory".to_owned(), it));
        let one = memory.into_iter().chain([("sync".to_owned(), &self.one_in_sync)]);
        let targets = section(&self.targets).notes(show::stopped(self.stopped().as_ref())).note(format!(
            "Measured in {:.0} s: a short form. The long forms are commands of their own.",
            self.took_s
        ));
        let beside = |it: &Option<Comparison>, title| it.as_ref().map(|it| it.section(title));
        [
            Some(targets),
            Some(Section::new("One request at a time").table(show::runs("durability", one))),
            Some(self.sweep.section("Single requests")),
            self.bundles.as_ref().map(|it| it.section("Bundles of 64")),
            beside(&self.comparison, "Single requests beside others"),
            beside(&self.bundle_comparison, "Bundles beside the unreplicated service"),
            self.scale.as_ref().map(Scale::section),
            self.attacks.as_ref().map(AttackMatrix::section),
            self.failover.as_ref().map(Failover::section),
            self.soak.as_ref().map(Soak::section),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Takes note of what fails.
struct Parts<'a> {
    lab: &'a Lab,
    failed: Vec<Failed>,
}

impl Parts<'_> {
    /// The result of a part, if it has one.
    fn done<T>(
        &mut self,
        part: &'static str,
        done: Result<T, LabError>,
        stopped: fn(&T) -> Option<&String>,
    ) -> Option<T> {
        match done {
            Ok(done) => {
                self.stopped(part, stopped(&done));
                Some(done)
            }
            Err(error) => {
                self.stopped(part, Some(&error.to_string()));
                None
            }
        }
    }

    /// What ended a part early, if something did.
    fn stopped(&mut self, part: &'static str, why: Option<&String>) {
        if let Some(why) = why {
            self.lab.progress.step(&format!("{part} ended early: {why}"));
            self.failed.push(Failed { part, why: why.clone() });
        }
    }
}

/// One request at a time, on a cluster in memory.
async fn in_memory(lab: &Lab, lasts: Duration) -> Result<Figures, LabError> {
    let lab = lab.with(Durability::Memory);
    let bed = lab.bed(4).await?;
    Ok(lab.run("one-memory", &bed.subject()?, Load::ONE, lasts).await?.figures())
}

/// etcd, if it is installed.
async fn etcd(lab: &Lab) -> Result<Option<Etcd>, LabError> {
    lab.progress.step("starting 3 nodes of etcd");
    match Etcd::start().await {
        Ok(etcd) => Ok(Some(etcd)),
        Err(LabError::NotInstalled { program, .. }) => {
            lab.progress.step(&format!("{program} is not installed: nothing is compared with it"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
