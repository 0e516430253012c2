//! Agreed time with clocks that are wrong (N6; rows 22 to 24 and 32 of the catalogue of faults).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pbft_messages::{ReplicaId, Sequence, Timestamp, View, codec};
use pbft_protocol::{Rejection, Report, ViewChangeReason};
use pbft_service::{Context, Output, Reader, RestoreError, Service, Snapshot, WholeSnapshot};
use pbft_simulator::{Cluster, Settings, WallClock};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// How far a proposed time may be from a backup's clock, in these tests.
const BOUND: Duration = Duration::from_secs(2);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

fn settings(seed: u64) -> Settings {
    let mut settings = Settings { write_latency: MS * 5, ..Settings::new(4, seed) };
    settings.parameters.clock_bound = BOUND;
    settings
}

/// Loads the cluster in bits for a while; everything is answered.
#[track_caller]
fn work(cluster: &mut Cluster, duration: Duration) {
    let end = cluster.elapsed() + duration;
    while cluster.elapsed() < end {
        cluster.load(1, 1);
        assert!(cluster.run_until(SECOND * 20, Cluster::is_answered), "{}", cluster.transcript());
        cluster.run_for(MS * 100);
    }
}

/// Right clocks: no agreed time was ever further than this from when it was executed.
#[track_caller]
fn assert_within(cluster: &Cluster, bound: Duration) {
    assert!(cluster.agreed_times().count() > 5);
    for (executed, agreed) in cluster.agreed_times() {
        let off = Duration::from_nanos(executed.0.abs_diff(agreed.0));
        assert!(off <= bound, "{agreed:?} was agreed at {executed:?}");
    }
    assert_eq!(cluster.violations(), [], "time rises strictly, and is one everywhere");
}

fn view(cluster: &Cluster) -> View {
    cluster.correct().filter_map(|it| cluster.standing(it)).map(|it| it.view).max().expect("one is up")
}

fn reasons(cluster: &Cluster) -> BTreeSet<String> {
    let reasons = cluster.reports().iter().filter_map(|(_, _, report)| match report {
        Report::ViewChange { reason, .. } => Some(format!("{reason:?}")),
        _ => None,
    });
    reasons.collect()
}

/// Rows 22, 24 and 32: a primary that is off by more than the bound proposes in vain, and is replaced.
#[test]
fn a_primary_with_a_wrong_clock_moves_no_time_and_is_voted_out() {
    let frozen = WallClock::frozen();
    for (seed, clock) in [WallClock::ahead(HOUR), WallClock::behind(HOUR), frozen].into_iter().enumerate() {
        let mut cluster = Cluster::new(settings(seed as u64));
        work(&mut cluster, SECOND);
        cluster.set_wall_clock(r(0), clock);
        if clock == frozen {
            cluster.run_for(BOUND + SECOND);
        }
        work(&mut cluster, SECOND * 5);
        assert_eq!(view(&cluster), View(1), "{clock:?}");
        assert!(reasons(&cluster).contains(&format!("{:?}", ViewChangeReason::RequestTimeout)), "{clock:?}");
        let stale = |report: &Report| matches!(report, Report::Rejected { reason: Rejection::StaleTime, .. });
        assert!(cluster.reports().iter().any(|(_, _, report)| stale(report)), "{clock:?}");
        assert_within(&cluster, BOUND + SECOND);
    }
}

/// Inside the bound a primary may be wrong: it leads on, and time goes on rising when a right one follows.
#[test]
fn a_primary_that_is_wrong_within_the_bound_leads_on_and_time_never_falls() {
    for (seed, clock) in
        [WallClock::ahead(BOUND * 3 / 4), WallClock::behind(BOUND * 3 / 4)].into_iter().enumerate()
    {
        let mut cluster = Cluster::new(settings(10 + seed as u64));
        work(&mut cluster, SECOND);
        cluster.set_wall_clock(r(0), clock);
        work(&mut cluster, SECOND * 2);
        assert_eq!(view(&cluster), View(0));
        cluster.crash(r(0));
        work(&mut cluster, SECOND * 2);
        cluster.start(r(0));
        work(&mut cluster, SECOND);
        assert_within(&cluster, BOUND);
    }
}

