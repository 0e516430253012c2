//! All keys with all of their versions that are not compacted.

use std::ops::Bound;

use bytes::Bytes;
use imbl::{OrdMap, Vector};

use super::{KeyValue, Keys};

/// The versions of all keys. A clone shares everything with the original until one of them changes.
///
/// The newest version of each key is found by the key, and each older one by the change that superseded it. Changes stand
/// in a queue, in order of revision, as what they superseded is forgotten in that order; so writing and forgetting look a
/// key up once, however many versions there are. Reading the past walks back from change to change.
#[derive(Clone)]
pub(super) struct History {
    newest: OrdMap<Bytes, Version>,
    /// The changes that are not forgotten.
    changes: Vector<Change>,
    /// The number of the first of them: they are numbered from 1.
    first_change: u64,
    /// How many older versions there are.
    older: usize,
}

/// Where a version stands in the order of all: its key, and the revision of the change. No other version ever stands
/// there.
pub(super) type Position = (Bytes, u64);

/// What the change at a revision made of a key.
#[derive(Clone)]
struct Version {
    mod_revision: u64,
    /// The number of that change, which may be forgotten.
    change: u64,
    /// `None` is a deletion.
    life: Option<Life>,
}

/// A change of a key.
#[derive(Clone)]
struct Change {
    key: Bytes,
    revision: u64,
    is_deletion: bool,
    /// What it superseded. A deletion counts for nothing once its own change is forgotten.
    before: Option<Version>,
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
        Self { newest: OrdMap::new(), changes: Vector::new(), first_change: 1, older: 0 }
    }

    /// How many keys there are, deleted ones included whose past is not compacted.
    pub(super) fn keys(&self) -> usize {
        self.newest.len()
    }

    /// How many versions of keys there are.
    pub(super) fn versions(&self) -> usize {
        self.newest.len() + self.older
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
            let shown = self.before(newest).find(|version| version.mod_revision <= revision)?;
            Some((key, shown.life.as_ref()?))
        })
    }

    /// The versions before one, newest first.
    fn before(&self, version: &Version) -> impl Iterator<Item = &Version> + use<'_> {
        std::iter::successors(self.superseded_by(version), |version| self.superseded_by(version))
    }

    fn superseded_by(&self, version: &Version) -> Option<&Version> {
        let before = self.change(version.change)?.before.as_ref()?;
        (before.life.is_some() || self.change(before.change).is_some()).then_some(before)
    }

    /// The change with this number, if it is not forgotten.
    fn change(&self, number: u64) -> Option<&Change> {
        self.changes.get(usize::try_from(number.checked_sub(self.first_change)?).ok()?)
    }

    /// Adds a version that no change is known of: the oldest one of its key, and not a deletion.
    pub(super) fn add_base(&mut self, key: Bytes, life: Life) {
        self.newest.insert(key, Version { mod_revision: life.mod_revision, change: 0, life: Some(life) });
    }

    /// Changes `key` at a revision that is not below that of any change before: `make` makes its new state, `None` if the
    /// key is deleted, of the one before.
    pub(super) fn push(
        &mut self,
        key: Bytes,
        revision: u64,
        make: impl FnOnce(Option<&Life>) -> Option<Life>,
    ) {
        let change = self.first_change + self.changes.len() as u64;
        let version = |life| Version { mod_revision: revision, change, life };
        let (is_deletion, before) = if let Some(newest) = self.newest.get_mut(&key) {
            let life = make(newest.life.as_ref());
            (life.is_none(), Some(std::mem::replace(newest, version(life))))
        } else {
            let life = make(None);
            let is_deletion = life.is_none();
            self.newest.insert(key.clone(), version(life));
            (is_deletion, None)
        };
        self.older += usize::from(before.is_some());
        self.changes.push_back(Change { key, revision, is_deletion, before });
    }

    /// Forgets the oldest change if it is not above `revision`, and with it what it superseded, and itself if it is a
    /// deletion: nothing is shown by these from then on. Returns the positions of both.
    pub(super) fn forget(&mut self, revision: u64) -> Option<[Option<Position>; 2]> {
        self.changes.front().filter(|change| change.revision <= revision)?;
        let Change { key, revision, is_deletion, before } = self.changes.pop_front()?;
        self.first_change += 1;
        let superseded = before.filter(|before| before.life.is_some());
        self.older -= usize::from(superseded.is_some());
        if is_deletion {
            if self.newest.get(&key).is_some_and(|newest| newest.mod_revision == revision) {
                self.newest.remove(&key);
            } else {
                self.older -= 1;
            }
        }
        let superseded = superseded.map(|before| (key.clone(), before.mod_revision));
        Some([superseded, is_deletion.then_some((key, revision))])
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
        let (first, from) = (start.0.clone(), start.1);
        let mut newest = self.newest.range::<_, [u8]>((Bound::Included(&start.0[..]), Bound::Unbounded));
        // The versions of one key, the oldest last.
        let mut versions = Vec::new();
        std::iter::from_fn(move || {
            while versions.is_empty() {
                let (key, version) = newest.next()?;
                let all = std::iter::once(version).chain(self.before(version));
                let from = if *key == first { from } else { 0 };
                versions.extend(all.take_while(|it| it.mod_revision >= from).map(|it| (key, it)));
            }
            let (key, Version { mod_revision, life, .. }) = versions.pop()?;
            Some((key, *mod_revision, life.as_ref()))
        })
    }
}
