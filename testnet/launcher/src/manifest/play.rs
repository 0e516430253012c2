//! Doing what a manifest says.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use pbft_byzantine::Harm;
use pbft_messages::ReplicaId;

use super::attackers::Attackers;
use super::expect::Measured;
use super::samples::Sampler;
use super::seen::Seen;
use super::{Action, Manifest, Report, Step, StepReport, Target};
use crate::check::{Outcome, Recorded};
use crate::traffic::{Meter, Preloaded};
use crate::trial::acts::{catches_up, load_records, primary};
use crate::trial::{Case, Judgement, Live, Progress, Settled, Trial, judge};
use crate::{Lifetime, Malice, Options, Testnet, TestnetError};

/// How many times the patience with one answer the preloading may take.
const PRELOAD: u32 = 4;

/// Does what a manifest says, with replicas in `folder`, and judges. What the cluster does wrong is in the report.
/// The replicas are stopped at the end; dropping the future kills them.
///
/// # Errors
/// [`TestnetError`], where the trial could not be held at all.
pub async fn run(
    manifest: &Manifest,
    folder: &Path,
    progress: Arc<dyn Progress>,
) -> Result<Report, TestnetError> {
    let started = Instant::now();
    let options = Options {
        n: Some(manifest.nodes),
        durability: Some(manifest.durability),
        parameters: manifest.parameters.clone(),
        lifetime: Lifetime::Tethered,
        late: manifest.late.clone(),
        ..Options::new(folder).map_err(|source| TestnetError::File { path: folder.to_owned(), source })?
    };
    progress.step(&format!("{}: starting {} replicas", manifest.name, manifest.nodes - manifest.late.len()));
    let mut trial = Trial::begin(options, manifest.patience).await?;
    let mut report = Report::new(manifest);
    let mut played = Played::default();
    if let Err(why) = play(manifest, &mut trial, &progress, &mut report, &mut played).await {
        report.reasons.push(why);
    }
    progress.step("judging what the clients saw");
    let Played { preloaded, history } = &played;
    let settled = manifest.expect.all_equal_within.map_or(Settled::Correct, Settled::All);
    let strangers = manifest.steps.iter().any(|step| matches!(step.action, Action::Attack(_)));
    let suspects = liars(&manifest.steps, &report.steps, |malice| malice.harm() == Harm::Disagreement);
    let (accused, suspects) = (&manifest.expect.accused, &suspects);
    let case = Case { history, preloaded, liars: accused, suspects, settled, strangers };
    let Judgement { checks, evidence, status } = judge(&trial, case).await?;
    let liars = liars(&manifest.steps, &report.steps, |_| true);
    report.seen = Seen::by_others(&trial.testnet.events()?, &liars);
    trial.end().await?;
    report.unanswered = history.iter().filter(|recorded| recorded.outcome == Outcome::Unknown).count();
    report.operations = history.len() - report.unanswered;
    let measured = Measured {
        steps: &report.steps,
        throughput: report.throughput,
        longest_pause: Duration::from_secs_f64(report.longest_pause_seconds),
        usage: &report.usage,
        status: &status,
        seen: &report.seen,
        evidence: &evidence,
    };
    report.checks = [checks, manifest.expect.checks(&measured)].concat();
    (report.evidence, report.status) = (evidence, Some(status));
    Ok(report.judged(started.elapsed()))
}

/// Those that were made to misbehave so, whoever that came to be, and those that lent them their keys.
fn liars(steps: &[Step], reports: &[StepReport], so: fn(&Malice) -> bool) -> BTreeSet<ReplicaId> {
    let liars = steps.iter().zip(reports).filter_map(|(step, report)| match &step.action {
        Action::Fault(malice) if so(malice) => {
            Some(report.replicas.iter().chain(&malice.accomplices).copied())
        }
        _ => None,
    });
    liars.flatten().collect()
}

/// What the checks need of a trial.
#[derive(Default)]
struct Played {
    preloaded: Preloaded,
    history: Vec<Recorded>,
}

