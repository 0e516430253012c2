//! A second judge of tiny histories, which tries every order (Wing and Gong): it guards [`linearizable`], which goes by
//! the order that replies claim.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::{Done, FinalState, Model, Operation, Outcome, Recorded, linearizable};

/// How many histories are judged.
const HISTORIES: u64 = 20_000;

/// Whether there is an order of the answered operations, and of some unanswered ones, that one store could have gone
/// through: each comes after all that was answered before it was asked, batches come one after the other, each answer
/// and its revision are the model's, and so is the end.
fn has_an_order(history: &[Recorded], end: &FinalState) -> bool {
    // A batch is executed at once: nothing in it is asked after an answer of it.
    let is_one = |done: &Done| {
        let mut batch = history.iter().filter(|it| it.done().is_some_and(|it| it.sequence == done.sequence));
        batch.all(|it| it.invoked <= done.returned)
    };
    let model = Model { revision: end.first_revision, ..Model::default() };
    history.iter().filter_map(Recorded::done).all(is_one)
        && goes_on(&mut history.iter().collect(), &model, 0, end)
}

/// Whether what remains can follow a state, the last batch before which was of `sequence`.
fn goes_on(remaining: &mut Vec<&Recorded>, model: &Model, sequence: u64, end: &FinalState) -> bool {
    let is_end = model.revision == end.revision
        && model.entries.iter().eq(end.entries.iter().map(|(key, entry)| (key, entry)));
    if is_end && remaining.iter().all(|it| it.done().is_none()) {
        return true;
    }
    (0..remaining.len()).any(|index| {
        let next = remaining.remove(index);
        let follows = follows(next, remaining, model, sequence)
            .is_some_and(|(model, sequence)| goes_on(remaining, &model, sequence, end));
        remaining.insert(index, next);
        follows
    })
}

/// The state and the sequence after an operation, if it may come next.
fn follows(next: &Recorded, others: &[&Recorded], model: &Model, sequence: u64) -> Option<(Model, u64)> {
    let mut model = model.clone();
    let observation = model.apply(&next.operation);
    let is_due = |it: &&Recorded| it.done().is_some_and(|it| it.returned < next.invoked);
    if others.iter().any(is_due) {
        return None;
    }
    let Some(done) = next.done() else { return Some((model, sequence)) };
    let fits =
        done.sequence >= sequence && done.revision == model.revision && done.observation == observation;
    fits.then_some((model, done.sequence))
}

/// Draws what one store did with a few operations of some clients, in batches, and what they were told of it.
struct Drawn {
    random: StdRng,
    history: Vec<Recorded>,
    end: FinalState,
}

impl Drawn {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut model, mut history, mut sequence) = (Model::default(), Vec::new(), 0);
        for index in 0..random.random_range(1..=6) {
            sequence += random.random_range(0..=1) + u64::from(index == 0);
            let (invoked, returned) = interval(&mut random, sequence);
            let operation = operation(&mut random, index, model.revision);
            let unanswered = random.random_bool(0.25);
            let is_done = !unanswered || random.random_bool(0.5);
            let observation = is_done.then(|| model.apply(&operation)).filter(|_| !unanswered);
            let done = |observation| Done { returned, sequence, revision: model.revision, observation };
            let outcome = observation.map_or(Outcome::Unknown, |it| Outcome::Done(done(it)));
            history.push(Recorded { client: index, operation, invoked, outcome });
        }
        let end = FinalState {
            revision: model.revision,
            entries: model.entries.into_iter().collect(),
            ..FinalState::default()
        };
        Self { random, history, end }
    }

    /// Makes something else of it that might have been recorded, as a rule of a store that is broken.
    fn spoil(&mut self) {
        let random = &mut self.random;
        let index = random.random_range(0..self.history.len());
        let other = self.history.choose(random).cloned();
        let recorded = &mut self.history[index];
        let (Outcome::Done(done), Some(other)) = (&mut recorded.outcome, other) else {
            recorded.invoked += Duration::from_millis(random.random_range(0..40));
            return;
        };
        match random.random_range(0..9) {
            0 => done.sequence = random.random_range(1..=4),
            1 => done.revision = random.random_range(1..=6),
            2 => (recorded.invoked, done.returned) = interval(random, 1),
            3 => done.returned = recorded.invoked.saturating_sub(Duration::from_millis(1)),
            4 => {
                if let Some(other) = other.done() {
                    done.observation = other.observation.clone();
                }
            }
            5 => {
                if let Some(other) = other.done() {
                    (done.sequence, done.revision) = (other.sequence, other.revision);
                    done.observation = other.observation.clone();
                }
            }
            6 => recorded.outcome = Outcome::Unknown,
            7 => self.end.revision = random.random_range(1..=6),
            _ => drop(self.end.entries.pop()),
        }
    }
}

/// When something is asked and answered that takes effect in a batch: a batch takes 10 ms, and others overlap.
fn interval(random: &mut StdRng, sequence: u64) -> (Duration, Duration) {
    let effect = 100 + sequence * 10;
    let [before, after] = [(); 2].map(|()| random.random_range(0..25));
    (Duration::from_millis(effect - before), Duration::from_millis(effect + after))
}

fn operation(random: &mut StdRng, index: usize, revision: u64) -> Operation {
    let key = (*["a", "b"].choose(random).unwrap()).into();
    let value = format!("v{index}").into();
    match random.random_range(0..5) {
        0 => Operation::Put { key, value },
        1 => Operation::Get { key },
        2 => Operation::Delete { key },
        3 => Operation::Swap { key, expected: random.random_range(0..=revision), value },
        _ => Operation::Increment { key, value },
    }
}

/// Right histories and wrong ones are told apart as by the search.
#[test]
fn the_replay_judges_as_a_search_of_every_order_does() {
    // By whether there was an order, and whether something was unanswered.
    let mut judged = BTreeMap::new();
    for seed in 0..HISTORIES {
        let mut drawn = Drawn::new(seed);
        if seed % 2 == 1 {
            drawn.spoil();
        }
        let Drawn { history, end, .. } = drawn;
        let right = has_an_order(&history, &end);
        let verdict = linearizable(&history, &end);
        assert_eq!(verdict.is_ok(), right, "seed {seed}: {verdict:?} of {history:#?}, {end:#?}");
        assert!(right || seed % 2 == 1, "seed {seed}: what a store did has an order");
        let unanswered = history.iter().any(|it| it.outcome == Outcome::Unknown);
        *judged.entry((right, unanswered)).or_insert(0) += 1;
    }
    assert!(judged.len() == 4 && judged.values().all(|count| *count > 1000), "{judged:?}");
}
