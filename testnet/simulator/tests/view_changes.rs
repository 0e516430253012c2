//! View changes in which more goes wrong than one primary (VC1 to VC7, D3).

use std::time::Duration;

use pbft_byzantine::strategy;
use pbft_messages::{PeerMessage, ReplicaId, View};
use pbft_protocol::{Report, ViewChangeReason};
use pbft_simulator::{Cluster, InstanceId, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

fn corrupt(cluster: &mut Cluster, replica: u16, text: &str) {
    let identity = cluster.identity(r(replica));
    cluster.corrupt(r(replica), strategy(text, &identity).expect("there is one"));
}

/// A cluster under some load, in view 0.
fn cluster(n: u16, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(Settings::new(n, seed));
    cluster.load(3, 1);
    assert!(cluster.settle(SECOND));
    cluster.load(10, 2);
    cluster
}

/// Ends a run: all is answered and executed everywhere, in a view above 0 that everybody is in.
#[track_caller]
fn conclude(cluster: &mut Cluster, what: &str) {
    let settled = cluster.settle(SECOND * 30);
    assert_eq!(cluster.violations(), [], "{what}");
    assert!(settled, "{what}: {}", cluster.transcript());
    cluster.run_for(SECOND);
    let standings: Vec<_> = cluster.correct().filter_map(|it| cluster.standing(it)).collect();
    let view = standings[0].view;
    let together = standings.iter().all(|it| it.view == view && it.pending.is_none());
    assert!(together && view > View(0), "{what}: {standings:?}");
    let mut roots = cluster.state_roots();
    roots.dedup();
    assert_eq!(roots.len(), 1, "{what}");
}

/// When a replica asked for views, for which and why, after some time.
fn asked(cluster: &Cluster, replica: ReplicaId, after: Duration) -> Vec<(Duration, View, ViewChangeReason)> {
    let of_replica = |(at, by, report): &(Duration, InstanceId, Report)| match report {
        Report::ViewChange { view, reason } if *by == replica && *at > after => Some((*at, *view, *reason)),
        _ => None,
    };
    cluster.reports().iter().filter_map(of_replica).collect()
}

/// Whether a replica has said something that the transcript tells of.
fn says(replica: u16, what: &str) -> impl Fn(&Cluster) -> bool + use<'_> {
    move |cluster| {
        let said = |line: &str| line.contains(&format!(" r{replica} ")) && line.contains(what);
        cluster.transcript().lines().any(said)
    }
}

/// Row 42: f bad primaries in a row, each bad in its own way.
#[test]
fn f_bad_primaries_in_a_row_are_replaced() {
    for (seed, second) in ["silent", "equivocate", "starve"].into_iter().enumerate() {
        let mut cluster = cluster(7, seed as u64);
        corrupt(&mut cluster, 0, "silent");
        corrupt(&mut cluster, 1, second);
        conclude(&mut cluster, second);
        let view = cluster.standing(r(2)).expect("it is up").view;
        assert_eq!(view, View(2), "{second}");
    }
}

/// Each primary dies as it opens its view, and the one before it comes back: f are down at any time.
#[test]
fn a_cascade_of_dying_primaries_ends() {
    let mut cluster = cluster(4, 10);
    cluster.crash(r(0));
    for view in 1..7u16 {
        let primary = view % 4;
        cluster.load(2, 1);
        let new_view = format!("NEW-VIEW {view} ");
        let opens = says(primary, &new_view);
        assert!(cluster.run_until(SECOND * 20, opens), "view {view}: {}", cluster.transcript());
        cluster.crash(r(primary));
        cluster.start(r((view - 1) % 4));
    }
    cluster.start(r(2));
    conclude(&mut cluster, "cascade");
}

/// Fault 21: VIEW-CHANGEs and NEW-VIEWs are lost, up to one half of them, or all VIEW-CHANGEs of one replica.
#[test]
fn lost_view_changes_are_sent_again() {
    for (seed, percent) in [(20, 30), (21, 40), (22, 50), (23, 50), (24, 50)] {
        let mut cluster = cluster(4, seed);
        let mut state = seed;
        cluster.set_filter(move |_, _, message| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let view_change = matches!(message, PeerMessage::ViewChange(_) | PeerMessage::NewView(_));
            !view_change || (state >> 33) % 100 >= percent
        });
        cluster.crash(r(0));
        conclude(&mut cluster, &format!("{percent} % lost"));
    }
    let mut cluster = cluster(7, 25);
    cluster.set_filter(|from, _, message| from != r(6) || !matches!(message, PeerMessage::ViewChange(_)));
    cluster.crash(r(0));
    conclude(&mut cluster, "all of one replica's lost");
}

