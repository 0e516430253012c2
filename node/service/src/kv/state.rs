//! What the store holds, and how it changes by one revision.

use std::num::NonZeroU64;

use bytes::Bytes;
use imbl::Vector;

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
    /// What each revision above the compacted one changed, in order of revision. It follows from the history; with it
    /// compaction knows what to forget without looking for it.
    pub(super) changes: Vector<Changed>,
    /// What changed in the history since the last snapshot.
    pub(super) touched: Touched,
}

/// That a revision changed a key.
#[derive(Clone)]
pub(super) struct Changed {
    pub(super) revision: u64,
    pub(super) key: Bytes,
    /// The revision of the key's version before, if it had one that was not forgotten.
    pub(super) before: Option<u64>,
    pub(super) is_deletion: bool,
}

impl State {
    /// An empty store.
    pub(super) fn new(retained: NonZeroU64) -> Self {
        Self {
            revision: 1,
            compacted: 0,
            retained,
            history: History::new(),
            changes: Vector::new(),
            touched: Touched::nothing(),
        }
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

    /// Raises the revision by one, once the history has the given changes, which make it. Forgets the revision that is
    /// no longer to be retained.
    pub(super) fn commit(&mut self, changed: &[Changed]) {
        self.revision += 1;
        for changed in changed {
            self.touched.add((changed.key.clone(), self.revision), self.history.versions());
            self.changes.push_back(changed.clone());
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
        while self.changes.front().is_some_and(|changed| changed.revision <= revision)
            && let Some(Changed { revision, key, before, is_deletion }) = self.changes.pop_front()
        {
            let deletion = is_deletion.then_some(revision);
            for forgotten in before.into_iter().chain(deletion) {
                let position = (key.clone(), forgotten);
                self.history.forget(&position);
                self.touched.add(position, self.history.versions());
            }
        }
    }
}
