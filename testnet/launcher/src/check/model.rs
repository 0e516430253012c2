//! A key-value store as simple as it can be: what the replicated one is compared with.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

/// What a client asked. Values are unique over a whole history, so a value tells which operation wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sets a key.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Reads a key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// Deletes a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// A transaction: sets a key if its last change was at the expected revision, else reads it.
    Swap {
        /// The key.
        key: Bytes,
        /// The revision of the key's last change; 0 means that there is no such key.
        expected: u64,
        /// The value.
        value: Bytes,
    },
    /// A transaction: sets a key, which raises its version by one, and reads it.
    Increment {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The key was set.
    Put,
    /// What a read found.
    Read(Option<Entry>),
    /// Whether there was a key to delete.
    Deleted(bool),
    /// The swap was made.
    Swapped,
    /// The swap was not made; this is what it found.
    NotSwapped(Option<Entry>),
    /// The key after an increment.
    Incremented(Entry),
}

/// A key's value and its history's numbers.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// The revision at which the key was created.
    pub create_revision: u64,
    /// The revision of its last change.
    pub mod_revision: u64,
    /// How many changes since it was created, that one included.
    pub version: u64,
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, create_revision, mod_revision, version } = self;
        write!(
            formatter,
            "{:?} (version {version}, revisions {create_revision} to {mod_revision})",
            value.escape_ascii().to_string()
        )
    }
}

impl Operation {
    /// The key it is about.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. }
            | Self::Get { key }
            | Self::Delete { key }
            | Self::Swap { key, .. }
            | Self::Increment { key, .. } => key,
        }
    }

    /// The value it writes, if it does.
    #[must_use]
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put { value, .. } | Self::Swap { value, .. } | Self::Increment { value, .. } => Some(value),
            Self::Get { .. } | Self::Delete { .. } => None,
        }
    }
}

impl Observation {
    /// Whether the operation changed something, and so has a revision of its own.
    #[must_use]
    pub fn changed(&self) -> bool {
        match self {
            Self::Put | Self::Swapped | Self::Incremented(_) | Self::Deleted(true) => true,
            Self::Read(_) | Self::Deleted(false) | Self::NotSwapped(_) => false,
        }
    }

    /// The entry that it shows, if any.
    #[must_use]
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Read(entry) | Self::NotSwapped(entry) => entry.as_ref(),
            Self::Incremented(entry) => Some(entry),
            Self::Put | Self::Swapped | Self::Deleted(_) => None,
        }
    }
}

/// The store as it should be: a map, and a revision that rises by one with each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The revision; 1 for an empty store.
    pub revision: u64,
    /// The keys.
    pub entries: BTreeMap<Bytes, Entry>,
}

impl Default for Model {
    fn default() -> Self {
        Self { revision: 1, entries: BTreeMap::new() }
    }
}

impl Model {
    /// Does an operation.
    pub fn apply(&mut self, operation: &Operation) -> Observation {
        match operation {
            Operation::Put { key, value } => {
                self.put(key, value);
                Observation::Put
            }
            Operation::Get { key } => Observation::Read(self.entries.get(key).cloned()),
            Operation::Delete { key } => {
                let existed = self.entries.remove(key).is_some();
                self.revision += u64::from(existed);
                Observation::Deleted(existed)
            }
            Operation::Swap { key, expected, value } => {
                let found = self.entries.get(key);
                if found.map_or(0, |entry| entry.mod_revision) != *expected {
                    return Observation::NotSwapped(found.cloned());
                }
                self.put(key, value);
                Observation::Swapped
            }
            Operation::Increment { key, value } => Observation::Incremented(self.put(key, value)),
        }
    }

    fn put(&mut self, key: &Bytes, value: &Bytes) -> Entry {
        self.revision += 1;
        let before = self.entries.get(key);
        let entry = Entry {
            value: value.clone(),
            create_revision: before.map_or(self.revision, |before| before.create_revision),
            mod_revision: self.revision,
            version: before.map_or(1, |before| before.version + 1),
        };
        self.entries.insert(key.clone(), entry.clone());
        entry
    }
}
