//! One sender's frames on one lane: worked on by several threads if it may be, handed over in order.

use std::collections::{BTreeMap, VecDeque};

use pbft_messages::ReplicaId;
use pbft_transport::ConnectionId;

use crate::inbound::Class;

/// Whose line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LineId {
    Votes(ReplicaId),
    Bulk(ReplicaId),
    Client(ConnectionId),
}

impl LineId {
    pub(super) fn class(self) -> Class {
        match self {
            Self::Votes(_) => Class::Votes,
            Self::Bulk(_) => Class::Bulk,
            Self::Client(_) => Class::Clients,
        }
    }

    /// How many threads may work on the line at once.
    pub(super) fn width(self, threads: usize) -> usize {
        match self {
            Self::Votes(_) | Self::Client(_) => 1,
            Self::Bulk(_) => threads,
        }
    }

    /// How many frames of the line a thread takes at once. Small ones are taken together, to spare locking; several
    /// threads share a line of large ones. Of a client it is as much as its window lets it have on the way.
    pub(super) fn burst(self) -> usize {
        match self {
            Self::Votes(_) => 16,
            Self::Bulk(_) => 1,
            Self::Client(_) => 64,
        }
    }
}

/// A line: what waits, what is in work, and what is done and waits for what came before it.
#[derive(Debug)]
pub(super) struct Line<J, D> {
    waiting: VecDeque<J>,
    /// The number of the first that waits.
    next: u64,
    /// The number of the next to hand over.
    due: u64,
    done: BTreeMap<u64, D>,
    /// How many threads work on the line.
    pub(super) threads: usize,
    /// Whether the line stands in the row of those that a thread may take.
    pub(super) listed: bool,
}

impl<J, D> Default for Line<J, D> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), next: 0, due: 0, done: BTreeMap::new(), threads: 0, listed: false }
    }
}

impl<J, D> Line<J, D> {
    pub(super) fn push(&mut self, job: J) {
        self.waiting.push_back(job);
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The first that waits.
    pub(super) fn front(&self) -> Option<&J> {
        self.waiting.front()
    }

    /// Takes the first jobs, as long as they are wanted, with the number of the first.
    pub(super) fn take(&mut self, mut wanted: impl FnMut(&J) -> bool) -> (u64, Vec<J>) {
        let count = self.waiting.iter().take_while(|job| wanted(job)).count();
        let jobs: Vec<_> = self.waiting.drain(..count).collect();
        let first = self.next;
        self.next += jobs.len() as u64;
        (first, jobs)
    }

    /// Notes results, the first of which has this number; gives those that are due now, in order.
    pub(super) fn finish(&mut self, first: u64, results: Vec<D>) -> Vec<D> {
        self.done.extend((first..).zip(results));
        let mut due = Vec::new();
        while let Some(result) = self.done.remove(&self.due) {
            self.due += 1;
            due.push(result);
        }
        due
    }

    /// Whether all that came was handed over.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.threads == 0 && self.done.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_handed_over_in_order() {
        let mut line: Line<char, char> = Line::default();
        "abcd".chars().for_each(|job| line.push(job));
        let (first, ab) = line.take(|job| *job < 'c');
        let (third, c) = line.take(|job| *job < 'd');
        let (fourth, d) = line.take(|_| true);
        assert_eq!((first, third, fourth), (0, 2, 3));
        assert_eq!(line.finish(fourth, d), []);
        assert_eq!(line.finish(first, ab), ['a', 'b']);
        assert!(!line.is_idle());
        assert_eq!(line.finish(third, c), ['c', 'd']);
        assert!(line.is_idle());
    }
}
