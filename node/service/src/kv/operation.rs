//! What clients ask of the store, and the limits of it.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use pbft_crypto::Malformed;
use pbft_messages::codec;

use super::Error;

/// The most bytes of a key: 4 KiB. A key has at least one.
pub const MAX_KEY: usize = 4 << 10;

/// The most bytes of a value: 16 KiB less than 1 MiB, so that an operation or a reply with the largest key and
/// value stays below 1 MiB.
pub const MAX_VALUE: usize = (1 << 20) - (16 << 10);

/// The most comparisons of a transaction, and the most steps of each of its branches; etcd's default.
pub const MAX_STEPS: usize = 128;

/// One operation on the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Sets a key's value.
    Put(Put),
    /// Reads keys.
    Range(Range),
    /// Deletes keys.
    Delete(Delete),
    /// Does one of two lists of steps, depending on comparisons.
    Txn(Txn),
    /// Forgets what only revisions below this one show.
    Compact(u64),
}

/// One step of a transaction. A transaction can't contain another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Sets a key's value.
    Put(Put),
    /// Reads keys; sees what earlier steps wrote, unless a revision is given.
    Range(Range),
    /// Deletes keys.
    Delete(Delete),
}

/// Sets a key's value, creating the key if need be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The key, 1 to [`MAX_KEY`] bytes.
    pub key: Bytes,
    /// The value, at most [`MAX_VALUE`] bytes.
    pub value: Bytes,
    /// Whether to answer with the key as it was before.
    pub previous: bool,
}

/// Reads keys in their (bytewise) order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Which keys.
    pub keys: Keys,
    /// At which revision; `None` means the newest state.
    pub revision: Option<u64>,
    /// The most entries to return; 0 means no limit but [`MAX_REPLY`](super::MAX_REPLY).
    pub limit: u32,
    /// Leave the values out.
    pub keys_only: bool,
    /// Return no entries but count all keys of the range, whatever the limit. Takes time in proportion to the
    /// number of keys.
    pub count_only: bool,
}

/// Deletes keys; those that do not exist are no error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// Which keys.
    pub keys: Keys,
    /// Whether to answer with the keys as they were before.
    pub previous: bool,
}

/// Does `success` if all comparisons hold, otherwise `failure`; all of it or, if a step fails, nothing.
///
/// No branch may put a key twice, or both put and delete it, so that a key changes once a revision at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    /// The comparisons, made before any step; at most [`MAX_STEPS`].
    pub compares: Vec<Compare>,
    /// The steps if all hold; at most [`MAX_STEPS`].
    pub success: Vec<Step>,
    /// The steps if one does not hold; at most [`MAX_STEPS`].
    pub failure: Vec<Step>,
}

/// A comparison of a key's newest state, on the left, with a given value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The key.
    pub key: Bytes,
    /// How the two sides must relate.
    pub relation: Relation,
    /// What is compared, and the right side.
    pub target: Target,
}

/// How two compared values must relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    /// =
    Equal,
    /// ≠
    NotEqual,
    /// <
    Less,
    /// \>
    Greater,
}

/// The right side of a comparison. Of a key that does not exist, version and revisions are 0, and no comparison of
/// its value holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The value, compared bytewise.
    Value(Bytes),
    /// The number of changes since the key was created; `Equal` to 0 asks that there be no such key.
    Version(u64),
    /// The revision at which the key was created.
    CreateRevision(u64),
    /// The revision of the key's last change.
    ModRevision(u64),
}

/// Which keys an operation is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keys {
    /// One key.
    Single(Bytes),
    /// All keys from `start` (included; empty means the first) to `end` (excluded; `None` means without end).
    Span {
        /// The first key.
        start: Bytes,
        /// The key after the last.
        end: Option<Bytes>,
    },
}

impl Keys {
    /// All keys that begin with `prefix`; with an empty one, all keys.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let end = prefix_end(&start).map(Bytes::from);
        Self::Span { start, end }
    }

    /// Whether `key` is among them.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Single(single) => single == key,
            Self::Span { start, end } => key >= &start[..] && end.as_ref().is_none_or(|end| key < &end[..]),
        }
    }

    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Single(key) => check_key(key),
            Self::Span { start, end } => {
                [Some(start), end.as_ref()].into_iter().flatten().try_for_each(|bound| check_length(bound))
            }
        }
    }
}

/// The smallest byte string above all those that begin with `prefix`, for a range's excluded end. `None` if there is
/// none: the prefix is empty or all of its bytes are 255.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

impl Operation {
    /// Sets a key's value; the previous one is not asked for.
    #[must_use]
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put(Put { key: key.into(), value: value.into(), previous: false })
    }

    /// Reads one key: a range over that key alone.
    #[must_use]
    pub fn get(key: impl Into<Bytes>) -> Self {
        Self::Range(Range::new(Keys::Single(key.into())))
    }

    /// Deletes keys; the previous values are not asked for.
    #[must_use]
    pub fn delete(keys: Keys) -> Self {
        Self::Delete(Delete { keys, previous: false })
    }

    /// The operation as a client submits it.
    ///
    /// # Panics
    /// If its encoding would exceed the codec's limit, far beyond what a replica takes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        codec::encode(self).into()
    }

    /// Reads an operation. That it decodes does not mean that it keeps the limits, see [`Operation::check`].
    ///
    /// # Errors
    /// [`Malformed`] unless the bytes are exactly one operation.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        codec::decode(bytes)
    }

    /// Checks the limits that do not depend on the store's state. The store does so itself; a client that does it
    /// first learns of a mistake at once.
    ///
    /// # Errors
    /// The first limit that does not hold.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Put(put) => put.check(),
            Self::Range(range) => range.keys.check(),
            Self::Delete(delete) => delete.keys.check(),
            Self::Txn(txn) => txn.check(),
            Self::Compact(_) => Ok(()),
        }
    }

    /// Whether the operation changes nothing whatever the state is, so that it may be a query.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Range(_) => true,
            Self::Txn(txn) => {
                txn.success.iter().chain(&txn.failure).all(|step| matches!(step, Step::Range(_)))
            }
            Self::Put(_) | Self::Delete(_) | Self::Compact(_) => false,
        }
    }
}

