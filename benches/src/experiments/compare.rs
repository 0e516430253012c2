//! The cluster beside others, turn by turn.

use std::time::Duration;

use serde::Serialize;

use super::show;
use super::statistics::Spread;
use super::stopped::early;
use crate::lab::{Figures, Lab, LabError, Load, Subject};
use crate::page::{Section, Table};
use crate::references::{Ceiling, Etcd, EtcdRun, SignatureCosts, Unreplicated};

/// What a cluster is compared with, besides the signature ceiling.
#[derive(Clone, Copy, Default)]
pub struct Others<'a> {
    /// The same service unreplicated.
    pub unreplicated: Option<&'a Unreplicated>,
    /// Three nodes of etcd.
    pub etcd: Option<&'a Etcd>,
}

/// The cluster, the signature ceiling and others, turn by turn under the same load; every other turn the others are first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What `etcd --version` says; `null` if it was not among the others.
    pub etcd_version: Option<String>,
    /// One after the other.
    pub turns: Vec<Turn>,
    /// Our median latencies in microseconds.
    pub p50_us: Option<Spread>,
    /// Ours within which 99% were answered.
    pub p99_us: Option<Spread>,
    /// Our throughput to the signature ceiling's.
    pub to_ceiling: Option<Spread>,
    /// Our throughput to that of the unreplicated service; `null` if it was not among the others.
    pub to_unreplicated: Option<Spread>,
    /// Our throughput to etcd's, of the turns in which its leader did not change; `null` if there are none.
    pub to_etcd: Option<Spread>,
    /// What ended it early; `null` if nothing did.
    pub stopped: Option<String>,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// The signature ceiling, from before and after our run.
    pub ceiling: Ceiling,
    /// Our run.
    pub ours: Figures,
    /// The unreplicated service's.
    pub unreplicated: Option<Figures>,
    /// etcd's.
    pub etcd: Option<EtcdRun>,
}

impl Others<'_> {
    /// One turn of those that there are, with names for their runs' files that begin so.
    async fn run(
        &self,
        lab: &Lab,
        name: &str,
        load: Load,
        lasts: Duration,
    ) -> Result<(Option<Figures>, Option<EtcdRun>), LabError> {
        let unreplicated = match self.unreplicated {
            None => None,
            Some(server) => {
                let name = format!("{name}-unreplicated");
                Some(lab.run(&name, &server.subject()?, load, lasts).await?.figures())
            }
        };
        let etcd = match self.etcd {
            None => None,
            Some(etcd) => Some(etcd.run(&lab.settings, load, lasts).await?),
        };
        if let Some(EtcdRun { throughput_per_s, led, .. }) = &etcd {
            let changed = if *led { "" } else { "; its leader changed, so this turn is not compared" };
            lab.progress.step(&format!("etcd: {}/s{changed}", show::rate(*throughput_per_s)));
        }
        Ok((unreplicated, etcd))
    }
}

