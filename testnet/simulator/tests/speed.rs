//! How much faster than real time simulated clusters run, on one core:
//! `cargo test --release -p pbft-simulator --test speed -- --ignored --nocapture`.

use std::fs;
use std::time::{Duration, Instant};

use pbft_messages::{Parameters, ReplicaId};
use pbft_simulator::scenario::{Scenario, Swarm};
use pbft_simulator::{Cluster, Faults, Settings, Workload};

const SECOND: Duration = Duration::from_secs(1);

fn settings(seed: u64) -> Settings {
    Settings { trace: false, ..Settings::new(4, seed) }
}

/// For how many seconds of a core this thread does some work: on a machine with much else to do, the time that passes
/// says little.
fn seconds_of(work: impl FnOnce()) -> f64 {
    let on_core = || {
        let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    };
    let (before, began) = (on_core(), Instant::now());
    work();
    let on_core = before.zip(on_core()).map(|(before, after)| after - before);
    on_core.unwrap_or_else(|| began.elapsed()).as_secs_f64()
}

/// Virtual seconds in a second: four replicas, ten requests in a virtual second.
fn times_real_time(settings: Settings) -> f64 {
    let mut cluster = Cluster::new(settings);
    let seconds = seconds_of(|| {
        for _ in 0..3000 {
            cluster.load(1, 1);
            cluster.run_for(SECOND / 10);
        }
    });
    assert_eq!((cluster.answered(), cluster.violations()), (3000, &[][..]));
    cluster.elapsed().as_secs_f64() / seconds
}

/// As clusters are set up unless their makers want it otherwise: a checkpoint every 128 batches.
#[test]
#[ignore = "a measurement"]
fn times_real_time_with_default_parameters() {
    let workload = Workload::Mixed { keys: 10 };
    let times = times_real_time(Settings { workload, parameters: Parameters::default(), ..settings(1) });
    println!("{times:.0} times real time");
}

/// A checkpoint every 8 batches, as in most tests, of a state that grows with each request: a third of the work is
/// the snapshots.
#[test]
#[ignore = "a measurement"]
fn times_real_time_with_many_checkpoints() {
    println!("{:.0} times real time, with a checkpoint every 8 batches", times_real_time(settings(1)));
}

/// Short scenarios in a second: twenty requests on a bad network, and the primary crashes on the way.
#[test]
#[ignore = "a measurement"]
fn scenarios_a_second() {
    let count = 100;
    let seconds = seconds_of(|| {
        for seed in 0..count {
            let mut cluster = Cluster::new(Settings { faults: Faults::bad(), ..settings(seed) });
            cluster.load(20, 2);
            cluster.run_for(SECOND / 5);
            cluster.crash(ReplicaId(0));
            cluster.run_for(SECOND);
            cluster.start(ReplicaId(0));
            cluster.set_faults(Faults::none());
            assert!(cluster.settle(SECOND * 30));
            assert_eq!(cluster.violations(), []);
        }
    });
    println!("{:.0} scenarios a second", count as f64 / seconds);
}

/// Scenarios of the swarm in a second, as `pbft-testnet sim` plays them.
#[test]
#[ignore = "a measurement"]
fn seeds_a_second() {
    let (count, mut virtual_time, mut history) = (200, Duration::ZERO, 0);
    let seconds = seconds_of(|| {
        for seed in 0..count {
            let outcome = Scenario::draw(seed, &Swarm::default()).play(false);
            virtual_time += outcome.virtual_time;
            history ^= outcome.history.rotate_left(seed as u32);
        }
    });
    let (rate, times) = (count as f64 / seconds, virtual_time.as_secs_f64() / seconds);
    println!("{rate:.0} seeds a second, {times:.0} times real time; what happened: {history:016x}");
}
