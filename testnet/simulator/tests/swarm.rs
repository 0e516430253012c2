//! Scenarios drawn from seeds: within f nothing breaks, beyond f the checkers find what does, and a seed is always the
//! same run.

use std::ops::ControlFlow;

use pbft_simulator::parallel::spread;
use pbft_simulator::scenario::{Action, Outcome, Scenario, Seen, Swarm};
use pbft_simulator::{Invariant, Violation};

/// Plays seeds on two threads; gives them with what came of them.
fn play(seeds: std::ops::Range<u64>, swarm: &Swarm) -> Vec<(u64, Scenario, Outcome)> {
    let mut played = Vec::new();
    let work = |seed| {
        let scenario = Scenario::draw(seed, swarm);
        let outcome = scenario.play(false);
        (seed, scenario, outcome)
    };
    spread(2, seeds, work, |it| {
        played.push(it);
        ControlFlow::Continue(())
    });
    played
}

#[test]
fn what_is_drawn_breaks_nothing() {
    let played = play(0..200, &Swarm::default());
    for (seed, _, outcome) in &played {
        assert_eq!(outcome.violations, [], "seed {seed}");
        assert!(outcome.recovery_time <= outcome.patience, "seed {seed}");
    }
    // The scenarios are worth playing: something is asked for, goes wrong, and is answered all the same.
    let sum = |of: fn(&Outcome) -> u64| played.iter().map(|(_, _, outcome)| of(outcome)).sum::<u64>();
    assert!(sum(|outcome| outcome.answered as u64) > 20 * 200);
    assert!(sum(|outcome| outcome.view_changes) > 200);
    let mut seen = Seen::default();
    played.iter().for_each(|(_, _, outcome)| seen += outcome.seen);
    let Seen { moved, carried, transferred, recovered, shed, power_cuts } = seen;
    assert!(moved > 80 && carried > 10 && transferred > 10 && recovered > 2, "{seen:?}");
    assert!(shed > 0 && power_cuts > 5, "{seen:?}");
    let faults: std::collections::BTreeSet<_> =
        played.iter().flat_map(|(_, scenario, _)| scenario.faults().into_keys()).collect();
    assert!(faults.len() > 20, "{faults:?}");
    // Two liars of seven replicas are within f.
    let liars = |scenario: &Scenario| {
        scenario.acts.iter().filter(|act| matches!(act.action, Action::Corrupt { .. })).count()
    };
    assert!(played.iter().filter(|(_, scenario, _)| liars(scenario) == 2).count() >= 5);
}

/// Whoever attacks has time to: a scenario goes on for long after, though nothing else happens in it.
#[test]
fn attacks_begin_early() {
    let mut attacks = 0;
    for seed in 0..300 {
        let acts = Scenario::draw(seed, &Swarm::default()).acts;
        let end = acts.last().expect("there is one").at.0;
        for act in acts.iter().filter(|act| matches!(act.action, Action::Attack { .. })) {
            attacks += 1;
            assert!(act.at.0 * 4 < end, "seed {seed}: {act:?}");
        }
    }
    assert!(attacks > 20, "{attacks}");
}

/// What the swarm once found within f, as small as the shrinker could make it: each broke a guarantee.
#[test]
fn what_once_broke_a_guarantee_holds() {
    for (name, text) in [
        // I7: the carried-over proposals of a view beyond the window, while the checkpoint below them is being written.
        ("entry-of-a-view-far-ahead", include_str!("scenarios/entry-of-a-view-far-ahead.toml")),
        // I7: a new primary fetched bodies beyond its log, which it was to carry over.
        ("new-primary-far-behind", include_str!("scenarios/new-primary-far-behind.toml")),
        // I7: what a replica far behind had forgotten below its window came in again, without a bound.
        ("log-filled-again-from-below", include_str!("scenarios/log-filled-again-from-below.toml")),
        // I7: a primary of a view long past, which was told of a checkpoint, proposed all that this covers.
        ("primary-of-a-view-long-past", include_str!("scenarios/primary-of-a-view-long-past.toml")),
        // I7: what a checkpoint covers was on disk still when the replica was killed, and stayed in its log.
        ("crash-before-the-disk-forgot", include_str!("scenarios/crash-before-the-disk-forgot.toml")),
        // I9: the observer took a COMMIT at sequence 0, where nothing is agreed on, for one that is to be shown.
        ("a-commit-before-the-first", include_str!("scenarios/a-commit-before-the-first.toml")),
        // I8: the simulated disk, become faster, dropped what waited for an earlier write.
        ("a-disk-that-becomes-faster", include_str!("scenarios/a-disk-that-becomes-faster.toml")),
        // I8: a starved processor heard of the end of a later write first, and the simulated disk dropped what waited for the
        // earlier one.
        ("the-end-of-a-later-write-first", include_str!("scenarios/the-end-of-a-later-write-first.toml")),
        // I9: the observer counted what a replica heard that waited for its writes to stop.
        ("heard-while-it-stops", include_str!("scenarios/heard-while-it-stops.toml")),
        // D3: the observer looked on the disk for a VIEW-CHANGE after the next one had taken its place.
        ("a-view-change-after-the-next-one", include_str!("scenarios/a-view-change-after-the-next-one.toml")),
        // N8: where execution was slower than agreement, small batches piled up behind it.
        ("service-slower-than-agreement", include_str!("scenarios/service-slower-than-agreement.toml")),
    ] {
        let scenario = Scenario::from_toml(text).unwrap();
        assert_eq!(scenario.play(false).violations, [], "{name}");
    }
}