/// Everything from the preloading to the load's end. The error says why it was not done to the end.
async fn play(
    manifest: &Manifest,
    trial: &mut Trial,
    progress: &Arc<dyn Progress>,
    report: &mut Report,
    played: &mut Played,
) -> Result<(), String> {
    if manifest.preload.keys > 0 {
        progress.step(&format!("preloading {} keys", manifest.preload.keys));
        let began = Instant::now();
        played.preloaded = preload(manifest, trial).await?;
        report.preload_seconds = Some(began.elapsed().as_secs_f64());
    }
    let mut traffic = trial.traffic(manifest.load.clone()).await?;
    let meter = Arc::clone(traffic.meter());
    let live = Live::start(Arc::clone(&meter), Arc::clone(progress));
    let loaded = load_records(&mut traffic, trial.patience).await;
    if loaded {
        traffic.start();
        let sampler = manifest.expect.growth.map(|growth| Sampler::start(&trial.testnet, growth.warm_up));
        let from = meter.now();
        let mut player = Player {
            manifest,
            testnet: &mut trial.testnet,
            progress: &**progress,
            began: Instant::now(),
            next: 0,
            steps: Vec::new(),
            watched: Vec::new(),
            attackers: Attackers::default(),
        };
        player.play().await;
        let attacks = std::mem::take(&mut player.attackers).stop().await;
        report.steps = player.steps;
        for (strategy, attacked) in attacks {
            match attacked {
                Ok(attacked) => {
                    if attacked.sent == 0 {
                        report.reasons.push(format!("attack {strategy}: nothing was sent"));
                    }
                    report.attacks.push((strategy, attacked));
                }
                Err(error) => report.reasons.push(format!("attack {strategy}: {error}")),
            }
        }
        measure(report, &meter, from);
        if let Some(sampler) = sampler {
            report.usage = sampler.map_err(|error| error.to_string())?.stop().await;
        }
    }
    played.history = traffic.stop(trial.patience).await;
    drop(live);
    if loaded { Ok(()) } else { Err(format!("the load stood still for {:?}", trial.patience)) }
}

async fn preload(manifest: &Manifest, trial: &Trial) -> Result<Preloaded, String> {
    let patience = trial.patience * PRELOAD;
    let put = async {
        let client = trial.connector.open_session().await.map_err(|error| error.to_string())?;
        manifest.preload.put(&client).await.map_err(|error| error.to_string())
    };
    let put = tokio::time::timeout(patience, put).await;
    put.unwrap_or_else(|_| Err(format!("not preloaded within {patience:?}")))
}

/// What the meter says about the load since `from`, and about each step.
fn measure(report: &mut Report, meter: &Meter, from: Duration) {
    let to = meter.now();
    report.load_seconds = (to - from).as_secs_f64();
    report.throughput = meter.rate(from, to);
    report.longest_pause_seconds = meter.longest_wait(from, to).length.as_secs_f64();
    let begins: Vec<_> =
        report.steps.iter().map(|step| from + Duration::from_secs_f64(step.began_seconds)).collect();
    let ends = begins.iter().skip(1).copied().chain([to]);
    for ((step, begin), end) in report.steps.iter_mut().zip(&begins).zip(ends) {
        step.pause_seconds = meter.longest_gap(*begin, end).length.as_secs_f64();
    }
}

/// Plays the steps under load.
struct Player<'a> {
    manifest: &'a Manifest,
    testnet: &'a mut Testnet,
    progress: &'a dyn Progress,
    began: Instant,
    /// How often a step chose the next replica.
    next: usize,
    steps: Vec<StepReport>,
    watched: Vec<Watched>,
    attackers: Attackers,
}

/// A replica that is catching up after a step.
struct Watched {
    replica: ReplicaId,
    step: usize,
    watching: JoinHandle<Result<Option<Duration>, TestnetError>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Player<'_> {
    async fn play(&mut self) {
        for step in &self.manifest.steps {
            tokio::time::sleep_until(self.began + step.at).await;
            self.step(step).await;
        }
        tokio::time::sleep_until(self.began + self.manifest.duration).await;
        for watched in std::mem::take(&mut self.watched) {
            self.caught_up(watched).await;
        }
    }

    async fn step(&mut self, step: &Step) {
        let began = self.began.elapsed();
        let replicas = match self.replicas(&step.target).await {
            Ok(replicas) => replicas,
            Err(error) => return self.done(step, Vec::new(), began, Some(error)),
        };
        let struck;
        (struck, self.watched) =
            std::mem::take(&mut self.watched).into_iter().partition(|it| replicas.contains(&it.replica));
        for watched in struck {
            // One that was there in time has caught up; the others are not given the time.
            if watched.watching.is_finished() {
                self.caught_up(watched).await;
            }
        }
        let started = Instant::now();
        let result = self.act(step, &replicas).await;
        if result.is_ok() && step.action.brings_back() {
            self.watch(&replicas, started);
        }
        self.done(step, replicas, began, result.err());
    }

