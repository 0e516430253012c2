//! Playing a scenario: its acts, then the faults end and what waits must be executed (I8).

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use pbft_byzantine::{client_strategy, strategy};
use pbft_messages::{Quorum, ReplicaId, codec};
use pbft_protocol::Report;

use super::{Action, Scenario};
use crate::panics::caught;
use crate::{Cluster, Contradictions, Faults, InstanceId, Invariant, PowerCut, Violation, WallClock};

/// How many requests every client issues once the faults have ended, so that there is something to execute.
const LAST_REQUESTS: u64 = 2;

/// How long a run goes on after a guarantee broke: what breaks a moment later may say more.
const AFTERMATH: Duration = Duration::from_millis(200);

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The guarantees that were broken, in the order in which it was noticed.
    pub violations: Vec<Violation>,
    /// How many events happened.
    pub steps: u64,
    /// How long it took, in virtual time.
    pub virtual_time: Duration,
    /// How long it took after the faults had ended until everything was executed.
    pub recovery_time: Duration,
    /// How long it might have taken; see [`Scenario::patience`].
    pub patience: Duration,
    /// How many requests were answered.
    pub answered: usize,
    /// How many views were entered, by the highest.
    pub view_changes: u64,
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
        let malicious = self.acts.iter().filter_map(|act| match act.action {
            Action::Corrupt { replica, .. } => Some(replica),
            _ => None,
        });
        let (accomplices, cluster) = (malicious.collect(), Cluster::new(self.settings(trace)));
        let mut player =
            Player { scenario: self, accomplices, cluster, ended: Duration::ZERO, patience: Duration::ZERO };
        let failed = caught(|| player.play());
        let Player { cluster, ended, patience, .. } = player;
        let failed = failed.unwrap_or_else(|text| Some(cluster.violation(Invariant::Panic, text)));
        let views = cluster.reports().iter().filter_map(|(_, _, report)| match report {
            Report::ViewEntered { view, .. } => Some(view.0),
            _ => None,
        });
        Outcome {
            violations: cluster.violations().iter().cloned().chain(failed).collect(),
            steps: cluster.step_count(),
            virtual_time: cluster.elapsed(),
            recovery_time: cluster.elapsed() - ended,
            patience,
            answered: cluster.answered(),
            view_changes: views.max().unwrap_or_default(),
            contradictions: cluster.contradictions(),
            history: history(&cluster),
            transcript: cluster.transcript(),
        }
    }

    /// How long it may take after the faults have ended until so many requests that wait are executed.
    ///
    /// Every timer is at most at the cap C of its doubling then. Each of the n − |core| replicas outside of the core may
    /// be the primary before one of the core is. Such a view costs at most C until its requests' timer ends and C until
    /// the next view is given up for want of a NEW-VIEW; if its primary is only slow, C of grace and six view
    /// timeouts until it is voted out (VC9). The views in which replicas of the core led when the faults ended may
    /// come to nothing too, since not all of the core were in them; so each round of primaries is allowed for twice.
    /// A primary that is slow at what waits delays each request by less than a view timeout.
    #[must_use]
    pub fn patience(&self, waiting: u64) -> Duration {
        let (timeout, cap) = (self.parameters.view_timeout.0, self.parameters.view_timeout_cap.0);
        let outside = u32::from(self.n) - self.core.len() as u32;
        (cap * 3 + timeout * 6) * 2 * (outside + 1) + timeout * u32::try_from(waiting).unwrap_or(u32::MAX)
    }
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

struct Player<'a> {
    scenario: &'a Scenario,
    /// Those that are malicious at some time: they collude.
    accomplices: Vec<ReplicaId>,
    cluster: Cluster,
    /// When the faults ended.
    ended: Duration,
    /// How long it may take from then on.
    patience: Duration,
}

