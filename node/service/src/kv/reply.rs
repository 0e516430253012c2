//! What the store answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use pbft_crypto::Malformed;
use pbft_messages::codec;

use super::{MAX_KEY, MAX_STEPS, MAX_VALUE};

/// The most bytes of an encoded reply: 1 MiB. A range that would exceed it is cut, with `more` set.
pub const MAX_REPLY: usize = 1 << 20;

/// The most keys that one operation may change. It bounds how long an operation takes and what it leaves behind in
/// the history; delete a larger range in parts.
pub const MAX_CHANGES: usize = 10_000;

/// The answer to an operation that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The store's revision after the operation; for a write that changed something, that of the change. In the reply
    /// to a query, the newest change that the answer shows, 0 if it shows none.
    pub revision: u64,
    /// The answer proper.
    pub answer: Answer,
}

/// The answer to each kind of operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To a put.
    Put(PutAnswer),
    /// To a range.
    Range(RangeAnswer),
    /// To a delete.
    Delete(DeleteAnswer),
    /// To a transaction.
    Txn(TxnAnswer),
    /// To a compaction.
    Compact,
}

/// The answer to each kind of a transaction's steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepAnswer {
    /// To a put.
    Put(PutAnswer),
    /// To a range.
    Range(RangeAnswer),
    /// To a delete.
    Delete(DeleteAnswer),
}

/// The answer to a put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutAnswer {
    /// The key before, if that was asked for and the key existed.
    pub previous: Option<KeyValue>,
}

/// The answer to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeAnswer {
    /// The keys found, in order; empty if only a count was asked for.
    pub entries: Vec<KeyValue>,
    /// Whether the range holds further keys, left out because of the limit or of [`MAX_REPLY`]. There is at least
    /// one entry then; read on from the last one's key followed by a zero byte, at the same revision.
    pub more: bool,
    /// How many keys the whole range holds; known if it was asked for, or if there are no more than the entries.
    pub count: Option<u64>,
}

/// The answer to a delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteAnswer {
    /// How many keys were deleted.
    pub deleted: u64,
    /// The keys before, if that was asked for.
    pub previous: Vec<KeyValue>,
}

/// The answer to a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnAnswer {
    /// Whether all comparisons held.
    pub succeeded: bool,
    /// The answers to the steps of the chosen branch, in order.
    pub steps: Vec<StepAnswer>,
}

/// A key with its value and its history's numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The revision at which the key was created.
    pub create_revision: u64,
    /// The revision of the last change.
    pub mod_revision: u64,
    /// The number of changes since the key was created, that one included; at least 1.
    pub version: u64,
    /// The value; empty if only keys were asked for.
    pub value: Bytes,
}

/// The content of an event: one key's change. The event's topic is the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The key was put, and is now so.
    Put(KeyValue),
    /// The key was deleted.
    Delete {
        /// The key.
        key: Bytes,
        /// The revision of the deletion.
        mod_revision: u64,
    },
}

/// Why an operation was not done. It then changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Error {
    /// The bytes are no operation in this store's encoding.
    #[error("the bytes are not an encoded key-value operation")]
    NotAnOperation,
    /// The operation may write, but was sent as a query.
    #[error("a query can't write: submit the operation to be ordered")]
    WriteInQuery,
    /// A key has no bytes.
    #[error("a key must not be empty")]
    EmptyKey,
    /// A key is longer than [`MAX_KEY`].
    #[error("a key of {length} bytes is longer than {MAX_KEY} bytes: use a shorter key")]
    KeyTooLong {
        /// The key's length.
        length: u64,
    },
    /// A value is longer than [`MAX_VALUE`].
    #[error("a value of {length} bytes is longer than {MAX_VALUE} bytes: split it over several keys")]
    ValueTooLong {
        /// The value's length.
        length: u64,
    },
    /// A transaction has more than [`MAX_STEPS`] comparisons, or as many steps in a branch.
    #[error(
        "a transaction with a list of {count}: comparisons and the steps of a branch are limited to {MAX_STEPS} each"
    )]
    TooManySteps {
        /// The length of the longest list.
        count: u64,
    },
    /// A transaction's branch would change a key twice.
    #[error("a branch of a transaction can't put a key twice or both put and delete it: {}", key.escape_ascii())]
    DuplicateKey {
        /// The key.
        key: Bytes,
    },
    /// The revision asked for was compacted, or for a compaction: was so already.
    #[error("revision {requested} is compacted; the oldest readable one is {oldest}")]
    Compacted {
        /// The revision asked for.
        requested: u64,
        /// The oldest revision that can be read.
        oldest: u64,
    },
    /// The revision asked for is still to come.
    #[error("revision {requested} is in the future; the newest one is {newest}")]
    FutureRevision {
        /// The revision asked for.
        requested: u64,
        /// The store's revision.
        newest: u64,
    },
    /// The answer would exceed [`MAX_REPLY`] and can't be cut.
    #[error("the answer would exceed {MAX_REPLY} bytes: ask for less at a time")]
    ReplyTooLarge,
    /// The operation would change more than [`MAX_CHANGES`] keys.
    #[error("one operation can't change more than {MAX_CHANGES} keys: do it in parts")]
    TooManyChanges,
}

impl Reply {
    /// An operation's result as the store returns it.
    pub(super) fn encode(result: &Result<Self, Error>) -> Bytes {
        codec::encode(result).into()
    }

    /// Reads an operation's result: the reply, or why there is none.
    ///
    /// # Errors
    /// [`Malformed`] unless the bytes are exactly one result.
    pub fn decode(result: &[u8]) -> Result<Result<Self, Error>, Malformed> {
        codec::decode(result)
    }
}

impl Answer {
    /// The newest change among the keys that the answer shows; 0 if it shows none.
    pub(super) fn newest_change(&self) -> u64 {
        let newest = |range: &RangeAnswer| range.entries.iter().map(|entry| entry.mod_revision).max();
        match self {
            Self::Range(range) => newest(range),
            Self::Txn(txn) => {
                let ranges = txn.steps.iter().map(|step| match step {
                    StepAnswer::Range(range) => newest(range),
                    StepAnswer::Put(_) | StepAnswer::Delete(_) => None,
                });
                ranges.max().flatten()
            }
            Self::Put(_) | Self::Delete(_) | Self::Compact => None,
        }
        .unwrap_or(0)
    }
}

impl KeyValue {
    /// At least the bytes of the encoded entry besides key and value: five numbers, and the tag of an option.
    const OVERHEAD: usize = 48;

    /// What the entry takes of a reply's [`MAX_REPLY`].
    pub(super) fn weight(&self) -> usize {
        self.key.len() + self.value.len() + Self::OVERHEAD
    }
}

impl Change {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        codec::encode(self).into()
    }

    /// Reads an event's content.
    ///
    /// # Errors
    /// [`Malformed`] unless the bytes are exactly one change.
    pub fn decode(content: &[u8]) -> Result<Self, Malformed> {
        codec::decode(content)
    }
}