    async fn replicas(&mut self, target: &Target) -> Result<Vec<ReplicaId>, TestnetError> {
        let all: Vec<_> = self.testnet.configuration().replicas().collect();
        Ok(match target {
            Target::One(replica) => vec![*replica],
            Target::Cluster => Vec::new(),
            Target::All => all,
            Target::Next => {
                self.next += 1;
                vec![all[(self.next - 1) % all.len()]]
            }
            Target::Primary => {
                let found = primary(self.testnet, self.manifest.patience).await?;
                let nobody = || TestnetError::NoService("the replicas do not agree who leads".into());
                vec![found.ok_or_else(nobody)?.0]
            }
        })
    }

    async fn act(&mut self, step: &Step, replicas: &[ReplicaId]) -> Result<(), TestnetError> {
        let allow = self.manifest.allow_exceed_f;
        match &step.action {
            Action::Partition { partition, last } => {
                return self.testnet.partition(partition, *last, allow).await;
            }
            Action::Heal => return self.testnet.heal().await.map(drop),
            Action::Attack(attack) => {
                self.attackers.start(attack.clone(), self.testnet.folder().path());
                return Ok(());
            }
            _ => {}
        }
        // All at once, not one after the other: what the others still do in between is no part of the test.
        if step.target == Target::All && matches!(step.action, Action::Kill | Action::Restart) {
            self.testnet.kill_everything().await?;
            if step.action == Action::Kill {
                return Ok(());
            }
        }
        for replica in replicas.iter().copied() {
            match &step.action {
                Action::Kill => self.testnet.kill(replica).await?,
                Action::Pause => self.testnet.pause(replica).await?,
                Action::Resume => self.testnet.resume(replica).await?,
                Action::Restart => self.testnet.restart(replica, allow).await?,
                Action::WipeDisk => self.testnet.wipe_disk(replica, allow).await?,
                Action::Start => self.testnet.start_one(replica).await?,
                Action::Fault(malice) => self.testnet.set_fault(replica, malice, allow).await?,
                Action::Clear => self.testnet.clear_fault(replica).await?,
                Action::Network { shape, peers, last } => {
                    self.testnet.spoil_network(replica, *shape, peers, *last, allow).await?;
                }
                // Done above, as no replica is their target.
                Action::Partition { .. } | Action::Heal | Action::Attack(_) => {}
            }
        }
        Ok(())
    }

    fn done(&mut self, step: &Step, replicas: Vec<ReplicaId>, began: Duration, error: Option<TestnetError>) {
        let report = StepReport::new(step, replicas, began, self.began.elapsed(), error);
        self.progress.step(&format!("{:6.1} s  {report}", began.as_secs_f64()));
        self.steps.push(report);
    }

    /// Watches replicas until each has caught up, while the trial goes on. The step is the one that comes next.
    fn watch(&mut self, replicas: &[ReplicaId], started: Instant) {
        let (step, patience) = (self.steps.len(), self.manifest.patience);
        for replica in replicas.iter().copied() {
            let folder = self.testnet.folder().path().to_owned();
            let watching = tokio::spawn(async move {
                let testnet = Testnet::open(&folder)?;
                Ok(catches_up(&testnet, replica, started, patience).await?.took)
            });
            self.watched.push(Watched { replica, step, watching });
        }
    }

    async fn caught_up(&mut self, mut watched: Watched) {
        // The task does not panic, and is aborted only once nobody waits for it.
        let took = (&mut watched.watching).await.ok().and_then(Result::ok).flatten();
        let took = took.map(|took| took.as_secs_f64());
        self.steps[watched.step].caught_up_seconds.push((watched.replica, took));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_liar_is_whoever_the_target_came_to_be() {
        let r = ReplicaId;
        let step = |action, target| Step { at: Duration::ZERO, action, target };
        let colluding = Malice { accomplices: [r(3)].into(), ..Malice::from("equivocate") };
        let steps = [
            step(Action::Kill, Target::One(r(0))),
            step(Action::Fault("silent".into()), Target::Primary),
            step(Action::Fault(colluding), Target::Next),
            step(Action::Fault("lie".into()), Target::One(r(4))),
        ];
        let report =
            |(step, replica)| StepReport::new(step, vec![r(replica)], Duration::ZERO, Duration::ZERO, None);
        // The last one was not come to.
        let reports: Vec<_> = steps.iter().zip([0, 1, 2]).map(report).collect();
        assert_eq!(liars(&steps, &reports, |_| true), [r(1), r(2), r(3)].into());
        let lies = |malice: &Malice| malice.harm() == Harm::Disagreement;
        assert_eq!(liars(&steps, &reports, lies), [r(2), r(3)].into());
    }
}
