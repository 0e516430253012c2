//! One loaded run, with what it cost.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use pbft_testnet::Durability;
use pbft_testnet::process::ProcessId;

use super::{Bed, Environment, LabError, Load, Subject, WarmsUp, warmup};
use crate::files::{prepare_folder, write_files};
use crate::load::Measured;
use crate::record::Durability as Told;
use crate::report::Report;
use crate::settings::{Extent, Settings};
use crate::verdict::VerdictResult;
use crate::{Remarks, Stage};

/// How long to wait at the end of a run for the replicas to be told; they find out without it.
const FAREWELL: Duration = Duration::from_millis(100);

/// Where experiments are carried out.
#[derive(Clone)]
pub struct Lab {
    /// What all runs have in common; each has a load and a duration of its own.
    pub settings: Settings,
    /// How replicas keep what they acknowledge.
    pub durability: Durability,
    /// Where the result of each run is kept, in a folder of its own; `None` keeps nothing.
    pub output: Option<PathBuf>,
    /// Is told how it is going.
    pub progress: Arc<dyn pbft_testnet::Progress>,
    /// What the first run recorded; of all clones.
    pub environment: Arc<OnceLock<Environment>>,
}

/// A loaded run.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it was for.
    pub name: String,
    /// What was offered.
    pub load: Load,
    /// The result, as a run by itself would report it.
    pub report: Report,
    /// What was measured.
    pub measured: Measured,
    /// The processor time of all processes for each answered request, in microseconds; `None` if one ended meanwhile.
    pub processor_us: Option<f64>,
}

/// A run's figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// What the run was for; the name of its folder among the files.
    pub name: String,
    /// What was offered.
    pub load: Load,
    /// Answered requests a second.
    pub throughput_per_s: f64,
    /// Requests that may or may not have been executed.
    pub unknown: u64,
    /// Requests that surely were not executed.
    pub failed: u64,
    /// The median latency in microseconds; `null` if nothing was answered.
    pub p50_us: Option<u64>,
    /// 99% were answered within; `null` if nothing was answered.
    pub p99_us: Option<u64>,
    /// The processor time of all processes for each answered request, in microseconds.
    pub processor_us: Option<f64>,
    /// The consistency verdict.
    pub verdict: VerdictResult,
}

impl Run {
    /// Its figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let latency = self.report.all.latency_us.as_ref();
        Figures {
            name: self.name.clone(),
            load: self.load,
            throughput_per_s: self.report.throughput_per_s,
            unknown: self.report.all.unknown,
            failed: self.report.all.failed,
            p50_us: latency.map(|it| it.p50),
            p99_us: latency.map(|it| it.p99),
            processor_us: self.processor_us,
            verdict: self.report.verdict.result,
        }
    }
}

impl Figures {
    /// Requests without an answer.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.unknown + self.failed
    }

    /// Whether there were requests, all were answered, and all that was acknowledged was seen to be kept. Not known is not
    /// kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.verdict == VerdictResult::Pass && self.p50_us.is_some() && self.unanswered() == 0
    }
}

impl Lab {
    /// The same with another durability.
    #[must_use]
    pub fn with(&self, durability: Durability) -> Self {
        Self { durability, ..self.clone() }
    }

