//! The order that the replies claim, and whether it agrees with itself and with real time.

use std::time::Duration;

use super::{Done, Recorded, Violation};

/// An answered operation, in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub(super) recorded: &'a Recorded,
    pub(super) done: &'a Done,
}

/// Puts the answered operations of a history in the order that their replies claim.
///
/// Sequences order the batches. Inside a batch the store's revision tells: a change comes at its own revision, and
/// what changed nothing comes after the change of the revision that it saw. Those between the same two changes
/// commute; they are put in the order in which they were asked.
///
/// # Errors
/// A [`Violation`], where two changes claim one revision, or revisions fall while sequences rise.
pub(super) fn claimed_order(history: &[Recorded]) -> Result<Vec<Placed<'_>>, Violation> {
    let answered = history.iter().filter_map(|recorded| Some(Placed { recorded, done: recorded.done()? }));
    let mut order: Vec<_> = answered.collect();
    order.sort_by_key(|Placed { recorded, done }| {
        (done.sequence, done.revision, !done.observation.changed(), recorded.invoked)
    });
    for pair in order.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        let risen = u64::from(after.done.observation.changed());
        if after.done.revision < before.done.revision + risen {
            return Err(Violation(format!(
                "the revisions contradict the order: {}, then {}",
                before.recorded, after.recorded
            )));
        }
    }
    Ok(order)
}

/// Checks that what was answered before something else was asked comes in an earlier batch.
///
/// # Errors
/// A [`Violation`], naming two operations that are the wrong way round.
pub(super) fn agrees_with_real_time(order: &[Placed<'_>]) -> Result<(), Violation> {
    // Going backwards, `earliest` is the first answer among all operations of this batch and of later ones.
    let mut earliest: Option<Placed<'_>> = None;
    for batch in order.chunk_by(|a, b| a.done.sequence == b.done.sequence).rev() {
        for placed in batch {
            if earliest.is_none_or(|earliest| placed.done.returned < earliest.done.returned) {
                earliest = Some(*placed);
            }
        }
        for placed in batch {
            if let Some(earliest) = earliest
                && earliest.done.returned < placed.recorded.invoked
            {
                return Err(Violation(format!(
                    "{} was answered before {} was asked, and is not ordered before it",
                    earliest.recorded, placed.recorded
                )));
            }
        }
    }
    Ok(())
}

/// For each place the earliest answer there or later; what is put there must have been asked before it.
pub(super) fn earliest_answers_from(order: &[Placed<'_>]) -> Vec<Duration> {
    let mut earliest = vec![Duration::MAX; order.len() + 1];
    for (place, placed) in order.iter().enumerate().rev() {
        earliest[place] = earliest[place + 1].min(placed.done.returned);
    }
    earliest
}
