//! Playing a scenario: its acts, then what must hold once the faults have ended.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::AddAssign;
use std::time::Duration;

use serde::Serialize;

use pbft_byzantine::{client_strategy, strategy};
use pbft_messages::{ReplicaId, codec};
use pbft_protocol::Report;

use super::{Action, Scenario};
use crate::panics::caught;
use crate::{Cluster, Contradictions, InstanceId, Invariant, PowerCut, Violation, WallClock};

/// How long a run goes on after a guarantee broke: what breaks a moment later may say more.
const AFTERMATH: Duration = Duration::from_millis(200);

/// What happened in some runs to correct replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// In how many one entered a later view.
    pub moved: u64,
    /// In how many a view carried a batch over, null ones not counted.
    pub carried: u64,
    /// In how many a state was transferred.
    pub transferred: u64,
    /// In how many one that had lost its disk recovered.
    pub recovered: u64,
    /// In how many a client was turned away since too much was waiting.
    pub shed: u64,
    /// How many power cuts came, of those that were drawn.
    pub power_cuts: u64,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.moved += other.moved;
        self.carried += other.carried;
        self.transferred += other.transferred;
        self.recovered += other.recovered;
        self.shed += other.shed;
        self.power_cuts += other.power_cuts;
    }
}

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The guarantees that were broken, in the order in which it was noticed.
    pub violations: Vec<Violation>,
    /// How many events happened.
    pub steps: u64,
    /// How long it took, in virtual time.
    pub virtual_time: Duration,
    /// How long it took, from when the faults had ended and every client asked for more, until everything was executed.
    pub recovery_time: Duration,
    /// How long it might have taken, see [`Scenario::patience`]; zero if the run did not come to that.
    pub patience: Duration,
    /// How many requests were answered.
    pub answered: usize,
    /// How many views correct replicas entered after the first, by the highest.
    pub view_changes: u64,
    /// What else happened to correct replicas: that it was worth playing.
    pub seen: Seen,
    /// The contradictions that reached correct replicas, and what became of them.
    pub contradictions: Contradictions,
    /// A hash of all that happened: of two runs of a scenario it is the same.
    pub history: u64,
    /// The story, a line each event, if it was asked for.
    pub transcript: String,
}

impl Scenario {
    /// Plays it; with `trace` the outcome tells the story.
    #[must_use]
    pub fn play(&self, trace: bool) -> Outcome {
        let mut player = Player::new(self, trace);
        let failed = caught(|| player.play());
        let Player { cluster, recovery_time, patience, .. } = player;
        let failed = failed.unwrap_or_else(|text| Some(cluster.violation(Invariant::Panic, text)));
        let (view_changes, seen) = seen(&cluster);
        Outcome {
            violations: cluster.violations().iter().cloned().chain(failed).collect(),
            steps: cluster.step_count(),
            virtual_time: cluster.elapsed(),
            recovery_time,
            patience,
            answered: cluster.answered(),
            view_changes,
            seen,
            contradictions: cluster.contradictions(),
            history: history(&cluster),
            transcript: cluster.transcript(),
        }
    }
}

/// The highest view that a correct replica entered, and what else happened to them.
fn seen(cluster: &Cluster) -> (u64, Seen) {
    let correct: BTreeSet<_> = cluster.correct().map(InstanceId::from).collect();
    let mut highest = 0;
    let mut seen = Seen { power_cuts: cluster.power_cuts_come(), ..Seen::default() };
    for (_, _, report) in cluster.reports().iter().filter(|(_, at, _)| correct.contains(at)) {
        match report {
            Report::ViewEntered { view, carried_over, null, .. } => {
                highest = highest.max(view.0);
                (seen.moved, seen.carried) = (1, seen.carried.max(u64::from(carried_over > null)));
            }
            Report::Transferred { .. } => seen.transferred = 1,
            Report::Recovered { .. } => seen.recovered = 1,
            Report::Shed => seen.shed = 1,
            _ => {}
        }
    }
    (highest, seen)
}

/// A hash of what the replicas reported and when.
fn history(cluster: &Cluster) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (at, instance, report) in cluster.reports() {
        (at, instance.0).hash(&mut hasher);
        hasher.write(&codec::encode(report));
    }
    (cluster.step_count(), cluster.elapsed(), cluster.answered()).hash(&mut hasher);
    hasher.finish()
}

pub(super) struct Player<'a> {
    pub(super) scenario: &'a Scenario,
    /// Those that are malicious at some time: they collude.
    accomplices: Vec<ReplicaId>,
    pub(super) cluster: Cluster,
    /// See [`Outcome`].
    pub(super) recovery_time: Duration,
    pub(super) patience: Duration,
}

impl<'a> Player<'a> {
    pub(super) fn new(scenario: &'a Scenario, trace: bool) -> Self {
        let malicious = scenario.acts.iter().filter_map(|act| match act.action {
            Action::Corrupt { replica, .. } => Some(replica),
            _ => None,
        });
        let (accomplices, cluster) = (malicious.collect(), Cluster::new(scenario.settings(trace)));
        let [recovery_time, patience] = [Duration::ZERO; 2];
        Self { scenario, accomplices, cluster, recovery_time, patience }
    }

