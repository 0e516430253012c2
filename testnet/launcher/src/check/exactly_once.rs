//! Each acknowledged write took effect once (I3).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{FinalState, Observation, Operation, Outcome, Recorded, Violation};

/// What is known of one counter.
#[derive(Default)]
struct Counter {
    versions: BTreeSet<u64>,
    acknowledged: u64,
    unanswered: u64,
}

/// Compares what was counted with what was acknowledged: every counter's version is the number of its acknowledged
/// increments, and the store's revision rose by the number of acknowledged changes, plus at most the unanswered ones, and those of strangers.
/// Counters are keys that only increments touch.
///
/// # Errors
/// A [`Violation`], naming the counter or the revision.
pub fn exactly_once(history: &[Recorded], end: &FinalState) -> Result<(), Violation> {
    let mut counters: BTreeMap<&Bytes, Counter> = BTreeMap::new();
    let (mut changes, mut unanswered) = (0, 0);
    for recorded in history {
        changes += u64::from(recorded.change().is_some());
        let unknown = recorded.outcome == Outcome::Unknown;
        unanswered += u64::from(unknown);
        let Operation::Increment { key, .. } = &recorded.operation else { continue };
        let counter = counters.entry(key).or_default();
        counter.unanswered += u64::from(unknown);
        if let Some(done) = recorded.done() {
            counter.acknowledged += 1;
            let Observation::Incremented(entry) = &done.observation else { continue };
            if !counter.versions.insert(entry.version) {
                return Err(Violation(format!(
                    "two increments of {} were both told version {}",
                    key.escape_ascii(),
                    entry.version
                )));
            }
        }
    }
    for (key, counter) in counters {
        let version = end.entry(key).map_or(0, |entry| entry.version);
        let allowed = counter.acknowledged..=counter.acknowledged + counter.unanswered;
        if !allowed.contains(&version) {
            return Err(Violation(format!(
                "{} was incremented {version} times where {} were acknowledged and {} unanswered",
                key.escape_ascii(),
                counter.acknowledged,
                counter.unanswered
            )));
        }
    }
    let revisions = end.revision.saturating_sub(end.first_revision);
    let most = if end.strangers { u64::MAX } else { changes + unanswered };
    if !(changes..=most).contains(&revisions) {
        return Err(Violation(format!(
            "the store counts {revisions} changes where {changes} were acknowledged and {unanswered} operations are \
             unanswered"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scene, get, put};
    use super::*;

    fn increment(value: &str) -> Operation {
        Operation::Increment { key: "n".into(), value: value.to_owned().into() }
    }

    fn scene() -> Scene {
        let mut scene = Scene::default();
        for value in ["1", "2", "3"] {
            scene.run(increment(value));
            scene.run(put("a", value));
            scene.run(get("a"));
        }
        scene
    }

    #[test]
    fn counts_that_agree_pass_and_others_do_not() {
        let scene = scene();
        assert_eq!(exactly_once(&scene.history, &scene.end()), Ok(()));

        let mut twice = scene.end();
        twice.entries.last_mut().unwrap().1.version += 1;
        assert!(exactly_once(&scene.history, &twice).unwrap_err().0.contains("n was incremented 4 times"));

        let mut more = scene.end();
        more.revision += 1;
        assert!(exactly_once(&scene.history, &more).unwrap_err().0.contains("7 changes"));
        assert_eq!(exactly_once(&scene.history, &more.among_strangers(&scene.history)), Ok(()));
        assert!(exactly_once(&scene.history, &twice.among_strangers(&scene.history)).is_err());
    }

    #[test]
    fn unanswered_increments_count_once_or_not_at_all() {
        let mut scene = scene();
        let unanswered = scene.run(increment("4"));
        scene.history[unanswered].outcome = Outcome::Unknown;
        assert_eq!(exactly_once(&scene.history, &scene.end()), Ok(()));
        scene.run(increment("5"));
        assert_eq!(exactly_once(&scene.history, &scene.end()), Ok(()));
        let mut twice = scene.end();
        twice.entries.last_mut().unwrap().1.version += 1;
        assert!(exactly_once(&scene.history, &twice).is_err());
    }
}
