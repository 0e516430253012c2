//! Small samples of what `pbft-testnet twins` and `pbft-testnet byzzfuzz` play in full.

use pbft_simulator::byzzfuzz::{self, Size};
use pbft_simulator::twins::{self, Space};

#[test]
fn twins_break_nothing_and_come_to_everything() {
    let space = Space::new(4, 1, 2).unwrap();
    let mut tally = twins::Tally::default();
    for (number, scenario) in (1..).zip(space.scenarios()).step_by(17) {
        let played = twins::play(&space, &scenario, false);
        assert!(played.violations.is_empty(), "scenario {number}: {:?}", played.violations);
        tally += played.tally;
    }
    // That nothing broke means something only where something happened.
    let twins::Tally { runs, executed, equivocated, moved, carried, accused } = tally;
    assert_eq!((runs, moved), (90, 90));
    assert!(executed > 20 && equivocated > 20 && carried > 10 && accused > 20, "{tally:?}");
}

#[test]
fn more_twins_than_are_tolerated_break_agreement() {
    let space = Space::new(4, 2, 1).unwrap();
    let scenarios = space.scenarios();
    assert!(twins::find_violation(&space, scenarios.len()).is_some());
    let mut violations =
        scenarios.iter().flat_map(|scenario| twins::play(&space, scenario, false).violations);
    assert!(
        violations.any(|it| it.invariant == pbft_simulator::Invariant::I1 && it.text.contains("executed"))
    );
}

/// Of the three runs of a scenario it is told which one broke what, in the list and in the story.
#[test]
fn what_twins_break_is_told_with_its_schedule() {
    let space = Space::new(4, 2, 1).unwrap();
    let scenarios = space.scenarios();
    let mut played = scenarios.iter().map(|scenario| twins::play(&space, scenario, true));
    let broken = played.find(|played| !played.violations.is_empty()).expect("more than f are twins");
    for it in broken.violations {
        assert!(it.text.starts_with("in the schedule of "), "{it}");
        assert!(broken.transcript.contains(&format!("\n{it}\n")), "{it}");
    }
}

#[test]
fn mutations_break_nothing_and_come_to_everything() {
    let mut tally = byzzfuzz::Tally::default();
    for size in Size::all(4).chain([Size { n: 7, c: 3, d: 3 }]) {
        for seed in 0..3 {
            let played = byzzfuzz::play(size, seed, false);
            assert!(played.violations.is_empty(), "{size:?}, seed {seed}: {:?}", played.violations);
            tally += played.tally;
        }
    }
    let byzzfuzz::Tally { runs, parted, drawn, struck, mutated, moved, transferred, accused } = tally;
    assert_eq!(runs, 51);
    assert!(struck * 2 > drawn && struck < drawn, "{tally:?}");
    assert!(parted > 500 && mutated > 100 && moved > 5 && transferred > 2 && accused > 0, "{tally:?}");
}

#[test]
fn a_scenario_and_a_seed_replay_to_the_letter() {
    let space = Space::new(4, 1, 2).unwrap();
    let scenario = &space.scenarios()[200];
    let [one, other] = [(); 2].map(|()| twins::play(&space, scenario, true).transcript);
    assert!(one.lines().count() > 100 && one == other);
    let size = Size { n: 4, c: 2, d: 2 };
    let [one, other] = [(); 2].map(|()| byzzfuzz::play(size, 5, true).transcript);
    assert!(one.lines().count() > 100 && one == other);
}