/// Row 22: a backup whose clock jumps refuses fresh proposals, and the others do without it; it executes all the same.
#[test]
fn a_backup_whose_clock_jumps_holds_nobody_up() {
    let mut cluster = Cluster::new(settings(20));
    work(&mut cluster, SECOND);
    cluster.set_wall_clock(r(3), WallClock::ahead(HOUR));
    let before = cluster.answered();
    work(&mut cluster, SECOND * 3);
    assert!(cluster.answered() > before + 10);
    assert_eq!(view(&cluster), View(0));
    cluster.set_wall_clock(r(3), WallClock::default());
    assert!(cluster.settle(SECOND * 5));
    assert_within(&cluster, BOUND);
}

/// Row 23: all clocks drift, each its own way, for as long as that stays within the bound.
#[test]
fn drifting_clocks_change_nothing() {
    let mut cluster = Cluster::new(settings(30));
    for (replica, drift) in [(0, 10_000), (1, -10_000), (2, 5_000), (3, -5_000)] {
        cluster.set_wall_clock(r(replica), WallClock::drifting(drift));
    }
    for _ in 0..30 {
        work(&mut cluster, SECOND / 2);
        cluster.run_for(SECOND * 2);
    }
    assert_eq!(view(&cluster), View(0));
    // And the slowest clock takes over from the fastest, with its power cut on the way.
    cluster.crash(r(0));
    work(&mut cluster, SECOND * 2);
    (1..4).for_each(|replica| cluster.crash(r(replica)));
    (0..4).for_each(|replica| cluster.start(r(replica)));
    work(&mut cluster, SECOND * 2);
    assert_within(&cluster, BOUND);
}

/// Fault 23: what a NEW-VIEW carries over is as old as it is; it is never held against the new primary.
#[test]
fn a_carried_batch_is_never_too_old() {
    let mut cluster = Cluster::new(settings(40));
    work(&mut cluster, SECOND);
    // Prepared by all and committed by nobody, and then nothing is heard for longer than the bound.
    cluster.load(1, 1);
    let before = cluster.reports().len();
    let prepared = move |cluster: &Cluster| {
        let new = cluster.reports()[before..].iter();
        new.filter(|(_, _, report)| matches!(report, Report::Prepared { .. })).count() == 4
    };
    assert!(cluster.run_until(SECOND, prepared));
    cluster.set_filter(|_, _, _| false);
    cluster.crash(r(0));
    cluster.run_for(BOUND * 2);
    cluster.clear_wire();
    assert!(cluster.run_until(SECOND * 10, Cluster::is_answered), "{}", cluster.transcript());
    work(&mut cluster, SECOND);
    let carried =
        cluster.agreed_times().any(|(executed, agreed)| executed.0 - agreed.0 > BOUND.as_nanos() as u64);
    assert!(carried, "the carried batch keeps its time");
    let stale = |report: &Report| matches!(report, Report::Rejected { reason: Rejection::StaleTime, .. });
    assert!(!cluster.reports().iter().any(|(_, _, report)| stale(report)));
    assert_eq!(cluster.violations(), []);
}

/// A service that rings alarms: each operation sets one for 300 ms after it, and answers with how many have rung and
/// what time it is. (The operation itself says nothing.)
#[derive(Default)]
struct Alarms {
    due: Vec<u64>,
    /// When each was due, and when it rang, by the agreed time.
    rung: Vec<(u64, u64)>,
    time: u64,
}

impl Alarms {
    const AFTER: Duration = Duration::from_millis(300);
}

/// Nobody reads alarms.
struct Deaf;

impl Reader for Deaf {
    fn query(&self, _: &[u8]) -> Bytes {
        Bytes::new()
    }
}

