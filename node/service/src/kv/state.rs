//! What the store holds, and how it changes by one revision.

use std::num::NonZeroU64;

use bytes::Bytes;

use super::Error;
use super::history::History;
use super::touched::Touched;

/// The store's whole state. A clone shares everything with the original until one of them changes.
#[derive(Clone)]
pub(super) struct State {
    /// The newest revision.
    pub(super) revision: u64,
    /// The oldest revision that can be read; 0 before the first compaction.
    pub(super) compacted: u64,
    /// How many of the newest revisions stay readable at least until an explicit compaction.
    pub(super) retained: NonZeroU64,
    pub(super) history: History,
    /// What changed in the history since the last snapshot.
    pub(super) touched: Touched,
}

impl State {
    /// An empty store.
    pub(super) fn new(retained: NonZeroU64) -> Self {
        Self { revision: 1, compacted: 0, retained, history: History::new(), touched: Touched::nothing() }
    }

    /// Refuses a revision that can't be read.
    pub(super) fn check_readable(&self, requested: u64) -> Result<(), Error> {
        if requested < self.compacted {
            return Err(Error::Compacted { requested, oldest: self.compacted });
        }
        if requested > self.revision {
            return Err(Error::FutureRevision { requested, newest: self.revision });
        }
        Ok(())
    }

    /// Raises the revision by one, once the history has the changes that make it, of the given keys. Forgets the
    /// revision that is no longer to be retained.
    pub(super) fn commit(&mut self, changed: &[Bytes]) {
        self.revision += 1;
        for key in changed {
            self.touched.add((key.clone(), self.revision), self.history.versions());
        }
        let oldest = (self.revision + 1).saturating_sub(self.retained.get());
        if oldest > self.compacted {
            self.forget_below(oldest);
        }
    }

    /// Forgets, at a client's wish, what only revisions below `revision` show.
    pub(super) fn compact(&mut self, revision: u64) -> Result<(), Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted { requested: revision, oldest: self.compacted });
        }
        self.check_readable(revision)?;
        self.forget_below(revision);
        Ok(())
    }

    /// A version can be forgotten once the one after it is at or below the compacted revision, and a deletion once it is
    /// so itself: what went before it is forgotten then, so it shows nothing, whether or not it is on record.
    fn forget_below(&mut self, revision: u64) {
        self.compacted = revision;
        while let Some(forgotten) = self.history.forget(revision) {
            for position in forgotten.into_iter().flatten() {
                self.touched.add(position, self.history.versions());
            }
        }
    }
}
