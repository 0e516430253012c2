//! Linearizability without a search, since the replies tell the order (I4); a search remains only for changes that
//! nobody was told of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::order::{Placed, agrees_with_real_time, claimed_order, earliest_answers_from};
use super::{FinalState, Model, Operation, Outcome, Recorded, Violation};

/// How many placements of unanswered operations are tried before the check gives up. A history of the main job has
/// none; one with many is rarely ambiguous, since values are unique and most are seen again.
const PLACEMENTS: usize = 100_000;

/// A history that was found linearizable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linearized {
    /// How many answers were compared with the model's.
    pub answers: usize,
    /// How many unanswered operations took effect.
    pub unanswered_effects: usize,
}

/// Checks that a history, with the final state as its last reading, is that of one store which does one operation
/// at a time, each between its invocation and its answer. The store must have held none of the keys at first, and
/// nobody else may have written to it, but to other keys where the final state says so.
///
/// # Errors
/// A [`Violation`], naming what contradicts what.
pub fn linearizable(history: &[Recorded], end: &FinalState) -> Result<Linearized, Violation> {
    let order = claimed_order(history)?;
    agrees_with_real_time(&order)?;
    let unanswered: Vec<_> = history.iter().filter(|it| it.outcome == Outcome::Unknown).collect();
    if end.strangers && !unanswered.is_empty() {
        let count = unanswered.len();
        return Err(Violation(format!(
            "undecided: {count} operations are unanswered, and revisions may be theirs or other writers'"
        )));
    }
    let mut replay = Replay {
        earliest_answers: earliest_answers_from(&order),
        seen: seen_values(&order, end),
        deleted: deleted_keys(history),
        used: vec![false; unanswered.len()],
        placements: 0,
        order,
        unanswered,
        end,
    };
    replay.go(Model { revision: end.first_revision, ..Model::default() }, 0)?;
    let unanswered_effects = replay.used.iter().filter(|used| **used).count();
    Ok(Linearized { answers: replay.order.len(), unanswered_effects })
}

/// At which revision each value that anybody saw was written. As values are unique, this tells where an unanswered
/// operation took effect, if it was seen.
fn seen_values(order: &[Placed<'_>], end: &FinalState) -> BTreeMap<Bytes, u64> {
    let read = order.iter().filter_map(|placed| placed.done.observation.entry());
    let left = end.entries.iter().map(|(_, entry)| entry);
    read.chain(left).map(|entry| (entry.value.clone(), entry.mod_revision)).collect()
}

/// The keys that somebody asked to delete.
fn deleted_keys(history: &[Recorded]) -> BTreeSet<&Bytes> {
    let deletes = history.iter().filter(|it| matches!(it.operation, Operation::Delete { .. }));
    deletes.map(|it| it.operation.key()).collect()
}

struct Replay<'a> {
    order: Vec<Placed<'a>>,
    earliest_answers: Vec<Duration>,
    seen: BTreeMap<Bytes, u64>,
    deleted: BTreeSet<&'a Bytes>,
    unanswered: Vec<&'a Recorded>,
    /// Which of the unanswered ones have been placed.
    used: Vec<bool>,
    placements: usize,
    end: &'a FinalState,
}

