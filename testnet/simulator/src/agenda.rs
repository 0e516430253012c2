//! What will happen, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Things to come, by time and then by the order in which they were planned.
pub(crate) struct Agenda<T> {
    entries: BinaryHeap<Reverse<Entry<T>>>,
    planned: u64,
}

struct Entry<T> {
    at: Duration,
    order: u64,
    what: T,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), planned: 0 }
    }
}

impl<T> Agenda<T> {
    /// Plans something.
    pub(crate) fn plan(&mut self, at: Duration, what: T) {
        self.planned += 1;
        self.entries.push(Reverse(Entry { at, order: self.planned, what }));
    }

    /// What comes first, if it comes by `end`.
    pub(crate) fn next(&mut self, end: Duration) -> Option<(Duration, T)> {
        self.entries.peek().filter(|Reverse(entry)| entry.at <= end)?;
        self.entries.pop().map(|Reverse(entry)| (entry.at, entry.what))
    }
}

impl<T> Entry<T> {
    fn key(&self) -> (Duration, u64) {
        (self.at, self.order)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_by_time_and_then_in_the_order_of_plans() {
        let mut agenda = Agenda::default();
        for (at, what) in [(3, 'd'), (1, 'a'), (2, 'b'), (2, 'c'), (9, 'e')] {
            agenda.plan(Duration::from_secs(at), what);
        }
        let order: Vec<_> = std::iter::from_fn(|| agenda.next(Duration::from_secs(5))).collect();
        let expected = [(1, 'a'), (2, 'b'), (2, 'c'), (3, 'd')];
        assert_eq!(order, expected.map(|(at, what)| (Duration::from_secs(at), what)));
    }
}