/// Row 11: replicas lose power at every step of a view change, the new primary and a backup, and the clock goes on.
#[test]
fn restarts_inside_a_view_change_lose_nothing() {
    let steps: [(&str, u16, &str, Duration); 7] = [
        ("its VIEW-CHANGE is not durable", 2, "asks for view 1", Duration::ZERO),
        ("the new primary's VIEW-CHANGE is not durable", 1, "asks for view 1", Duration::ZERO),
        ("its VIEW-CHANGE is sent", 2, "VIEW-CHANGE 1 ", Duration::ZERO),
        ("the new primary's VIEW-CHANGE is sent", 1, "VIEW-CHANGE 1 ", Duration::ZERO),
        ("NEW-VIEW is sent", 1, "NEW-VIEW 1 ", Duration::ZERO),
        // NEW-VIEW takes one millisecond to arrive, and entering one more to be durable.
        ("the backup's entry is not durable", 2, "NEW-VIEW 1 ", Duration::from_micros(1_500)),
        ("the backup has entered", 2, "enters view 1", Duration::ZERO),
    ];
    for (seed, (step, victim, said, later)) in steps.into_iter().enumerate() {
        for down in [MS, SECOND * 2] {
            let mut cluster = cluster(4, 30 + seed as u64);
            cluster.crash(r(0));
            // NEW-VIEW is the new primary's, whoever is the victim.
            let speaker = if said.starts_with("NEW-VIEW") { 1 } else { victim };
            assert!(cluster.run_until(SECOND * 5, says(speaker, said)), "{step}");
            cluster.run_for(later);
            let entered = |(_, at, report): &(_, InstanceId, Report)| {
                *at == r(victim) && matches!(report, Report::ViewEntered { .. })
            };
            let has_entered = cluster.reports().iter().any(entered);
            assert_eq!(has_entered, said.starts_with("enters") || step == "NEW-VIEW is sent", "{step}");
            cluster.crash(r(victim));
            cluster.run_for(down);
            cluster.start(r(victim));
            cluster.run_for(MS * 10);
            cluster.start(r(0));
            conclude(&mut cluster, step);
        }
    }
}

/// C4: who was away during the change learns of it, in an idle cluster too.
#[test]
fn a_backup_that_missed_the_change_enters_the_view() {
    for load in [0, 10] {
        let mut cluster = cluster(7, 40);
        let all: Vec<_> = (0..7).map(r).collect();
        cluster.partition(&all[6..], &all[..6]);
        cluster.crash(r(0));
        assert!(cluster.run_until(SECOND * 10, Cluster::is_answered));
        assert_eq!(cluster.standing(r(6)).expect("it is up").view, View(0));
        cluster.heal();
        cluster.load(load, 1);
        conclude(&mut cluster, &format!("load {load}"));
    }
}

/// VC7, fault 26: each view that does not begin doubles the timeout, up to the cap; progress makes it normal again.
#[test]
fn the_timeout_doubles_to_its_cap_and_returns_to_normal() {
    let (timeout, cap) = (MS * 500, SECOND * 4);
    let mut cluster = cluster(4, 50);
    for _ in 0..2 {
        assert!(cluster.settle(SECOND * 20));
        let start = cluster.elapsed();
        let primary = cluster.standing(r(3)).expect("it is up").primary;
        let backup = r((primary.0 + 1) % 4);
        cluster.set_filter(|_, _, message| !matches!(message, PeerMessage::NewView(_)));
        cluster.crash(primary);
        cluster.load(1, 1);
        cluster.run_for(SECOND * 18);
        let asked = asked(&cluster, backup, start);
        let silence = [ViewChangeReason::SilentPrimary, ViewChangeReason::Joined];
        assert!(silence.contains(&asked[0].2), "{:?}", asked[0]);
        let since = asked[0].0 - start;
        assert!(
            since >= MS * 300 && since <= MS * 500,
            "four rounds of silence and a part, one of which may have passed: {since:?}"
        );
        let gaps: Vec<_> = asked.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        for (gap, expected) in gaps.iter().zip([timeout, timeout * 2, timeout * 4, cap, cap]) {
            assert!(*gap >= expected && *gap < expected + MS * 100, "{gaps:?}");
        }
        assert!(gaps.len() >= 5 && asked.windows(2).all(|pair| pair[1].1 == pair[0].1.next()), "{asked:?}");
        cluster.start(primary);
        cluster.clear_wire();
        assert!(cluster.run_until(SECOND * 20, Cluster::is_answered));
    }
    conclude(&mut cluster, "timeouts");
}
