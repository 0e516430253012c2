//! All keys with all of their versions that are not compacted.

use std::ops::Bound;

use bytes::Bytes;
use imbl::OrdMap;

use super::{KeyValue, Keys};

/// The versions of all keys. A clone shares everything with the original until one of them changes.
///
/// Newest and older versions are in maps of their own, so that reading the present does not wade through the past.
/// The older ones are in one map for all keys, as a persistent map of its own for each key would take kilobytes.
#[derive(Clone)]
pub(super) struct History {
    newest: OrdMap<Bytes, Version>,
    /// Each key in it is also in `newest`.
    older: OrdMap<Position, Option<Life>>,
}

/// Where a version stands in the order of all: its key, and the revision of the change. No other version ever stands
/// there.
pub(super) type Position = (Bytes, u64);

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

    /// Adds a version of `key`, whose revision must be above that of the key's newest one; returns the latter.
    pub(super) fn push(&mut self, key: &Bytes, version: Version) -> Option<u64> {
        let Some(newest) = self.newest.get_mut(key) else {
            self.newest.insert(key.clone(), version);
            return None;
        };
        let before = std::mem::replace(newest, version);
        self.older.insert((key.clone(), before.mod_revision), before.life);
        Some(before.mod_revision)
    }

    /// Forgets a version, if it is on record. A key whose newest one is forgotten must have no older one.
    pub(super) fn forget(&mut self, position: &Position) {
        let (key, mod_revision) = position;
        if self.older.remove(position).is_none()
            && self.newest.get(key).is_some_and(|newest| newest.mod_revision == *mod_revision)
        {
            self.newest.remove(key);
        }
    }

    /// Where the first version stands.
    pub(super) fn first(&self) -> Option<Position> {
        // Keys are not empty, so this is before all of them.
        let (key, mod_revision, _) = self.versions_from(&(Bytes::new(), 0)).next()?;
        Some((key.clone(), mod_revision))
    }

    /// All versions in order, from `start` on: the position of a version, or one before all.
    pub(super) fn versions_from(
        &self,
        start: &Position,
    ) -> impl Iterator<Item = (&Bytes, u64, Option<&Life>)> {
        let mut newest =
            self.newest.range::<_, [u8]>((Bound::Included(&start.0[..]), Bound::Unbounded)).peekable();
        let mut older = self.older.range::<_, Position>(start..).peekable();
        std::iter::from_fn(move || {
            let (key, _) = newest.peek()?;
            match older.next_if(|((older, _), _)| older == *key) {
                Some(((key, mod_revision), life)) => Some((key, *mod_revision, life.as_ref())),
                None => newest.next().map(|(key, newest)| (key, newest.mod_revision, newest.life.as_ref())),
            }
        })
    }
}