#[test]
fn real_signatures_break_nothing_either() {
    for (seed, _, outcome) in play(0..4, &Swarm { real_signatures: true, ..Swarm::default() }) {
        assert_eq!(outcome.violations, [], "seed {seed}");
    }
}

#[test]
fn a_seed_is_always_the_same_run() {
    for swarm in [Swarm::default(), Swarm { beyond_f: true, ..Swarm::default() }] {
        for (seed, scenario, first) in play(0..20, &swarm) {
            assert_eq!(scenario, Scenario::draw(seed, &swarm));
            // Telling the story changes nothing, nor does a way through a file.
            let read = Scenario::from_toml(&scenario.to_toml()).unwrap();
            assert_eq!(read, scenario);
            let second = read.play(true);
            assert_eq!(second.history, first.history, "seed {seed}");
            assert_eq!(second.violations, first.violations, "seed {seed}");
        }
    }
}

/// A positive control: with one liar too many correct replicas execute different batches, and it is seen (I1), though
/// when they do may differ first (N6).
#[test]
fn beyond_f_agreement_breaks() {
    let swarm = Swarm { beyond_f: true, ..Swarm::default() };
    let broken = |outcome: &Outcome| {
        Violation::weightiest(&outcome.violations).map(|it| it.invariant).filter(|it| *it == Invariant::I1)
    };
    let find = |(_, scenario, outcome): (u64, Scenario, Outcome)| Some((scenario, broken(&outcome)?));
    let parts = (0..5).map(|part| part * 20..part * 20 + 20);
    let found = parts.into_iter().find_map(|seeds| play(seeds, &swarm).into_iter().find_map(find));
    let (scenario, invariant) = found.expect("agreement breaks within 100 seeds");
    // What is left of the scenario breaks it as well, and is smaller; and it is the same each time.
    let shrink = || scenario.shrink(invariant, |_, _| ControlFlow::Continue(()));
    let smaller = shrink();
    assert_eq!(broken(&smaller.play(false)), Some(invariant));
    assert!(smaller.acts.len() < scenario.acts.len(), "{}", smaller.to_toml());
    assert_eq!(shrink(), smaller);
}

#[test]
fn whoever_writes_a_bad_scenario_is_told_what_to_change() {
    let good = Scenario::draw(1, &Swarm::default()).to_toml();
    for (key, wrong, complaint) in [
        ("n = ", "n = 3", "n = 3: a scenario has 4 to 31 replicas"),
        ("n = ", "colour = 1", "unknown field `colour`, expected one of `seed`, `n`"),
        ("clients = ", "clients = 0", "clients = 0: a scenario has 1 to 100"),
        ("window = ", "window = 0", "parameters: "),
        ("loss = ", "loss = 2.0", "network: loss = 2: a share is from 0.0 to 1.0"),
        ("core = ", "core = [\"r0\"]", "core: name "),
        ("core = ", "core = [\"r40\"]", "the replicas are r0 to"),
        ("at = ", "at = \"soon\"", "\"soon\" is no time: write 2s, 350ms or 10m"),
        ("at = ", "at = \"9h\"", "at = 9h: 1h is the latest"),
        ("action = ", "action = \"dance\"", "unknown variant `dance`, expected one of `load`"),
    ] {
        let line = good.lines().find(|line| line.starts_with(key)).expect("it is there");
        let error = Scenario::from_toml(&good.replacen(line, wrong, 1)).unwrap_err().to_string();
        assert!(error.contains(complaint), "{wrong}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for (act, complaint) in [
        ("action = \"crash\"\nreplica = \"r9\"", "act 1, at 0ms: there is no r9: the replicas are r0 to r3"),
        ("action = \"crash\"\nreplica = \"r1\"\ncolour = 1", "unknown field `colour`, expected `replica`"),
        ("action = \"load\"\nclient = 7\nrequests = 1\ndepth = 1", "there is no client 7"),
        ("action = \"load\"\nclient = 0\nrequests = 1\ndepth = 0", "depth = 0: at least one"),
        ("action = \"corrupt\"\nreplica = \"r3\"\nstrategy = \"lazy\"", "no strategy is called \"lazy\""),
        (
            "action = \"wipe\"\nreplica = \"r0\"",
            "core: name 3 replicas or more, all of which are never faulty",
        ),
        ("action = \"partition\"\ngroups = [[\"r1\"], [\"r1\"]]", "groups: r1 is in two of them"),
    ] {
        let text = format!("{}\n[[act]]\nat = \"0ms\"\n{act}\n", CALM.trim());
        let error = Scenario::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains(complaint), "{act}: {error}");
    }
    assert_eq!(Scenario::from_toml(CALM).unwrap().play(false).violations, []);
}

/// The least that a scenario says.
const CALM: &str = include_str!("scenarios/calm.toml");