impl Replay<'_> {
    /// Replays the order from `place` on.
    fn go(&mut self, mut model: Model, place: usize) -> Result<(), Violation> {
        for place in place..self.order.len() {
            let Placed { recorded, done } = self.order[place];
            let before = done.revision - u64::from(done.observation.changed());
            if model.revision < before {
                if !self.end.strangers {
                    return self.fill(model, place);
                }
                model.revision = before;
            }
            let expected = model.apply(&recorded.operation);
            if expected != done.observation || model.revision != done.revision {
                return Err(Violation(format!(
                    "{recorded} was told {:?} where {expected:?} at revision {} is right",
                    done.observation, model.revision
                )));
            }
        }
        if model.revision < self.end.revision {
            if !self.end.strangers {
                return self.fill(model, self.order.len());
            }
            model.revision = self.end.revision;
        }
        self.compare_end(&model)
    }

    /// Some unanswered operation must have made the next revision, before `place`: finds one with which the rest
    /// replays.
    fn fill(&mut self, model: Model, place: usize) -> Result<(), Violation> {
        let revision = model.revision + 1;
        let mut violation = Violation(format!("nothing that any client asked explains revision {revision}"));
        for index in 0..self.unanswered.len() {
            if self.used[index] || !self.fits(self.unanswered[index], revision, place) {
                continue;
            }
            self.placements += 1;
            if self.placements > PLACEMENTS {
                return Err(Violation("too many unanswered operations to decide".into()));
            }
            let mut model = model.clone();
            if model.apply(&self.unanswered[index].operation).changed() {
                self.used[index] = true;
                match self.go(model, place) {
                    Ok(()) => return Ok(()),
                    Err(error) => violation = error,
                }
                self.used[index] = false;
            }
        }
        Err(violation)
    }

    /// Whether an unanswered operation may be what made `revision`, just before `place`.
    fn fits(&self, recorded: &Recorded, revision: u64, place: usize) -> bool {
        if recorded.invoked > self.earliest_answers[place] {
            return false;
        }
        let Some(value) = recorded.operation.value() else {
            return matches!(recorded.operation, Operation::Delete { .. });
        };
        match self.seen.get(value) {
            Some(seen) => *seen == revision,
            // It was never seen, so something must have overwritten it, or deleted the key.
            None => match self.end.entry(recorded.operation.key()) {
                Some(entry) => entry.mod_revision > revision,
                None => self.deleted.contains(recorded.operation.key()),
            },
        }
    }

    fn compare_end(&self, model: &Model) -> Result<(), Violation> {
        if model.revision != self.end.revision {
            return Err(Violation(format!(
                "the store ends at revision {} where {} is right",
                self.end.revision, model.revision
            )));
        }
        let expected = model.entries.iter();
        let (mut found, mut expected) = (self.end.entries.iter().peekable(), expected.peekable());
        loop {
            match (found.next(), expected.next()) {
                (None, None) => return Ok(()),
                (Some((key, entry)), Some((expected_key, expected))) if key == expected_key => {
                    if entry != expected {
                        return Err(Violation(format!(
                            "in the end {} is {entry:?} where {expected:?} is right",
                            key.escape_ascii()
                        )));
                    }
                }
                (found, expected) => {
                    let name = |key: Option<&Bytes>| {
                        key.map_or("nothing".to_owned(), |key| key.escape_ascii().to_string())
                    };
                    return Err(Violation(format!(
                        "in the end the store holds {} where {} is right",
                        name(found.map(|(key, _)| key)),
                        name(expected.map(|(key, _)| key))
                    )));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scene, get, put};
    use super::super::{Done, Observation};
    use super::*;

    #[test]
    fn a_history_of_one_store_passes() {
        let mut scene = Scene::default();
        for round in 0..20 {
            scene.run(put("a", &format!("a{round}")));
            scene.run(get("a"));
            scene.run(Operation::Increment { key: "n".into(), value: format!("n{round}").into() });
            scene.run(Operation::Swap { key: "a".into(), expected: 7, value: format!("s{round}").into() });
            scene.run(Operation::Delete { key: if round % 3 == 0 { "a".into() } else { "b".into() } });
        }
        let found = linearizable(&scene.history, &scene.end()).unwrap();
        assert_eq!(found, Linearized { answers: 100, unanswered_effects: 0 });
    }

    #[test]
    fn a_stale_read_is_found() {
        let mut scene = Scene::default();
        scene.run(put("a", "1"));
        let old = scene.run(get("a"));
        scene.run(put("a", "2"));
        let read = scene.run(get("a"));
        let stale = scene.done(old).observation.clone();
        scene.done(read).observation = stale;
        let error = linearizable(&scene.history, &scene.end()).unwrap_err();
        assert!(error.0.contains("get of a") && error.0.contains("is right"), "{error}");
    }

    /// A read that is consistent in itself, and too old: only real time tells.
    #[test]
    fn a_read_from_the_past_is_found() {
        let mut scene = Scene::default();
        scene.run(put("a", "1"));
        let old = scene.run(get("a"));
        scene.run(put("a", "2"));
        let read = scene.run(get("a"));
        let returned = scene.done(read).returned;
        *scene.done(read) = Done { returned, ..scene.done(old).clone() };
        let error = linearizable(&scene.history, &scene.end()).unwrap_err();
        assert!(error.0.contains("was answered before"), "{error}");
    }

    #[test]
    fn a_lost_write_a_double_one_and_a_changed_end_are_found() {
        let mut scene = Scene::default();
        scene.run(put("a", "1"));
        scene.run(put("b", "2"));
        let (history, end) = (scene.history.clone(), scene.end());

        let mut lost = end.clone();
        lost.entries.pop();
        assert!(linearizable(&history, &lost).unwrap_err().0.contains("holds nothing where b"));

        let mut more = end.clone();
        more.revision += 1;
        assert!(linearizable(&history, &more).unwrap_err().0.contains("explains revision 4"));

        let twice = scene.run(put("c", "3"));
        scene.done(twice).revision = 3;
        let error = linearizable(&scene.history, &end).unwrap_err();
        assert!(error.0.contains("revisions contradict the order"), "{error}");
    }

    /// Inside one batch, revisions order the changes, and reads among them.
    #[test]
    fn operations_of_one_batch_are_ordered_by_revision() {
        let mut scene = Scene::default();
        let indices = [put("a", "1"), get("a"), put("a", "2"), get("a")].map(|it| scene.run(it));
        for (index, at) in indices.into_iter().zip(1..) {
            scene.done(index).sequence = 1;
            scene.done(index).returned = Duration::from_millis(100 + at);
        }
        scene.history.reverse();
        assert_eq!(linearizable(&scene.history, &scene.end()).unwrap().answers, 4);
    }

    #[test]
    fn unanswered_operations_may_or_may_not_have_taken_effect() {
        let mut scene = Scene::default();
        scene.run(put("a", "1"));
        let hidden = scene.run(put("a", "2"));
        let seen = scene.run(put("b", "3"));
        scene.run(put("a", "4"));
        for index in [hidden, seen] {
            scene.history[index].outcome = Outcome::Unknown;
        }
        scene.never(put("c", "5"));
        scene.never(put("a", "6"));
        let found = linearizable(&scene.history, &scene.end()).unwrap();
        assert_eq!(found, Linearized { answers: 2, unanswered_effects: 2 });
    }

    #[test]
    fn an_unanswered_operation_takes_no_effect_before_it_is_asked() {
        let mut scene = Scene::default();
        let early = scene.run(put("a", "1"));
        scene.run(put("a", "2"));
        scene.history[early].outcome = Outcome::Unknown;
        assert!(linearizable(&scene.history, &scene.end()).is_ok());
        scene.history[early].invoked = Duration::from_secs(100);
        assert!(linearizable(&scene.history, &scene.end()).is_err());
    }

    #[test]
    fn what_strangers_write_takes_up_revisions_and_explains_nothing_else() {
        let mut scene = Scene::default();
        scene.run(put("a", "1"));
        let theirs = scene.run(put("other", "x"));
        scene.run(get("a"));
        scene.run(put("a", "2"));
        scene.run(put("other", "y"));
        let end = scene.end();
        let mut own: Vec<_> = scene.history.clone();
        own.retain(|it| it.operation.key() != scene.history[theirs].operation.key());
        assert!(linearizable(&own, &end).is_err());
        let end = end.among_strangers(&own);
        assert!(linearizable(&own, &end).is_ok_and(|it| it.answers == 3));
        let Outcome::Done(read) = &mut own[1].outcome else { panic!("it was answered") };
        read.observation = Observation::Read(None);
        assert!(linearizable(&own, &end).is_err());
    }
}
