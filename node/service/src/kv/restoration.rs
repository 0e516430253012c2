//! Putting a state together again from the chunks of its snapshot.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use bytes::Bytes;

use pbft_messages::codec;

use super::chunks::{FORMAT, Header, Record, RecordedLife};
use super::history::Life;
use super::state::State;
use super::{MAX_KEY, MAX_VALUE};
use crate::RestoreError;

/// Reads a state with the given number of retained revisions back from its chunks.
pub(super) fn restore(
    retained: NonZeroU64,
    chunks: &mut dyn Iterator<Item = Bytes>,
) -> Result<State, RestoreError> {
    let first = chunks.next().ok_or(RestoreError::Incomplete)?;
    let found = codec::decode(first.get(..size_of::<u32>()).ok_or(RestoreError::Incomplete)?)?;
    if found != FORMAT {
        return Err(RestoreError::UnsupportedFormat { found, supported: FORMAT });
    }
    let header: Header = codec::decode(&first)?;
    if header.retained != retained.get() {
        return Err(inconsistent(format!(
            "it was made by a store that retains {} revisions, this one retains {retained}",
            header.retained
        )));
    }
    // The empty store has revision 1.
    if header.revision == 0 {
        return Err(inconsistent("it has a revision that no store has"));
    }
    if header.compacted > header.revision {
        return Err(inconsistent("a future revision is compacted"));
    }
    let state = State { revision: header.revision, compacted: header.compacted, ..State::new(retained) };
    let mut restoration = Restoration { state, last: None, changes: BTreeMap::new() };
    for chunk in chunks {
        for record in codec::decode::<Vec<Record>>(&chunk)? {
            restoration.add(record)?;
        }
    }
    let state = restoration.finish()?;
    if (state.history.keys() as u64, state.history.versions() as u64) != (header.keys, header.records) {
        return Err(RestoreError::Incomplete);
    }
    Ok(state)
}

/// A state that is being put together. The chunks are known to be what a quorum vouched for; the checks here keep a
/// mistake from becoming a state that no sequence of operations leads to.
struct Restoration {
    state: State,
    /// The last record: its key, its revision, and what it made of the key.
    last: Option<(Bytes, u64, Option<Life>)>,
    /// What each revision above the compacted one changed.
    changes: BTreeMap<u64, Vec<(Bytes, Option<Life>)>>,
}

impl Restoration {
    fn add(&mut self, record: Record) -> Result<(), RestoreError> {
        let Record { key, mod_revision, life } = record;
        let value_length = life.as_ref().map_or(0, |life| life.value.len());
        if key.is_empty() || key.len() > MAX_KEY || value_length > MAX_VALUE {
            return Err(inconsistent("a key or a value exceeds its limit"));
        }
        // Revision 1 is the empty store, so the first change made revision 2.
        if !(2..=self.state.revision).contains(&mod_revision) {
            return Err(inconsistent("a key changed at a revision that never was"));
        }
        let before = match &self.last {
            Some((last, newest, _)) if (last, *newest) >= (&key, mod_revision) => {
                return Err(inconsistent("the records are out of order"));
            }
            Some((last, _, life)) if *last == key => Some(life.as_ref()),
            _ => None,
        };
        let life = self.check_change(before, mod_revision, life)?;
        match &life {
            Some(base) if mod_revision <= self.state.compacted => {
                self.state.history.add_base(key.clone(), base.clone());
            }
            _ => self.changes.entry(mod_revision).or_default().push((key.clone(), life.clone())),
        }
        self.last = Some((key, mod_revision, life));
        Ok(())
    }

    /// Checks that a change can have followed the one of the same key before it, if there is one on record.
    fn check_change(
        &self,
        before: Option<Option<&Life>>,
        mod_revision: u64,
        life: Option<RecordedLife>,
    ) -> Result<Option<Life>, RestoreError> {
        let is_base = mod_revision <= self.state.compacted;
        if is_base && before.is_some() {
            return Err(inconsistent("a key has two versions at or below the compacted revision"));
        }
        let before = before.flatten();
        let Some(RecordedLife { create_revision, version, value }) = life else {
            // A key that does not exist can't be deleted, and compaction leaves no deletion behind.
            return match before {
                Some(_) => Ok(None),
                None => Err(inconsistent("a key is deleted that did not exist")),
            };
        };
        let is_possible = if is_base {
            // What went before is compacted: all that is known is that each change had a revision of its own.
            let changes_since = mod_revision.checked_sub(create_revision);
            create_revision >= 2
                && version >= 1
                && changes_since.is_some_and(|since| version - 1 <= since && (version == 1) == (since == 0))
        } else {
            let expected = Life::put(before, mod_revision, Bytes::new());
            (create_revision, version) == (expected.create_revision, expected.version)
        };
        if !is_possible {
            return Err(inconsistent("a key's version does not follow from the one before"));
        }
        Ok(Some(Life { create_revision, mod_revision, version, value }))
    }

    fn finish(mut self) -> Result<State, RestoreError> {
        // No revision comes about without a change, so a missing one means missing records.
        if self.changes.len() as u64 != self.state.revision - self.state.compacted.max(1) {
            return Err(RestoreError::Incomplete);
        }
        for (revision, changes) in self.changes {
            for (key, life) in changes {
                self.state.history.push(key, revision, |_| life);
            }
        }
        Ok(self.state)
    }
}

fn inconsistent(reason: impl Into<String>) -> RestoreError {
    RestoreError::Inconsistent(reason.into())
}
