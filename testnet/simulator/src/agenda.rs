//! What will happen, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Things to come, by time and then by the order in which they were planned.
pub(crate) struct Agenda<T> {
    /// When, the order, and the place of what.
    entries: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    planned: u64,
    /// What is to come lies still while the heap sorts itself.
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), planned: 0, places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Agenda<T> {
    /// Plans something.
    pub(crate) fn plan(&mut self, at: Duration, what: T) {
        self.planned += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(what);
        self.entries.push(Reverse((at, self.planned, place)));
    }

    /// What comes first, if it comes by `end`.
    pub(crate) fn next(&mut self, end: Duration) -> Option<(Duration, T)> {
        self.entries.peek().filter(|Reverse((at, ..))| *at <= end)?;
        let Reverse((at, _, place)) = self.entries.pop()?;
        self.free.push(place);
        Some((at, self.places[place].take()?))
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
