use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Digest;

/// How many statements one generation holds: several windows of votes of a large cluster, in 4 MiB or so.
const GENERATION: usize = 32_768;

/// Statements that were found good before, by the digest of what was signed, the signature included.
///
/// In a view change every replica is shown again, by every other, the votes that it has verified before: remembering
/// them turns thousands of signature checks into as many hashes. Only what was found good is remembered, so this
/// never changes an answer. It forgets the oldest, a generation at a time, and so stays bounded.
#[derive(Debug, Default)]
pub struct SeenStatements(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    current: HashSet<Digest>,
    previous: HashSet<Digest>,
}

impl SeenStatements {
    /// Whether the statement was found good before, and is still remembered.
    #[must_use]
    pub(crate) fn contains(&self, statement: &Digest) -> bool {
        let generations = self.generations();
        generations.current.contains(statement) || generations.previous.contains(statement)
    }

    /// Remembers a statement that was found good.
    pub(crate) fn insert(&self, statement: Digest) {
        let mut generations = self.generations();
        if generations.current.len() >= GENERATION {
            generations.previous = std::mem::take(&mut generations.current);
        }
        generations.current.insert(statement);
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        // Nothing under the lock panics half-way, so a poisoned lock still guards whole sets.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Domain;

    #[test]
    fn it_remembers_and_stays_bounded() {
        let seen = SeenStatements::default();
        let name = |index: usize| Digest::of(Domain::Statement, &index.to_le_bytes());
        for index in 0..5 * GENERATION {
            seen.insert(name(index));
            assert!(seen.contains(&name(index)));
        }
        assert!(!seen.contains(&name(0)));
        let generations = seen.generations();
        assert!(generations.current.len() + generations.previous.len() <= 2 * GENERATION);
    }
}