    /// Whether a guarantee is broken: what follows tells nothing new.
    pub(super) fn is_over(&self) -> bool {
        !self.cluster.violations().is_empty()
    }

    /// Plays all of it; gives what the cluster's own checkers don't tell.
    fn play(&mut self) -> Option<Violation> {
        let [answers, views] = [self.scenario.answered_within, self.scenario.views_within]
            .map(|limit| limit.map(|limit| limit.0));
        self.cluster.expect_within(answers, views);
        self.cluster.expect_one_view(self.scenario.keeps_view);
        self.acts();
        self.cluster.expect_one_view(false);
        self.cluster.expect_within(None, None);
        let failed = if self.is_over() { None } else { self.rest() };
        if self.is_over() {
            self.cluster.run_for(AFTERMATH);
        }
        failed
    }

    fn acts(&mut self) {
        for act in &self.scenario.acts {
            let broken = |cluster: &Cluster| !cluster.violations().is_empty();
            if self.cluster.run_until(act.at.0.saturating_sub(self.cluster.elapsed()), broken) {
                return;
            }
            self.cluster.run_for(act.at.0.saturating_sub(self.cluster.elapsed()));
            self.act(&act.action);
        }
    }

    fn is_running(&self, replica: ReplicaId) -> bool {
        self.cluster.standing(replica).is_some()
    }

    fn act(&mut self, action: &Action) {
        let cluster = &mut self.cluster;
        match action {
            Action::Load { client, requests, depth } => {
                cluster.load_from(usize::from(*client), *requests, *depth);
            }
            Action::Read { client, times, interval } => {
                cluster.read(usize::from(*client), *times, interval.0);
            }
            Action::Crash { replica } => cluster.crash(*replica),
            Action::Start { replica } => self.start(*replica),
            Action::ShutDown { replica } => {
                if self.is_running(*replica) {
                    self.cluster.shut_down(*replica);
                }
            }
            Action::PowerCut { replica, steps, survive, victims } => {
                let step = cluster.steps(*replica).len() + steps;
                let victims = victims.iter().map(|it| (*it).into()).collect();
                cluster.cut_power(PowerCut { at: (*replica).into(), step, survive: *survive, victims });
            }
            Action::Wipe { replica } => {
                cluster.wipe(*replica);
                cluster.start(*replica);
            }
            Action::Partition { groups } => self.partition(groups),
            Action::Cut { links } => links.iter().for_each(|(from, to)| cluster.cut(*from, *to)),
            Action::Clog { from, to, duration } => cluster.clog(*from, *to, duration.0),
            Action::TurnAway { replica } => cluster.turn_clients_away(*replica),
            Action::Heal => cluster.heal(),
            Action::Network(conditions) => cluster.set_faults(conditions.into()),
            Action::SlowDisk { latency } => cluster.set_write_latency(latency.0),
            Action::Tear { replica, survive } => cluster.tear(*replica, *survive),
            Action::FailSync { replica } => cluster.fail_sync(*replica),
            Action::Damage { replica } => cluster.damage_disk(*replica),
            Action::Save { replica } => cluster.save_disk(*replica),
            Action::RollBack { replica } => {
                cluster.roll_back_disk(*replica);
                self.start(*replica);
            }
            Action::Starve { replica, each } => cluster.starve(*replica, each.0),
            Action::Drift { replica, ppm } => cluster.set_drift(*replica, *ppm),
            Action::Clock { replica, ahead_ms, drift_ppm } => {
                let clock =
                    WallClock { ahead: ahead_ms * 1_000_000, drift: *drift_ppm, ..WallClock::default() };
                cluster.set_wall_clock(*replica, clock);
            }
            Action::Corrupt { replica, strategy: text } => {
                let strategy = strategy(text, &cluster.colluding_identity(*replica, &self.accomplices));
                cluster.corrupt(*replica, strategy.expect("the scenario was checked"));
            }
            Action::Attack { clients, strategy } => {
                let clients: Vec<_> = clients.iter().map(|client| usize::from(*client)).collect();
                let strategy = client_strategy(strategy, &cluster.client_identity(&clients));
                cluster.attack(strategy.expect("the scenario was checked"));
            }
            Action::Behave { replica } => cluster.behave(*replica),
        }
    }

    fn partition(&mut self, groups: &[BTreeSet<ReplicaId>]) {
        let mut instances: Vec<Vec<InstanceId>> =
            groups.iter().map(|group| group.iter().map(|it| (*it).into()).collect()).collect();
        for (twin, replica) in (usize::from(self.scenario.n)..).zip(&self.scenario.twins) {
            if let Some(first) = groups.iter().position(|group| group.contains(replica)) {
                instances[(first + 1) % groups.len()].push(InstanceId(twin));
            }
        }
        for (index, left) in instances.iter().enumerate() {
            self.cluster.partition(left, &instances[index + 1..].concat());
        }
    }

    pub(super) fn start(&mut self, replica: ReplicaId) {
        if !self.is_running(replica) {
            self.cluster.start(replica);
        }
    }
}
