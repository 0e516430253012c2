//! All keys with all of their versions that are not compacted.

use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;
use imbl::OrdMap;
use imbl::ordmap::ConsumingIter;
use imbl::shared_ptr::DefaultSharedPtr;

use super::{KeyValue, Keys};

/// The versions of all keys. A clone shares everything with the original until one of them changes.
///
/// Newest and older versions are in maps of their own, so that reading the present does not wade through the past.
/// The older ones are in one map for all keys, as a persistent map of its own for each key would take kilobytes.
#[derive(Clone)]
pub(super) struct History {
    newest: OrdMap<Bytes, Version>,
    /// By key and revision of the change. Each key in it is also in `newest`.
    older: OrdMap<(Bytes, u64), Option<Life>>,
}

/// What the change at a revision made of a key.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) mod_revision: u64,
    /// `None` is a deletion.
    pub(super) life: Option<Life>,
}

/// An existing key's value at some revision, and its place in the key's present life.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) create_revision: u64,
    pub(super) mod_revision: u64,
    pub(super) version: u64,
    pub(super) value: Bytes,
}

impl Life {
    /// What a put at `mod_revision` makes of a key that was in state `before`.
    pub(super) fn put(before: Option<&Self>, mod_revision: u64, value: Bytes) -> Self {
        let (create_revision, version) =
            before.map_or((mod_revision, 1), |before| (before.create_revision, before.version + 1));
        Self { create_revision, mod_revision, version, value }
    }

    /// The key's entry as clients see it.
    pub(super) fn entry(&self, key: &Bytes) -> KeyValue {
        KeyValue {
            key: key.clone(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            value: self.value.clone(),
        }
    }
}

impl History {
    pub(super) fn new() -> Self {
        Self { newest: OrdMap::new(), older: OrdMap::new() }
    }

    /// How many keys there are, deleted ones included whose past is not compacted.
    pub(super) fn keys(&self) -> usize {
        self.newest.len()
    }

    /// How many versions of keys there are.
    pub(super) fn versions(&self) -> usize {
        self.newest.len() + self.older.len()
    }

    /// The key as it is now, if it exists.
    pub(super) fn newest(&self, key: &[u8]) -> Option<&Life> {
        self.newest.get(key)?.life.as_ref()
    }

    /// The keys that exist at `revision`, in order.
    pub(super) fn scan(&self, keys: &Keys, revision: u64) -> impl Iterator<Item = (&Bytes, &Life)> {
        let (start, end) = match keys {
            Keys::Single(key) => (&key[..], Bound::Included(&key[..])),
            Keys::Span { start, end: None } => (&start[..], Bound::Unbounded),
            // An end that is not above the start means no keys, which the map's own ranges do not allow.
            Keys::Span { start, end: Some(end) } => (&start[..], Bound::Excluded(&end.max(start)[..])),
        };
        let is_empty = end == Bound::Excluded(start);
        let range = (!is_empty).then(|| self.newest.range::<_, [u8]>((Bound::Included(start), end)));
        range.into_iter().flatten().filter_map(move |(key, newest)| {
            if newest.mod_revision <= revision {
                return Some((key, newest.life.as_ref()?));
            }
            let (_, life) = self.older_at(key, revision)?;
            Some((key, life.as_ref()?))
        })
    }

    /// The last of a key's older versions that is not above `revision`, with its own revision.
    fn older_at(&self, key: &Bytes, revision: u64) -> Option<(u64, &Option<Life>)> {
        let ((found, mod_revision), life) = self.older.get_prev(&(key.clone(), revision))?;
        (found == key).then_some((*mod_revision, life))
    }

    /// Adds a version of `key`, whose revision must be above that of the key's newest one.
    pub(super) fn push(&mut self, key: &Bytes, version: Version) {
        match self.newest.get_mut(key) {
            Some(newest) => {
                let before = std::mem::replace(newest, version);
                self.older.insert((key.clone(), before.mod_revision), before.life);
            }
            None => {
                self.newest.insert(key.clone(), version);
            }
        }
    }

    /// Forgets those versions of `key` that only revisions below `revision` show.
    pub(super) fn compact(&mut self, key: &Bytes, revision: u64) {
        let Some(newest) = self.newest.get(key) else { return };
        let shown = if newest.mod_revision <= revision {
            Some((newest.mod_revision, newest.life.is_none()))
        } else {
            self.older_at(key, revision).map(|(shown, life)| (shown, life.is_none()))
        };
        let Some((shown, is_deletion)) = shown else { return };
        while let Some((superseded, _)) = shown.checked_sub(1).and_then(|below| self.older_at(key, below)) {
            self.older.remove(&(key.clone(), superseded));
        }
        // A deletion with nothing before it shows nothing, whether or not it is on record.
        if is_deletion && self.older.remove(&(key.clone(), shown)).is_none() {
            self.newest.remove(key);
        }
    }

    /// All versions, in order of key and revision.
    pub(super) fn into_versions(self) -> Versions {
        Versions { newest: self.newest.into_iter().peekable(), older: self.older.into_iter().peekable() }
    }
}

/// The iterator of [`History::into_versions`].
pub(super) struct Versions {
    newest: Peekable<ConsumingIter<Bytes, Version, DefaultSharedPtr>>,
    older: Peekable<ConsumingIter<(Bytes, u64), Option<Life>, DefaultSharedPtr>>,
}

impl Iterator for Versions {
    type Item = (Bytes, Version);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, _) = self.newest.peek()?;
        match self.older.next_if(|((older, _), _)| older == key) {
            Some(((key, mod_revision), life)) => Some((key, Version { mod_revision, life })),
            None => self.newest.next(),
        }
    }
}
