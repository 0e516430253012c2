//! Real time and the cluster's order must agree; a check on every answer, in constant memory.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::tally::Kind;
use crate::verdict::Violation;

/// Watches the revisions that answers tell.
///
/// The store has one revision for all keys, which rises with each write. So what is asked after an answer came must be
/// answered at that answer's revision or a later one, whoever asks; and a write at a later one. An answer that breaks
/// this was served from the past.
#[derive(Debug, Default)]
pub(crate) struct Order {
    newest: AtomicU64,
    answers: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    count: u64,
    first: Vec<Violation>,
}

impl Order {
    /// How many violations are kept; the others are counted.
    pub(crate) const KEPT: usize = 10;

    /// The newest revision that any answer has told; to be asked for before a request is sent.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Ordering::SeqCst)
    }

    /// Compares an answer's revision with the newest one that was known before its request was sent.
    pub(crate) fn answered(&self, kind: Kind, newest_before: u64, revision: u64) {
        self.newest.fetch_max(revision, Ordering::SeqCst);
        self.answers.fetch_add(1, Ordering::Relaxed);
        let in_order = match kind {
            Kind::Read => revision >= newest_before,
            Kind::Write => revision > newest_before,
        };
        if !in_order {
            self.report(Violation::WentBack { kind, newest_before, revision });
        }
    }

    /// Takes note of a violation.
    pub(crate) fn report(&self, violation: Violation) {
        // Nothing under the lock panics half-way.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.count += 1;
        if seen.first.len() < Self::KEPT {
            seen.first.push(violation);
        }
    }

    /// How many answers were looked at.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// How many violations there were, and the first of them.
    pub(crate) fn violations(&self) -> (u64, Vec<Violation>) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.count, seen.first.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_from_the_past_are_seen() {
        let order = Order::default();
        order.answered(Kind::Write, 0, 5);
        order.answered(Kind::Read, order.newest(), 5);
        order.answered(Kind::Write, order.newest(), 6);
        // Sent before the answer with 6 came: either order is right.
        order.answered(Kind::Read, 5, 5);
        assert_eq!((order.violations().0, order.newest(), order.answers()), (0, 6, 4));
        order.answered(Kind::Read, order.newest(), 5);
        order.answered(Kind::Write, order.newest(), 6);
        let back = |kind, revision| Violation::WentBack { kind, newest_before: 6, revision };
        assert_eq!(order.violations(), (2, vec![back(Kind::Read, 5), back(Kind::Write, 6)]));
    }

    #[test]
    fn many_violations_are_counted_and_few_kept() {
        let order = Order::default();
        (0..1000).for_each(|_| order.answered(Kind::Read, 2, 1));
        let (count, kept) = order.violations();
        assert_eq!((count, kept.len()), (1000, Order::KEPT));
    }
}
