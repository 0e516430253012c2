//! What clients asked and were told, and how the store stood in the end.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::{Entry, Observation, Operation};

/// One operation of one client. Times are since any common start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Which of the clients.
    pub client: usize,
    /// What it asked.
    pub operation: Operation,
    /// When.
    pub invoked: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Done(Done),
    /// Nobody knows: it may have taken effect, or may yet do so.
    Unknown,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// When it came.
    pub returned: Duration,
    /// The sequence of the operation's batch.
    pub sequence: u64,
    /// The store's revision after the operation.
    pub revision: u64,
    /// What it says.
    pub observation: Observation,
}

/// What the store holds when all is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalState {
    /// The revision before the history began: 1 if the store was empty.
    pub first_revision: u64,
    /// The revision.
    pub revision: u64,
    /// Every key, in order.
    pub entries: Vec<(Bytes, Entry)>,
    /// Whether others wrote to other keys, of whom there is no history: revisions that nothing explains are theirs.
    pub strangers: bool,
}

/// An empty store's.
impl Default for FinalState {
    fn default() -> Self {
        Self { first_revision: 1, revision: 1, entries: Vec::new(), strangers: false }
    }
}

impl FinalState {
    /// What is left to say where others wrote too: only of the keys of a history.
    #[must_use]
    pub fn among_strangers(mut self, history: &[Recorded]) -> Self {
        let own: BTreeSet<_> = history.iter().map(|recorded| recorded.operation.key()).collect();
        self.entries.retain(|(key, _)| own.contains(key));
        self.strangers = true;
        self
    }

    /// A key's entry.
    #[must_use]
    pub fn entry(&self, key: &[u8]) -> Option<&Entry> {
        let found = self.entries.binary_search_by(|(other, _)| other[..].cmp(key));
        found.ok().map(|index| &self.entries[index].1)
    }
}

impl Recorded {
    /// The answer, if there is one.
    #[must_use]
    pub fn done(&self) -> Option<&Done> {
        match &self.outcome {
            Outcome::Done(done) => Some(done),
            Outcome::Unknown => None,
        }
    }

    /// The answer, if it says that the operation changed something.
    #[must_use]
    pub fn change(&self) -> Option<&Done> {
        self.done().filter(|done| done.observation.changed())
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.operation {
            Operation::Put { .. } => "put",
            Operation::Get { .. } => "get",
            Operation::Delete { .. } => "delete",
            Operation::Swap { .. } => "swap",
            Operation::Increment { .. } => "increment",
        };
        write!(formatter, "{name} of {} by client {}", self.operation.key().escape_ascii(), self.client)?;
        match self.done() {
            Some(done) => write!(formatter, " (sequence {}, revision {})", done.sequence, done.revision),
            None => write!(formatter, " (unanswered)"),
        }
    }
}