    /// Starts a testnet of so many replicas.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn bed(&self, n: usize) -> Result<Bed, LabError> {
        self.progress.step(&format!("starting {n} replicas, durability {}", self.durability));
        Bed::start(n, self.durability, self.settings.identities).await
    }

    /// Loads a subject for so long after the warm-up, and reads back what it acknowledged.
    ///
    /// # Errors
    /// [`LabError`], also if one of the subject's processes ends; a verdict that fails is none.
    pub async fn run(
        &self,
        name: &str,
        subject: &Subject,
        load: Load,
        lasts: Duration,
    ) -> Result<Run, LabError> {
        let run = self.run_while_some_end(name, subject, load, lasts, warmup().0).await?;
        subject.all_live()?;
        Ok(run)
    }

    /// The same where processes of the subject may end meanwhile. It tells when the warm-up is over.
    ///
    /// # Errors
    /// [`LabError`]; a verdict that fails is none.
    pub async fn run_while_some_end(
        &self,
        name: &str,
        subject: &Subject,
        load: Load,
        lasts: Duration,
        warms_up: WarmsUp,
    ) -> Result<Run, LabError> {
        let settings = Settings { extent: Extent::Lasts(lasts), ..load.applied_to(&self.settings) };
        settings.check(&subject.cluster)?;
        let folder = self.output.as_ref().map(|output| output.join("runs").join(name));
        folder.as_deref().map(prepare_folder).transpose()?;
        let connectors = subject.connectors(&settings)?;
        self.progress.live(name);

        let (mut before, mut after) = (None, None);
        let told = match self.durability {
            Durability::Sync => Told::Sync,
            Durability::Memory => Told::Memory,
        };
        let mut warms_up = Some(warms_up);
        let observe = |stage: Stage<'_>| match stage {
            Stage::Opening | Stage::Preloading | Stage::ReadingBack => {}
            Stage::Loading(None) => {
                if let Some(warms_up) = warms_up.take() {
                    warms_up.until(Instant::now() + settings.warmup);
                }
            }
            Stage::Loading(Some(progress)) => {
                if let Some(elapsed) = progress.elapsed {
                    after = Some((subject.processor_time(), progress.answered));
                    before = before.or(after);
                    let (elapsed, all) = (elapsed.as_secs_f64(), lasts.as_secs_f64());
                    let rate = progress.answered as f64 / elapsed.max(0.001);
                    self.progress.live(&format!("{name}: {elapsed:.0} of {all:.0} s, {rate:.0}/s"));
                }
            }
        };
        let remarks = Remarks { durability: told, note: Some(name.to_owned()) };
        // Who wants to end an experiment drops its future.
        let for_ever = CancellationToken::new();
        let (report, measured) =
            crate::run(&connectors, &subject.cluster, &settings, remarks, &for_ever, observe).await?;
        // All share one socket.
        if let Some(connector) = connectors.into_iter().next() {
            // Being late here harms nobody.
            let _ = tokio::time::timeout(FAREWELL, connector.shutdown()).await;
        }
        if let Some(folder) = folder {
            write_files(&folder, &report, &measured)?;
        }
        self.environment.get_or_init(|| {
            let environment = Environment::from(&report.record);
            if let Some(warning) = environment.warning() {
                self.progress.step(&format!("warning: {warning}"));
            }
            environment
        });
        let processor_us = before.zip(after).and_then(|((before, earlier), (after, later))| {
            let spent = after?.checked_sub(before?)?;
            (later > earlier).then(|| spent.as_secs_f64() * 1e6 / (later - earlier) as f64)
        });
        let run = Run { name: name.to_owned(), load, report, measured, processor_us };
        self.progress.step(&told_of(&run.figures()));
        Ok(run)
    }
}

/// A line for whoever watches.
fn told_of(figures: &Figures) -> String {
    let Figures { name, load, throughput_per_s, p50_us, .. } = figures;
    let p50 = p50_us.map_or("-".to_owned(), |p50| format!("{:.2} ms", p50 as f64 / 1000.0));
    let unanswered = match figures.unanswered() {
        0 => String::new(),
        count => format!(", {count} unanswered"),
    };
    format!("{name}: {load} under way, {throughput_per_s:.0}/s, p50 {p50}{unanswered}")
}

/// The processor time of this process and these; `None` if one has ended.
pub(crate) fn processor_time<'a>(processes: impl IntoIterator<Item = &'a ProcessId>) -> Option<Duration> {
    let own = ProcessId::of(std::process::id());
    own.into_iter().chain(processes.into_iter().copied()).map(|it| it.processor_time()).sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run of one request at a time that went well.
    pub(crate) fn figures(throughput_per_s: f64, p50_us: u64, p99_us: u64) -> Figures {
        Figures {
            name: "test".into(),
            load: Load::ONE,
            throughput_per_s,
            unknown: 0,
            failed: 0,
            p50_us: Some(p50_us),
            p99_us: Some(p99_us),
            processor_us: None,
            verdict: VerdictResult::Pass,
        }
    }

    #[test]
    fn only_what_was_answered_and_seen_to_be_kept_is_kept() {
        let good = figures(10.0, 1, 2);
        assert!(good.kept());
        for wrong in [
            Figures { verdict: VerdictResult::Fail, ..good.clone() },
            Figures { verdict: VerdictResult::Unknown, ..good.clone() },
            Figures { p50_us: None, ..good.clone() },
            Figures { unknown: 1, ..good.clone() },
            Figures { failed: 1, ..good.clone() },
        ] {
            assert!(!wrong.kept(), "{wrong:?}");
        }
        let some = Figures { unknown: 2, failed: 3, ..good.clone() };
        assert!(told_of(&some).ends_with(", 5 unanswered") && !told_of(&good).contains("unanswered"));
    }
}
