//! Plays one scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::time::Duration;

use serde::Serialize;

use pbft_messages::Parameters;
use pbft_protocol::Report;

use super::wire::{Parted, Schedule};
use super::{Round, Space};
use crate::panics::caught;
use crate::{Cluster, Faults, InstanceId, Invariant, Settings, Violation, WallClock};

/// For how long the partitions last at most. A round ends within a few view timeouts, if it ends.
const PARTED: Duration = Duration::from_secs(8);

/// How long the whole cluster may take to execute all that waits, once it is connected: view changes past the faulty
/// leader, with timeouts at their cap.
const HEALED: Duration = Duration::from_secs(20);

/// What happened in some scenarios: that they were worth playing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Runs: each scenario by each schedule.
    pub runs: u64,
    /// In how many a correct replica executed something while the instances were parted.
    pub executed: u64,
    /// In how many one replica proposed two batches at one place.
    pub equivocated: u64,
    /// In how many a correct replica entered a later view.
    pub moved: u64,
    /// In how many a view carried a batch over.
    pub carried: u64,
    /// In how many a correct replica found evidence.
    pub accused: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.executed += other.executed;
        self.equivocated += other.equivocated;
        self.moved += other.moved;
        self.carried += other.carried;
        self.accused += other.accused;
    }
}

/// What came of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// The guarantees that were broken; each text begins with the schedule of the run that did.
    pub violations: Vec<Violation>,
    /// What happened.
    pub tally: Tally,
    /// The story of each run, if it was asked for.
    pub transcript: String,
}

/// Plays a scenario of `space` by every schedule.
#[must_use]
pub fn play(space: &Space, rounds: &[Round], trace: bool) -> Played {
    let mut played = Played::default();
    for schedule in Schedule::ALL {
        let mut cluster = cluster(space, rounds, trace);
        cluster.set_wire(Box::new(Parted::new(rounds, schedule)));
        let failed = caught(|| run(&mut cluster, rounds.len() as u64, &mut played.tally))
            .unwrap_or_else(|text| Some(cluster.violation(Invariant::Panic, text)));
        // Beyond f nothing is promised once all are connected.
        let is_promised = |it: &Violation| it.invariant == Invariant::Panic || space.is_within_f();
        let mut broken: Vec<_> =
            cluster.violations().iter().cloned().chain(failed.filter(is_promised)).collect();
        broken.iter_mut().for_each(|it| it.text = format!("in {schedule}: {}", it.text));
        if trace {
            let told: String = broken.iter().map(|it| format!("{it}\n")).collect();
            played.transcript += &format!("{schedule}\n{}{told}", cluster.transcript());
        }
        played.violations.extend(broken);
    }
    played
}

/// Plays the scenarios of `space`, at most `budget` of them, evenly spread, until one breaks a guarantee; gives how many
/// that took, or `None` if none does.
#[must_use]
pub fn find_violation(space: &Space, budget: usize) -> Option<usize> {
    let scenarios = space.scenarios();
    let step = scenarios.len().div_ceil(budget.max(1)).max(1);
    let broken = |scenario: &Vec<Round>| !play(space, scenario, false).violations.is_empty();
    scenarios.iter().step_by(step).position(broken).map(|before| before + 1)
}

/// Plays one run; tells if it gets stuck once everybody is connected (I8), or a liar gets away (I9).
fn run(cluster: &mut Cluster, rounds: u64, tally: &mut Tally) -> Option<Violation> {
    cluster.load(2 * rounds + 1, 1);
    let past = |cluster: &Cluster, replica| cluster.standing(replica).is_none_or(|it| it.view.0 >= rounds);
    cluster.run_until(PARTED, |cluster| cluster.correct().all(|replica| past(cluster, replica)));
    let parted = cluster.elapsed();
    cluster.clear_wire();
    cluster.load(1, 1);
    let failed = cluster.unsettled(HEALED, "the partitions");
    tally.count(cluster, parted);
    failed
}

impl Tally {
    /// Counts a run that was parted until some time.
    fn count(&mut self, cluster: &Cluster, parted: Duration) {
        let correct: BTreeSet<_> = cluster.correct().map(InstanceId::from).collect();
        let mut proposed = BTreeMap::new();
        let mut one = Self { runs: 1, ..Self::default() };
        for (at, instance, report) in cluster.reports() {
            let is_correct = correct.contains(instance);
            match report {
                Report::Proposed { view, sequence, digest, .. } => {
                    let first = proposed.entry((*view, *sequence)).or_insert(*digest);
                    one.equivocated |= u64::from(first != digest);
                }
                Report::Executed { .. } => one.executed |= u64::from(is_correct && *at <= parted),
                Report::ViewEntered { carried_over, null, .. } => {
                    one.moved |= u64::from(is_correct);
                    one.carried |= u64::from(is_correct && carried_over > null);
                }
                Report::Evidence(_) => one.accused |= u64::from(is_correct),
                _ => {}
            }
        }
        *self += one;
    }
}

fn cluster(space: &Space, rounds: &[Round], trace: bool) -> Cluster {
    let mut settings = Settings::new(space.n(), space.seed(rounds));
    settings.clients = 2;
    settings.twins = space.twins().collect();
    settings.leaders = rounds.iter().map(|round| round.leader).collect();
    settings.trace = trace;
    settings.parameters = Parameters {
        checkpoint_interval: 2,
        window: 4,
        view_timeout: Duration::from_millis(500),
        view_timeout_cap: Duration::from_secs(1),
        ..settings.parameters
    };
    settings.faults = Faults { jitter: Duration::from_micros(200), ..Faults::none() };
    let mut cluster = Cluster::new(settings);
    // Two instances of one primary have the same requests: with different clocks they make different batches of them.
    for twin in usize::from(space.n())..usize::from(space.n()) + space.twins().count() {
        cluster.set_wall_clock(InstanceId(twin), WallClock::ahead(Duration::from_millis(1)));
    }
    cluster
}