impl Range {
    /// Reads keys, values included, at the newest revision, without a limit.
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        Self { keys, revision: None, limit: 0, keys_only: false, count_only: false }
    }
}

impl Put {
    fn check(&self) -> Result<(), Error> {
        check_key(&self.key)?;
        if self.value.len() > MAX_VALUE {
            return Err(Error::ValueTooLong { length: self.value.len() as u64 });
        }
        Ok(())
    }
}

impl Txn {
    fn check(&self) -> Result<(), Error> {
        let longest = self.compares.len().max(self.success.len()).max(self.failure.len());
        if longest > MAX_STEPS {
            return Err(Error::TooManySteps { count: longest as u64 });
        }
        self.compares.iter().try_for_each(|compare| check_key(&compare.key))?;
        check_branch(&self.success)?;
        check_branch(&self.failure)
    }
}

fn check_branch(steps: &[Step]) -> Result<(), Error> {
    let mut put_keys = BTreeSet::new();
    for step in steps {
        match step {
            Step::Put(put) => {
                put.check()?;
                if !put_keys.insert(&put.key) {
                    return Err(Error::DuplicateKey { key: put.key.clone() });
                }
            }
            Step::Range(range) => range.keys.check()?,
            Step::Delete(delete) => delete.keys.check()?,
        }
    }
    for step in steps {
        if let Step::Delete(delete) = step
            && let Some(key) = put_keys.iter().find(|key| delete.keys.contains(key))
        {
            return Err(Error::DuplicateKey { key: Bytes::clone(key) });
        }
    }
    Ok(())
}

fn check_key(key: &[u8]) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::EmptyKey);
    }
    check_length(key)
}

fn check_length(key: &[u8]) -> Result<(), Error> {
    if key.len() > MAX_KEY {
        return Err(Error::KeyTooLong { length: key.len() as u64 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn txn(success: Vec<Step>) -> Operation {
        Operation::Txn(Txn { success, ..Txn::default() })
    }

    fn put(key: &'static str) -> Step {
        Step::Put(Put { key: key.into(), value: Bytes::new(), previous: false })
    }

    fn delete(keys: Keys) -> Step {
        Step::Delete(Delete { keys, previous: false })
    }

    #[test]
    fn limits_are_exact() {
        let key = |length| Bytes::from(vec![1; length]);
        assert_eq!(Operation::put(key(MAX_KEY), key(MAX_VALUE)).check(), Ok(()));
        assert_eq!(Operation::put(key(0), "").check(), Err(Error::EmptyKey));
        let length = MAX_KEY as u64 + 1;
        assert_eq!(Operation::get(key(MAX_KEY + 1)).check(), Err(Error::KeyTooLong { length }));
        let length = MAX_VALUE as u64 + 1;
        assert_eq!(Operation::put("key", key(MAX_VALUE + 1)).check(), Err(Error::ValueTooLong { length }));
        let steps = |count| vec![Step::Range(Range::new(Keys::prefix(""))); count];
        assert_eq!(txn(steps(MAX_STEPS)).check(), Ok(()));
        let count = MAX_STEPS as u64 + 1;
        assert_eq!(txn(steps(MAX_STEPS + 1)).check(), Err(Error::TooManySteps { count }));
    }

    #[test]
    fn the_largest_put_encodes_within_a_mebibyte() {
        let largest = Operation::put(vec![1; MAX_KEY], vec![1; MAX_VALUE]);
        assert!(largest.encode().len() < 1 << 20);
    }

    #[test]
    fn a_branch_changes_a_key_once() {
        let duplicate = |key: &'static str| Err(Error::DuplicateKey { key: key.into() });
        assert_eq!(txn(vec![put("a"), put("b")]).check(), Ok(()));
        assert_eq!(txn(vec![put("a"), put("a")]).check(), duplicate("a"));
        assert_eq!(txn(vec![put("ab"), delete(Keys::prefix("a"))]).check(), duplicate("ab"));
        assert_eq!(txn(vec![delete(Keys::Single("b".into())), put("b")]).check(), duplicate("b"));
        assert_eq!(txn(vec![delete(Keys::prefix("b")), put("a")]).check(), Ok(()));
    }

    #[test]
    fn prefix_ends() {
        assert_eq!(prefix_end(b"a"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }

    proptest! {
        #[test]
        fn a_prefix_span_holds_exactly_what_begins_with_it(
            prefix in prop::collection::vec(prop_oneof![Just(0u8), Just(7), Just(254), Just(255)], 0..4),
            key in prop::collection::vec(prop_oneof![Just(0u8), Just(7), Just(254), Just(255)], 0..5),
        ) {
            prop_assert_eq!(Keys::prefix(prefix.clone()).contains(&key), key.starts_with(&prefix));
        }

        #[test]
        fn decoding_random_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), tag in 0u8..6) {
            let _ = Operation::decode(&bytes);
            // Behind a valid tag more of the bytes are looked at.
            if let Ok(operation) = Operation::decode(&[&[tag, 0, 0, 0], &bytes[..]].concat()) {
                let _ = operation.check();
                prop_assert_eq!(operation.encode(), [&[tag, 0, 0, 0], &bytes[..]].concat());
            }
        }
    }
}