impl Player<'_> {
    /// Whether a guarantee is broken: what follows tells nothing new.
    fn is_over(&self) -> bool {
        !self.cluster.violations().is_empty()
    }

    /// Plays all of it; gives what the cluster's own checkers don't tell.
    fn play(&mut self) -> Option<Violation> {
        self.acts();
        self.ended = self.cluster.elapsed();
        let failed = if self.is_over() { None } else { self.rest() };
        if self.is_over() {
            self.cluster.run_for(AFTERMATH);
        }
        failed
    }

    /// Plays what follows the faults.
    fn rest(&mut self) -> Option<Violation> {
        let failed = self.recover().or_else(|| self.unconvicted());
        self.cluster.compare_states();
        // Where more than f are faulty, nothing is promised.
        failed.filter(|_| self.scenario.faulty().len() <= self.scenario.f())
    }

    /// Whoever contradicted itself in one correct replica's hearing has been proven a liar by the end (I9).
    fn unconvicted(&self) -> Option<Violation> {
        let names: Vec<_> = self.cluster.unconvicted().iter().map(ReplicaId::to_string).collect();
        let text = format!("{} signed contradictions and is not convicted", names.join(" and "));
        (!names.is_empty()).then(|| self.cluster.violation(Invariant::I9, text))
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

    fn start(&mut self, replica: ReplicaId) {
        if !self.is_running(replica) {
            self.cluster.start(replica);
        }
    }

    /// The faults end: a core of replicas is connected and runs, and of the others only faulty ones do. Tells why, if
    /// what waits is not executed in time by the core and by those that have lost their disks.
    fn recover(&mut self) -> Option<Violation> {
        let (awaited, faulty) = (&self.scenario.core | &self.scenario.rejoining(), self.scenario.faulty());
        self.cluster.cancel_power_cuts();
        self.cluster.heal();
        self.cluster.end_attacks();
        self.cluster.set_faults(Faults::none());
        self.cluster.set_write_latency(Duration::from_millis(1));
        for replica in (0..self.scenario.n).map(ReplicaId) {
            self.cluster.set_wall_clock(replica, WallClock::default());
            self.cluster.set_drift(replica, 0);
            self.cluster.starve(replica, Duration::ZERO);
            self.cluster.mend_sync(replica);
            if awaited.contains(&replica) {
                self.start(replica);
            } else if !faulty.contains(&replica) {
                self.cluster.crash(replica);
            }
        }
        for client in self.scenario.correct_clients() {
            self.cluster.load_from(usize::from(client), LAST_REQUESTS, 1);
        }
        let done = |cluster: &Cluster| {
            let is_done = |replica: &ReplicaId| {
                let standing = cluster.standing(*replica);
                standing.is_some_and(|it| it.last_executed == cluster.highest() && it.recovering.is_none())
            };
            !cluster.violations().is_empty() || cluster.is_answered() && awaited.iter().all(is_done)
        };
        self.patience = self.scenario.patience(self.cluster.unanswered());
        if self.cluster.run_until(self.patience, done) {
            return None;
        }
        let text =
            format!("{:.1} s after the faults ended: {}", self.patience.as_secs_f64(), self.standings());
        Some(self.cluster.violation(Invariant::I8, text))
    }

    /// Where everybody stands.
    fn standings(&self) -> String {
        let quorum = Quorum::of(usize::from(self.scenario.n)).get();
        let standing = |replica: ReplicaId| {
            let role = if self.scenario.core.contains(&replica) { "" } else { " (not of the core)" };
            let Some(it) = self.cluster.standing(replica) else { return format!("{replica}{role} is down") };
            let pending = it.pending.map(|view| format!(", asks for view {view}")).unwrap_or_default();
            let transfer = it.transferring.map(|it| format!(", fetches state {}", it.sequence));
            let recovering = it.recovering.map(|it| format!(", recovers until checkpoint {it} is stable"));
            format!(
                "{replica}{role} is in view {} of {}{pending}, executed {} above stable {}, has {} requests waiting{}{}",
                it.view,
                it.primary,
                it.last_executed,
                it.stable,
                it.waiting,
                transfer.unwrap_or_default(),
                recovering.unwrap_or_default()
            )
        };
        let standings: Vec<_> = (0..self.scenario.n).map(|index| standing(ReplicaId(index))).collect();
        let all = if self.cluster.is_answered() { "every client has its answers" } else { "requests wait" };
        format!("{all}; a quorum is {quorum}; {}", standings.join("; "))
    }
}
