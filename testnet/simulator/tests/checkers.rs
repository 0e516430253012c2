//! The checkers can fail: with more than f malicious replicas they find what is broken, and with f they find that liars
//! are convicted (I6, I7, I8, I9).

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_byzantine::strategy;
use pbft_messages::ReplicaId;
use pbft_simulator::scenario::{Act, Action, Scenario, Swarm, Time};
use pbft_simulator::{Cluster, Contradictions, Faults, Invariant, PowerCut, Settings, Violation};

const SECOND: Duration = Duration::from_secs(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

fn corrupt(cluster: &mut Cluster, liars: &[ReplicaId], text: &str) {
    for liar in liars {
        let identity = cluster.colluding_identity(*liar, liars);
        cluster.corrupt(*liar, strategy(text, &identity).expect("there is one"));
    }
}

/// Two of four get two batches committed at one place. Once the two sides talk of what they have, the second
/// verifier sees it too.
#[test]
fn certificates_in_conflict_are_found() {
    let found: BTreeSet<_> = (0..10)
        .flat_map(|seed| {
            let mut cluster = Cluster::new(Settings { faults: Faults::bad(), ..Settings::new(4, seed) });
            corrupt(&mut cluster, &[r(0), r(1)], "equivocate");
            cluster.load(30, 3);
            cluster.run_for(SECOND * 5);
            cluster.violations().iter().map(|it| it.invariant).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.contains(&Invariant::I1) && found.contains(&Invariant::I6), "{found:?}");
}

/// Whoever is heard contradicting itself is convicted, whatever else the network does.
#[test]
fn liars_that_are_heard_are_convicted() {
    let mut all = Contradictions::default();
    for (seed, text) in ["equivocate", "contradict", "equivocate", "contradict"].into_iter().enumerate() {
        let liar = if text == "equivocate" { r(0) } else { r(2) };
        let faults = if seed < 2 { Faults::none() } else { Faults::bad() };
        let mut cluster = Cluster::new(Settings { faults, ..Settings::new(4, seed as u64) });
        corrupt(&mut cluster, &[liar], text);
        cluster.load(40, 3);
        cluster.run_for(SECOND * 5);
        cluster.set_faults(Faults::none());
        assert!(cluster.settle(SECOND * 60));
        assert_eq!((cluster.violations(), cluster.unconvicted()), (&[][..], BTreeSet::new()), "{text}");
        // Of a primary that tells each half something else, too.
        assert!(cluster.contradictions().reached > 0, "{text}");
        all += cluster.contradictions();
    }
    assert_eq!((all.convicted, all.proven), (all.liars, all.reached), "{all:?}");
}

/// A scenario in which one thing is done, and everybody is to be there at the end.
fn doing(action: Action) -> Scenario {
    let mut scenario = Scenario::draw(1, &Swarm::default());
    scenario.acts = vec![Act { at: Time::ms(10), action }];
    scenario.twins.clear();
    (scenario.alarm, scenario.steady, scenario.answered_within, scenario.views_within) =
        (false, None, None, None);
    (scenario.keeps_view, scenario.service_latency) = (false, Time(Settings::SERVICE_LATENCY));
    scenario.core = (0..scenario.n).map(ReplicaId).collect();
    scenario
}

#[test]
fn a_replica_that_never_comes_back_is_missed() {
    let outcome = doing(Action::Damage { replica: r(1) }).play(false);
    let [violation] = &outcome.violations[..] else { panic!("{:?}", outcome.violations) };
    assert_eq!(violation.invariant, Invariant::I8);
    assert!(violation.text.contains("r1 is down"), "{violation}");
    let outcome = doing(Action::Crash { replica: r(1) }).play(false);
    assert_eq!(outcome.violations, [], "it is started again");
}

#[test]
fn a_request_that_takes_too_long_is_noticed() {
    let mut scenario = doing(Action::Load { client: 0, requests: 3, depth: 1 });
    // It is watched until the last act.
    scenario.acts.push(Act { at: Time::ms(5_000), action: Action::Heal });
    for (limit, broken) in [(Time::ms(1), true), (Time::ms(10_000), false)] {
        scenario.answered_within = Some(limit);
        let found: Vec<_> = scenario.play(false).violations.iter().map(|it| it.invariant).collect();
        assert_eq!(found.contains(&Invariant::I8), broken, "{limit}: {found:?}");
    }
}

/// What pends when the limits end has taken too long as well, though all is well a moment later: a request that nobody
/// can execute until two replicas start again, and a view that too few ask for until the links work again.
#[test]
fn what_is_not_over_when_the_limits_end_is_noticed() {
    let found = |scenario: &Scenario| -> Vec<_> {
        let told = |it: &Violation| (it.invariant == Invariant::I8).then(|| it.text.clone());
        scenario.play(false).violations.iter().map(|it| told(it).expect("a limit")).collect()
    };
    let beside = |action| {
        let mut scenario = doing(Action::Load { client: 0, requests: 1, depth: 1 });
        scenario.acts.insert(0, Act { at: Time::default(), action });
        scenario.acts.push(Act { at: Time::ms(5_000), action: Action::Heal });
        scenario
    };

    let mut hangs = beside(Action::Crash { replica: r(1) });
    hangs.acts.insert(0, Act { at: Time::default(), action: Action::Crash { replica: r(2) } });
    assert_eq!(found(&hangs), [""; 0]);
    hangs.answered_within = Some(Time::ms(1_000));
    let [text] = &found(&hangs)[..] else { panic!("{:?}", found(&hangs)) };
    assert!(text.contains("waited 4.99s"), "{text}");

    let mut asks = beside(Action::Partition { groups: [0, 1, 2, 3].map(|it| [r(it)].into()).to_vec() });
    assert_eq!(found(&asks), [""; 0]);
    asks.views_within = Some(Time::ms(3_000));
    let texts = found(&asks);
    assert_eq!(texts.iter().filter(|text| text.contains("asked for one view for")).count(), 4, "{texts:?}");
    (0..4).map(r).for_each(|replica| {
        asks.acts.insert(2, Act { at: Time::ms(4_000), action: Action::Crash { replica } });
    });
    assert_eq!(found(&asks), [""; 0], "who is down asks for nothing");
}

/// Clients that a replica turns away are served by the others, while those are enough.
#[test]
fn clients_that_are_turned_away_are_served_elsewhere() {
    let mut cluster = Cluster::new(Settings::new(4, 1));
    cluster.turn_clients_away(r(0));
    cluster.load(5, 1);
    assert!(
        cluster.run_until(SECOND * 5, Cluster::is_answered),
        "a backup passes on what the primary does not hear"
    );
    cluster.turn_clients_away(r(1));
    cluster.turn_clients_away(r(2));
    cluster.load(5, 1);
    cluster.run_for(SECOND * 5);
    assert_eq!(cluster.unanswered(), 5, "one replica's word is nothing");
    cluster.heal();
    assert!(cluster.settle(SECOND * 30));
    assert_eq!(cluster.violations(), []);
}

/// A view that is left under load alone is told, and no other one.
#[test]
fn a_view_that_is_not_kept_is_noticed() {
    let mut scenario = doing(Action::Crash { replica: r(0) });
    scenario.acts.push(Act { at: Time::ms(20), action: Action::Load { client: 0, requests: 1, depth: 1 } });
    scenario.acts.push(Act { at: Time::ms(3_000), action: Action::Heal });
    assert_eq!(scenario.play(false).violations, []);
    scenario.keeps_view = true;
    let violations = scenario.play(false).violations;
    assert!(violations[0].text.contains("nothing is wrong but the load"), "{violations:?}");
}

/// Whoever lost its disk is outside of the core, and rejoins all the same; and so does who was given a new one since the
/// old one was damaged.
#[test]
fn a_replica_with_a_new_disk_is_waited_for() {
    let replica = r(1);
    let mut scenario = doing(Action::Wipe { replica });
    scenario.core.remove(&replica);
    for damaged in [false, true] {
        if damaged {
            scenario.acts.insert(0, Act { at: Time::ms(5), action: Action::Damage { replica } });
        }
        let outcome = scenario.play(true);
        assert_eq!(outcome.violations, []);
        assert!(outcome.transcript.lines().any(|line| line.contains("r1 may vote from view")), "{damaged}");
    }
    scenario.acts.push(Act { at: Time::ms(20), action: Action::Damage { replica } });
    assert_eq!(scenario.play(false).violations, [], "nobody waits for who has a damaged one");
}

/// Two power cuts both come; the power's return starts the one that only lost power, and not the one killed since.
#[test]
fn whoever_is_killed_while_the_power_is_gone_stays_down() {
    let mut cluster = Cluster::new(Settings::new(4, 1));
    for replica in [r(1), r(2)] {
        let (at, step) = (replica.into(), cluster.steps(replica).len() + 3);
        cluster.cut_power(PowerCut { at, step, survive: 0, victims: vec![at] });
    }
    cluster.load(20, 1);
    assert!(cluster.run_until(SECOND * 10, Cluster::power_was_cut));
    cluster.crash(r(1));
    cluster.run_for(SECOND);
    assert!(cluster.standing(r(1)).is_none() && cluster.standing(r(2)).is_some());
}