impl Service for Alarms {
    fn begin_batch(&mut self, _: Sequence, time: Option<Timestamp>) {
        let Some(Timestamp(time)) = time else { return };
        assert!(time > self.time, "time rises strictly (N6)");
        self.time = time;
        let rings = self.due.iter().copied().filter(|due| *due <= time).map(|due| (due, time));
        self.rung.extend(rings);
        self.due.retain(|due| *due > time);
    }

    fn execute(&mut self, context: &Context, _: &[u8]) -> Output {
        assert_eq!(context.time, Timestamp(self.time), "an operation's time is its batch's");
        self.due.push(self.time + Self::AFTER.as_nanos() as u64);
        codec::encode(&(self.rung.len() as u64, self.time)).into()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(Deaf)
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.due.iter().min().copied().map(Timestamp)
    }

    fn snapshot(&mut self) -> Box<dyn Snapshot> {
        Box::new(WholeSnapshot::new(codec::encode(&(&self.due, &self.rung, self.time))))
    }

    fn restore(&mut self, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), RestoreError> {
        (self.due, self.rung, self.time) = codec::decode(&WholeSnapshot::collect(chunks, 1 << 20)?)?;
        Ok(())
    }
}

/// Lets one alarm be set; gives the time of that.
#[track_caller]
fn set_alarm(cluster: &mut Cluster) -> Timestamp {
    cluster.load(1, 1);
    assert!(cluster.run_until(SECOND * 5, Cluster::is_answered));
    last_time(cluster)
}

/// The last time that was agreed on.
fn last_time(cluster: &Cluster) -> Timestamp {
    cluster.agreed_times().last().expect("something was executed").1
}

/// N6: what the service waits for comes also when nobody asks for anything, by a clock within the bound.
#[test]
fn a_service_is_told_the_time_that_it_waits_for() {
    let skewed = [WallClock::default(), WallClock::ahead(BOUND / 2), WallClock::behind(BOUND / 2)];
    for (seed, clock) in skewed.into_iter().enumerate() {
        let service = || -> Box<dyn Service> { Box::new(Alarms::default()) };
        let mut cluster = Cluster::new(Settings { service: Some(service), ..settings(50 + seed as u64) });
        cluster.set_wall_clock(r(0), clock);
        work(&mut cluster, SECOND);
        let set = set_alarm(&mut cluster);
        cluster.run_for(BOUND);
        assert!(last_time(&cluster).0 >= set.0 + Alarms::AFTER.as_nanos() as u64, "{clock:?}");
        assert_eq!(view(&cluster), View(0), "{clock:?}");
        let batches = cluster.agreed_times().count();
        cluster.run_for(SECOND * 5);
        assert_eq!(cluster.agreed_times().count(), batches, "nothing is due any more");
        // The alarms are state like any other, across crashes and changes of view.
        work(&mut cluster, SECOND);
        let set = set_alarm(&mut cluster);
        (0..4).for_each(|replica| cluster.crash(r(replica)));
        (0..4).for_each(|replica| cluster.start(r(replica)));
        cluster.run_for(BOUND * 2);
        assert!(last_time(&cluster).0 >= set.0 + Alarms::AFTER.as_nanos() as u64, "{clock:?}");
        assert_within(&cluster, BOUND);
    }
}

/// VC1: a primary whose clock never reaches the deadline is replaced, though no request waits.
#[test]
fn a_primary_that_lets_a_deadline_pass_is_replaced() {
    let service = || -> Box<dyn Service> { Box::new(Alarms::default()) };
    let mut cluster = Cluster::new(Settings { service: Some(service), ..settings(60) });
    work(&mut cluster, SECOND);
    let set = set_alarm(&mut cluster);
    cluster.set_wall_clock(r(0), WallClock::behind(HOUR));
    cluster.run_for(BOUND * 3);
    assert!(reasons(&cluster).contains(&format!("{:?}", ViewChangeReason::DeadlineOverdue)));
    assert_eq!(view(&cluster), View(1));
    assert!(last_time(&cluster).0 >= set.0 + Alarms::AFTER.as_nanos() as u64);
    assert_eq!(cluster.violations(), []);
}
