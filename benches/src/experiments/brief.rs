//! Everything in a short form, one after the other, with the targets.

use std::time::{Duration, Instant};

use serde::Serialize;

use pbft_testnet::Durability;

use super::targets::{Target, section, targets};
use super::{Attack, AttackMatrix, Comparison, Failover, Others, Scale, Search, Soak, Sweep, show};
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
    /// How many turns the cluster takes with etcd.
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

/// Everything, in a short form.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Brief {
    /// Rises when a key changes its meaning or goes away.
    pub format: u32,
    /// How it was done.
    pub plan: Plan,
    /// What is aimed at, and whether it is reached.
    pub targets: Vec<Target>,
    /// One request at a time, replicas in `memory`.
    pub one_in_memory: Figures,
    /// One request at a time, replicas in `sync`.
    pub one_in_sync: Figures,
    /// Single requests, up to the peak.
    pub sweep: Sweep,
    /// Bundles of 64 requests, up to the peak.
    pub bundles: Sweep,
    /// The cluster at its peak of single requests beside others.
    pub comparison: Comparison,
    /// The cluster at its peak of bundles beside the unreplicated service.
    pub bundle_comparison: Comparison,
    /// Other sizes.
    pub scale: Scale,
    /// Under attack.
    pub attacks: AttackMatrix,
    /// Deaths of primaries.
    pub failover: Failover,
    /// A long run.
    pub soak: Soak,
    /// How long all of it took.
    pub took_s: f64,
}

impl Brief {
    /// Does everything, on clusters of 4 that are on disk: what the targets are for. One part alone is in memory.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(lab: &Lab, plan: Plan) -> Result<Self, LabError> {
        let lab = &lab.with(Durability::Sync);
        let began = Instant::now();
        let lasts = Duration::from_secs_f64(plan.lasts_s);
        let connections = plan.connections;
        let (one_in_sync, sweep, bundles) = {
            let bed = lab.bed(4).await?;
            let subject = bed.subject()?;
            let one = lab.run("one-sync", &subject, Load::ONE, lasts).await?.figures();
            let search = Search::new(4, plan.most);
            let sweep = Sweep::run(lab, "sweep", &subject, 1, search, connections, lasts).await?;
            // A session has a window of 64 requests, which one bundle fills.
            let search = Search::new(4, connections * 2);
            let bundles = Sweep::run(lab, "bundles", &subject, 64, search, connections * 2, lasts).await?;
            (one, sweep, bundles)
        };
        let in_memory = lab.with(Durability::Memory);
        let one_in_memory = {
            let bed = in_memory.bed(4).await?;
            in_memory.run("one-memory", &bed.subject()?, Load::ONE, lasts).await?.figures()
        };
        let peak = sweep.peak.load;
        let unreplicated = Unreplicated::start(lab.durability)?;
        let others = Others { unreplicated: Some(&unreplicated), etcd: None };
        let load = bundles.peak.load;
        let bundle_comparison =
            Comparison::run(lab, "bundles-beside", others, 4, plan.rounds, load, lasts).await?;
        let comparison = {
            let etcd = etcd(lab).await?;
            let others = Others { etcd: etcd.as_ref(), ..others };
            Comparison::run(lab, "beside", others, 4, plan.rounds, peak, lasts).await?
        };
        drop(unreplicated);
        let scale = Scale::run(lab, &plan.sizes, peak, lasts).await?;
        let primary_lasts = Duration::from_secs_f64(plan.primary_lasts_s);
        let attacks = AttackMatrix::run(lab, 4, &Attack::chosen(), peak, lasts, primary_lasts).await?;
        let failover = Failover::run(lab, 4, plan.kills, peak).await?;
        let soak = Soak::run(lab, 4, peak, Duration::from_secs_f64(plan.soak_s)).await?;
        let mut brief = Self {
            format: 1,
            plan,
            targets: Vec::new(),
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
        self.one_in_memory.kept()
            && self.one_in_sync.kept()
            && self.sweep.is_consistent()
            && self.bundles.is_consistent()
            && self.comparison.is_consistent()
            && self.bundle_comparison.is_consistent()
            && self.scale.is_consistent()
            && self.attacks.is_consistent()
            && self.failover.is_consistent()
            && self.soak.is_consistent()
    }

    /// For people: the targets first.
    #[must_use]
    pub fn sections(&self) -> Vec<Section> {
        let one = [("memory".to_owned(), &self.one_in_memory), ("sync".to_owned(), &self.one_in_sync)];
        vec![
            section(&self.targets).note(format!(
                "Measured in {:.0} s: a short form. The long forms are commands of their own.",
                self.took_s
            )),
            Section::new("One request at a time").table(show::runs("durability", one)),
            self.sweep.section("Single requests"),
            self.bundles.section("Bundles of 64"),
            self.comparison.section("Single requests beside others"),
            self.bundle_comparison.section("Bundles beside the unreplicated service"),
            self.scale.section(),
            self.attacks.section(),
            self.failover.section(),
            self.soak.section(),
        ]
    }
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
