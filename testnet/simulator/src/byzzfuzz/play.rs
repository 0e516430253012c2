//! Plays one run.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::AddAssign;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;

use pbft_byzantine::Strategy;
use pbft_messages::Parameters;
use pbft_protocol::{Effects, Now, Report};

use super::plan::{Plan, Size};
use super::wire::{Done, Fuzzer};
use crate::panics::caught;
use crate::{Cluster, Faults, InstanceId, Invariant, Settings, Violation};

/// How long the rounds that have faults may take: view changes among them, with timeouts at their cap.
const FAULTY: Duration = Duration::from_secs(6);

/// How long the cluster may take after them to execute all that waits.
const GRACE: Duration = Duration::from_secs(20);

/// What happened in some runs: that they were worth playing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How many.
    pub runs: u64,
    /// How many messages a partition lost.
    pub parted: u64,
    /// How many lies were drawn, and how many of them struck: one whose round never comes does not.
    pub drawn: u64,
    /// See `drawn`.
    pub struck: u64,
    /// How many messages were mutated, each receiver's copy counted.
    pub mutated: u64,
    /// In how many runs a correct replica entered a later view.
    pub moved: u64,
    /// In how many state was transferred.
    pub transferred: u64,
    /// In how many a correct replica found evidence.
    pub accused: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.parted += other.parted;
        self.drawn += other.drawn;
        self.struck += other.struck;
        self.mutated += other.mutated;
        self.moved += other.moved;
        self.transferred += other.transferred;
        self.accused += other.accused;
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// The guarantees that were broken.
    pub violations: Vec<Violation>,
    /// What happened.
    pub tally: Tally,
    /// The plan and the story, if they were asked for.
    pub transcript: String,
}

/// Plays the run of a seed.
#[must_use]
pub fn play(size: Size, seed: u64, trace: bool) -> Played {
    let plan = Plan::draw(size, seed);
    let done = Rc::new(RefCell::new(Done::default()));
    let mut cluster = cluster(size, seed, trace);
    for replica in &plan.malicious {
        cluster.corrupt(*replica, Box::new(Mutated));
    }
    let identities = plan.malicious.iter().map(|replica| cluster.identity(*replica)).collect();
    cluster.set_wire(Box::new(Fuzzer::new(plan.clone(), identities, Rc::clone(&done))));
    let failed = caught(|| run(&mut cluster, |_| Fuzzer::is_over(&plan, &done.borrow())))
        .unwrap_or_else(|text| Some(cluster.violation(Invariant::Panic, text)));
    let violations = cluster.violations().iter().cloned().chain(failed).collect();
    let transcript = if trace { format!("{plan}{}", cluster.transcript()) } else { String::new() };
    let tally = Tally { drawn: plan.lies.len() as u64, ..tally(&cluster, *done.borrow()) };
    Played { violations, tally, transcript }
}

/// Plays it until the faults are over, and then until all that waits is executed; tells if it never is (I8), or a liar
/// gets away (I9).
fn run(cluster: &mut Cluster, is_over: impl Fn(&Cluster) -> bool) -> Option<Violation> {
    cluster.load(12, 1);
    cluster.read(0, 8, Duration::from_millis(9));
    cluster.run_until(FAULTY, is_over);
    cluster.clear_wire();
    cluster.load(2, 1);
    cluster.unsettled(GRACE, "the last fault")
}

/// Plays runs of `n` replicas, at most `budget` of them, from seed 0 on, each of another one of
/// the 16 configurations in turn, until one breaks a guarantee; gives how many that took, or `None` if none
/// does.
#[must_use]
pub fn find_violation(n: u16, budget: usize) -> Option<usize> {
    let sizes: Vec<_> = Size::all(n).collect();
    let runs = (0..).zip(sizes.iter().cycle());
    let broken = |(seed, size): (u64, &Size)| !play(*size, seed, false).violations.is_empty();
    runs.take(budget).position(broken).map(|before| before + 1)
}

fn tally(cluster: &Cluster, done: Done) -> Tally {
    let correct: BTreeSet<_> = cluster.correct().map(InstanceId::from).collect();
    let Done { parted, mutated, struck, .. } = done;
    let mut tally = Tally { runs: 1, parted, mutated, struck, ..Tally::default() };
    for (_, _, report) in cluster.reports().iter().filter(|(_, at, _)| correct.contains(at)) {
        match report {
            Report::ViewEntered { .. } => tally.moved = 1,
            Report::Transferred { .. } => tally.transferred = 1,
            Report::Evidence(_) => tally.accused = 1,
            _ => {}
        }
    }
    tally
}

fn cluster(size: Size, seed: u64, trace: bool) -> Cluster {
    let mut settings = Settings::new(size.n, seed);
    settings.clients = 2;
    settings.trace = trace;
    settings.parameters = Parameters {
        checkpoint_interval: 2,
        window: 4,
        view_timeout_cap: Duration::from_secs(1),
        ..settings.parameters
    };
    settings.faults = Faults { jitter: Duration::from_micros(200), ..Faults::none() };
    Cluster::new(settings)
}

/// A malicious replica's core behaves well: what it says is mutated on the wire.
struct Mutated;

impl Strategy for Mutated {
    fn name(&self) -> &'static str {
        "mutated on the wire"
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        effects
    }
}
