//! The cluster beside others, turn by turn.

use std::time::Duration;

use serde::Serialize;

use super::show;
use super::statistics::Spread;
use crate::lab::{Figures, Lab, LabError, Load};
use crate::page::{Section, Table};
use crate::references::{Ceiling, Etcd, EtcdRun, SignatureCosts, Unreplicated};
use crate::verdict::VerdictResult;

/// The cluster, the signature ceiling and a 3-node etcd, turn by turn under the same load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What `etcd --version` says; `null` if it was not there.
    pub etcd_version: Option<String>,
    /// One after the other.
    pub turns: Vec<Turn>,
    /// Our throughput to the signature ceiling's.
    pub to_ceiling: Option<Spread>,
    /// Our throughput to etcd's; `null` if it was not there.
    pub to_etcd: Option<Spread>,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// The signature ceiling, from before and after our run.
    pub ceiling: Ceiling,
    /// Our run.
    pub ours: Figures,
    /// etcd's, right after it; `null` if it was not there.
    pub etcd: Option<EtcdRun>,
}

impl Comparison {
    /// Loads a cluster of `n` and etcd in turns.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(
        lab: &Lab,
        etcd: Option<&Etcd>,
        n: usize,
        rounds: usize,
        load: Load,
        lasts: Duration,
    ) -> Result<Self, LabError> {
        let bed = lab.bed(n).await?;
        let subject = bed.subject()?;
        let mut turns = Vec::with_capacity(rounds);
        for round in 1..=rounds {
            let before = SignatureCosts::measure();
            let ours = lab.run(&format!("turn-{round}"), &subject, load, lasts).await?.figures();
            let ceiling = before.between(SignatureCosts::measure()).ceiling(n);
            let etcd = match etcd {
                None => None,
                Some(etcd) => Some(etcd.run(&lab.settings, load, lasts).await?),
            };
            if let Some(etcd) = &etcd {
                lab.progress.step(&format!("etcd: {}/s", show::rate(etcd.throughput_per_s)));
            }
            turns.push(Turn { ceiling, ours, etcd });
        }
        let ratios = |other: fn(&Turn) -> Option<f64>| {
            let ratio = |turn: &Turn| Some(turn.ours.throughput_per_s / other(turn)?);
            Spread::of(&turns.iter().filter_map(ratio).collect::<Vec<_>>())
        };
        Ok(Self {
            etcd_version: etcd.map(|etcd| etcd.version.clone()),
            to_ceiling: ratios(|turn| Some(turn.ceiling.requests_per_s)),
            to_etcd: ratios(|turn| turn.etcd.as_ref().map(|it| it.throughput_per_s)),
            turns,
        })
    }

    /// Whether all kept their word each time.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let etcd = |turn: &Turn| turn.etcd.as_ref().is_none_or(EtcdRun::is_consistent);
        self.turns.iter().all(|turn| turn.ours.verdict != VerdictResult::Fail && etcd(turn))
    }

    /// For people.
    #[must_use]
    pub fn section(&self) -> Section {
        let mut table =
            Table::new(&["turn", "under way", "a second", "p50", "p99", "processor time a request", "verdict"]);
        for (number, Turn { ceiling, ours, etcd }) in (1..).zip(&self.turns) {
            let nothing = || "-".to_owned();
            table.add(vec![
                format!("{number} pbft"),
                ours.load.outstanding().to_string(),
                show::rate(ours.throughput_per_s),
                show::latency(ours.p50_us),
                show::latency(ours.p99_us),
                show::processor(ours.processor_us),
                show::verdict(ours.verdict),
            ]);
            let name = format!("{number} signature ceiling");
            let per_request = ceiling.cores as f64 * 1e6 / ceiling.requests_per_s;
            let (rate, cost) = (show::rate(ceiling.requests_per_s), show::processor(Some(per_request)));
            table.add(vec![name, nothing(), rate, nothing(), nothing(), cost, nothing()]);
            if let Some(etcd) = etcd {
                table.add(vec![
                    format!("{number} etcd"),
                    etcd.load.outstanding().to_string(),
                    show::rate(etcd.throughput_per_s),
                    show::latency(Some(etcd.p50_us)),
                    show::latency(Some(etcd.p99_us)),
                    show::processor(etcd.processor_us),
                    if etcd.is_consistent() { "pass" } else { "FAIL" }.to_owned(),
                ]);
            }
        }
        let told = |spread: Option<Spread>| spread.map_or("not measured".to_owned(), |it| it.told());
        let section = Section::new("Beside the ceiling and etcd").note(format!(
            "Throughput to the signature ceiling's: {}. To etcd's: {}.",
            told(self.to_ceiling),
            told(self.to_etcd)
        ));
        let how = match &self.etcd_version {
            None => "etcd is not on PATH, so there is nothing to compare with.".to_owned(),
            Some(version) => format!(
                "etcd {version} from PATH: 3 nodes on this machine with their files on disk, no authentication, no TLS, puts of \
                 the same size on as many keys. It is driven by gRPC puts over HTTP/2 (the crate h2, with protocol buffers by \
                 hand, less work than any gRPC library does), all to the leader, in the same closed loop, with as many \
                 connections and as many puts under way. Its clients sign nothing, and its nodes trust each other.",
            ),
        };
        section.note(how).table(table)
    }
}

/// What requests cost without agreement, and what nothing can beat.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct References {
    /// The signature ceiling of 4 replicas.
    pub ceiling: Ceiling,
    /// The same service unreplicated, under each load.
    pub unreplicated: Vec<Figures>,
}

impl References {
    /// Measures the references under each of these loads.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(lab: &Lab, loads: &[Load], lasts: Duration) -> Result<Self, LabError> {
        let ceiling = SignatureCosts::measure().ceiling(4);
        let mut unreplicated = Vec::with_capacity(loads.len());
        for load in loads {
            let server = Unreplicated::start(lab.durability)?;
            let name = format!("unreplicated-{}", load.outstanding());
            unreplicated.push(lab.run(&name, &server.subject()?, *load, lasts).await?.figures());
        }
        Ok(Self { ceiling, unreplicated })
    }

    /// For people.
    #[must_use]
    pub fn section(&self) -> Section {
        Section::new("References")
            .note(self.ceiling.told())
            .note(
                "Unreplicated: the same key-value service in one process, over the same transport, under the same client and \
                 load. Each submission's signature is verified once, and executed at once; with `sync`, groups of submissions \
                 are on disk before they are executed. The client library believes f+1 = 2 equal replies, so the process answers \
                 on two links what it has executed once.",
            )
            .table(show::runs("unreplicated", self.unreplicated.iter().map(|it| (it.load.to_string(), it))))
    }
}