impl Comparison {
    /// Loads a cluster of `n` and others in turns. `name` is for the files of the runs. An error after the first turn ends it
    /// with the turns until then.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(
        lab: &Lab,
        name: &str,
        others: Others<'_>,
        n: usize,
        rounds: usize,
        load: Load,
        lasts: Duration,
    ) -> Result<Self, LabError> {
        let bed = lab.bed(n).await?;
        let subject = bed.subject()?;
        let mut turns = Vec::with_capacity(rounds);
        let ended = async {
            for round in 1..=rounds {
                let name = format!("{name}-{round}");
                // Nobody always comes first: what goes before may leave the disk, or the processor's clock, in another state.
                let is_first = round % 2 == 1;
                turns.push(Turn::take(lab, &name, others, &subject, load, lasts, is_first).await?);
            }
            Ok(())
        }
        .await;
        let stopped = early(ended, turns.is_empty())?;
        Ok(Self::new(others.etcd.map(|etcd| etcd.version.clone()), turns, stopped))
    }

    /// What turns come to.
    pub(super) fn new(etcd_version: Option<String>, turns: Vec<Turn>, stopped: Option<String>) -> Self {
        let ratios = |other: fn(&Turn) -> Option<f64>| {
            Spread::over(&turns, |turn| Some(turn.ours.throughput_per_s / other(turn)?))
        };
        Self {
            etcd_version,
            p50_us: Spread::over(&turns, |turn| turn.ours.p50_us.map(|it| it as f64)),
            p99_us: Spread::over(&turns, |turn| turn.ours.p99_us.map(|it| it as f64)),
            to_ceiling: ratios(|turn| Some(turn.ceiling.requests_per_s)),
            to_unreplicated: ratios(|turn| turn.unreplicated.as_ref().map(|it| it.throughput_per_s)),
            to_etcd: ratios(|turn| turn.etcd.as_ref().filter(|it| it.led).map(|it| it.throughput_per_s)),
            turns,
            stopped,
        }
    }

    /// Our throughput in requests a second; `None` if there were no turns.
    #[must_use]
    pub fn throughput(&self) -> Option<Spread> {
        Spread::over(&self.turns, |turn| Some(turn.ours.throughput_per_s))
    }

    /// Whether we kept our word each time.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.turns.iter().all(|turn| turn.ours.kept())
    }

    /// Whether all kept their word each time.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.turns.iter().all(|Turn { ours, unreplicated, etcd, .. }| {
            ours.kept()
                && unreplicated.as_ref().is_none_or(Figures::kept)
                && etcd.as_ref().is_none_or(EtcdRun::is_consistent)
        })
    }

    /// For people.
    #[must_use]
    pub fn section(&self, title: &str) -> Section {
        let mut table = Table::new(&[
            "turn",
            "under way",
            "a second",
            "p50",
            "p99",
            "processor time a request",
            "verdict",
        ]);
        for (number, Turn { ceiling, ours, unreplicated, etcd }) in (1..).zip(&self.turns) {
            let per_request = ceiling.cores as f64 * 1e6 / ceiling.requests_per_s;
            let mut row = |who: &str, cells: [String; 6]| {
                table.add(std::iter::once(format!("{number} {who}")).chain(cells).collect());
            };
            row("pbft", show::run(ours));
            if let Some(unreplicated) = unreplicated {
                row("unreplicated", show::run(unreplicated));
            }
            if let Some(etcd) = etcd {
                row(
                    "etcd",
                    [
                        etcd.load.outstanding().to_string(),
                        show::rate(etcd.throughput_per_s),
                        show::latency(Some(etcd.p50_us)),
                        show::latency(Some(etcd.p99_us)),
                        show::processor(etcd.processor_us),
                        show::verdict_on_etcd(etcd),
                    ],
                );
            }
            let none = || "-".to_owned();
            let (rate, cost) = (show::rate(ceiling.requests_per_s), show::processor(Some(per_request)));
            row("signature ceiling", [none(), rate, none(), none(), cost, none()]);
        }
        let told = |it: Option<Spread>| it.map_or("not measured".to_owned(), |it| show::ratios(Some(it)));
        let mut section = Section::new(title).notes(show::stopped(self.stopped.as_ref())).note(format!(
            "Ours: {}, p50 {}, p99 {}. Throughput to the signature ceiling's: {}; to the unreplicated service's: {}; to etcd's: {}.",
            show::rates(self.throughput()),
            show::latencies(self.p50_us),
            show::latencies(self.p99_us),
            told(self.to_ceiling),
            told(self.to_unreplicated),
            told(self.to_etcd)
        ));
        section = section.notes(self.turns.first().map(|turn| turn.ceiling.told()));
        section = section.notes(self.to_unreplicated.map(|_| UNREPLICATED.to_owned()));
        section = section.notes(self.etcd_version.as_ref().map(|version| format!("etcd {version}{ETCD}")));
        section.table(table)
    }
}

impl Turn {
    /// Loads the cluster before the others, or after them.
    async fn take(
        lab: &Lab,
        name: &str,
        others: Others<'_>,
        subject: &Subject,
        load: Load,
        lasts: Duration,
        is_first: bool,
    ) -> Result<Self, LabError> {
        let ours = async {
            let before = SignatureCosts::measure().await;
            let ours = lab.run(name, subject, load, lasts).await?.figures();
            let after = SignatureCosts::measure().await;
            Ok::<_, LabError>((before.between(after).ceiling(subject.cluster.n(), load.bundle), ours))
        };
        let theirs = others.run(lab, name, load, lasts);
        let ((ceiling, ours), (unreplicated, etcd)) = if is_first {
            let ours = ours.await?;
            (ours, theirs.await?)
        } else {
            let theirs = theirs.await?;
            (ours.await?, theirs)
        };
        Ok(Self { ceiling, ours, unreplicated, etcd })
    }
}

/// How the unreplicated service is made, for people.
const UNREPLICATED: &str = "Unreplicated: the same key-value service in one process, over the same transport, under the \
     same client and load. Each submission's signature is verified once, and executed at once; with `sync`, groups of \
     submissions are on disk before they are executed. The client library believes f+1 = 2 equal replies, so the process \
     answers on two links what it has executed once.";

/// How etcd is driven, for people, after its version.
const ETCD: &str = " from PATH: 3 nodes on this machine with their files on disk, no authentication, no TLS, puts of the same \
     size on as many keys. It is driven by gRPC puts over HTTP/2 (the crate h2, with protocol buffers by hand, less work \
     than any gRPC library does), all to the leader, in the same closed loop, with as many connections and as many puts \
     under way. Its clients sign nothing, and its nodes trust each other.";
