//! A small model, explored exhaustively where that is possible: the real core, four replicas, two batches for one place
//! in the order, and one view change.
//!
//! r0, the primary of view 0, is malicious. It may say anything of a small set to anybody at any time: either proposal,
//! COMMIT for either, VIEW-CHANGEs to view 1 that show what it likes of what exists, and votes in view 1; or nothing.
//! The network delivers in any order, again, or never; the timer of each correct replica may expire once, at any time.
//! What is left out is written at `Setting::delivers`; writes are durable and batches executed at once.
//!
//! How far it goes: view 0 alone is explored to the end (180,195 states); so is the view change after a decision that
//! one replica alone has executed, where the liar does not vote in view 1 (52,262 states). Both as one, from the start,
//! are too many: 2,500,000 states reach 8 steps, where a whole run takes more than 20. A correct replica that shows no
//! certificates, or a second liar, is found at once.
//!
//! The search is written by hand: the core can be replayed and not copied, what one replica makes of an input has to be
//! computed once and not once for each state of the others, and stateright brings a web server and 44 packages more.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene should panic")]

mod explore;
mod replica;
mod setting;

use explore::{Explorer, Found};
use setting::Setting;

fn search(setting: Setting, limit: usize) -> Found {
    report(Explorer::new(setting).search(limit))
}

fn report(found: Found) -> Found {
    let Found { states, local, depth, exhaustive, executed, .. } = &found;
    let all = if *exhaustive { "all there are" } else { "there are more" };
    eprintln!(
        "{states} states, {all}; {local:?} of the replicas; {executed} with something executed; {depth} steps"
    );
    found
}

/// One view, and a primary that equivocates: every state there is.
#[test]
fn one_view_is_explored_exhaustively() {
    let found = search(Setting::new(&[0], false, false), 2_000_000);
    assert_eq!(found.violation, None);
    assert!(found.exhaustive && found.executed > 0, "{found:?}");
}

/// The view change, from where it is most dangerous: r3 alone has executed a batch, and the next primary knows only the
/// other one. With a liar that asks for the view, shows or hides what it likes, and votes for nothing in it: every state.
#[test]
fn a_view_change_after_a_secret_decision_is_explored_exhaustively() {
    let setting = Setting::new(&[0], true, false);
    let found = report(Explorer::after_a_secret_decision(setting).search(400_000));
    assert_eq!(found.violation, None);
    assert!(found.exhaustive && found.executed == found.states, "{found:?}");
}

/// The positive control: with two liars the same search finds what must not be.
#[test]
fn two_liars_break_agreement_and_the_search_finds_it() {
    let found = search(Setting::new(&[0, 3], false, false), 2_000_000);
    let (_, way) = found.violation.expect("f + 1 are malicious");
    assert!(!way.is_empty());
}

/// The long form: `cargo test -p pbft-simulator --test model -- --ignored --nocapture`; `PBFT_MODEL_STATES` is the
/// number of states to look at.
#[test]
#[ignore = "takes long, and as much memory as it is given"]
fn a_view_change_is_explored_as_far_as_told() {
    let limit = std::env::var("PBFT_MODEL_STATES").map_or(5_000_000, |text| text.parse().unwrap());
    for lies_on in [false, true] {
        let setting = || Setting::new(&[0], true, lies_on);
        let found = report(Explorer::after_a_secret_decision(setting()).search(limit));
        assert_eq!(found.violation, None);
        let found = search(setting(), limit);
        assert_eq!(found.violation, None);
    }
}
