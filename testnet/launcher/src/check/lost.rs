//! Acknowledged writes must be there in the end, whatever restarted meanwhile (I5).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Done, FinalState, Operation, Outcome, Recorded};

/// What came of looking for every acknowledged write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LostWrites {
    /// How many acknowledged writes there are.
    pub acknowledged: usize,
    /// How many of them were read back: they are what their key holds. A later write has replaced the others.
    pub read_back: usize,
    /// The keys whose last acknowledged write is gone.
    pub lost: Vec<Bytes>,
}

/// Compares the last acknowledged change of every key with what the key holds in the end. This is deliberately
/// simpler than [`super::linearizable`], and independent of its replay.
#[must_use]
pub fn lost_writes(history: &[Recorded], end: &FinalState) -> LostWrites {
    let mut acknowledged = 0;
    let mut last: BTreeMap<&Bytes, (&Recorded, &Done)> = BTreeMap::new();
    let mut unanswered_values = BTreeSet::new();
    let mut unanswered_deletes = BTreeSet::new();
    for recorded in history {
        let key = recorded.operation.key();
        if let Some(done) = recorded.change() {
            acknowledged += 1;
            let entry = last.entry(key).or_insert((recorded, done));
            if done.revision > entry.1.revision {
                *entry = (recorded, done);
            }
        } else if recorded.outcome == Outcome::Unknown {
            unanswered_values.extend(recorded.operation.value());
            if matches!(recorded.operation, Operation::Delete { .. }) {
                unanswered_deletes.insert(key);
            }
        }
    }
    let mut found = LostWrites { acknowledged, ..LostWrites::default() };
    for (key, (recorded, done)) in last {
        let kept = match (end.entry(key), recorded.operation.value()) {
            (Some(entry), Some(value)) if entry.mod_revision == done.revision => entry.value == *value,
            (Some(entry), _) if entry.mod_revision > done.revision => {
                unanswered_values.contains(&entry.value)
            }
            (None, None) => true,
            (None, Some(_)) => unanswered_deletes.contains(key),
            (Some(_), _) => false,
        };
        if kept {
            found.read_back += 1;
        } else {
            found.lost.push(key.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scene, put};
    use super::*;

    #[test]
    fn what_was_acknowledged_and_is_gone_is_named() {
        let mut scene = Scene::default();
        for (key, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
            scene.run(put(key, value));
        }
        scene.run(Operation::Delete { key: "c".into() });
        let mut end = scene.end();
        let found = lost_writes(&scene.history, &end);
        assert_eq!((found.acknowledged, found.read_back, found.lost.len()), (5, 3, 0));

        let a = end.entries[0].clone();
        end.entries[0].1.value = "1".into();
        assert_eq!(lost_writes(&scene.history, &end).lost, ["a"]);
        end.entries.remove(0);
        assert_eq!(lost_writes(&scene.history, &end).lost, ["a"]);
        end.entries = vec![a];
        assert_eq!(lost_writes(&scene.history, &end).lost, ["b"]);
    }

    #[test]
    fn an_unanswered_write_may_have_replaced_an_acknowledged_one() {
        let mut scene = Scene::default();
        scene.run(put("a", "1"));
        let second = scene.run(put("a", "2"));
        scene.history[second].outcome = Outcome::Unknown;
        assert_eq!(lost_writes(&scene.history, &scene.end()).lost.len(), 0);
        scene.history.pop();
        assert_eq!(lost_writes(&scene.history, &scene.end()).lost, ["a"]);
    }
}
