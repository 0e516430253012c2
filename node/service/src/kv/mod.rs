//! A key-value store with etcd's data model.
//!
//! The store has one global *revision*, which starts at 1 and rises by one with each operation that changes
//! something; all changes of one transaction share a revision. Each key carries the revision at which it was
//! created, the one of its last change, and its *version*: 1 when it is created, plus one a change. Deleting ends
//! a key's life; a later put creates it anew.
//!
//! Old versions stay readable until they are compacted, so a large range can be read page by page at one revision
//! while writes go on. Compaction to a revision forgets what only an older revision shows. It is asked for with
//! [`Operation::Compact`], and happens by itself: the store keeps the last [`KeyValueStore::retained`] revisions,
//! which bounds its memory.
//!
//! An [`Operation`] encodes to the bytes that a client submits, [`Reply::decode`] reads the result.
//!
//! ```
//! use pbft_service::kv::{Answer, KeyValueStore, Operation, Reply};
//! use pbft_service::{Context, Service};
//! # use pbft_messages::{ClientId, Sequence, SessionId, Timestamp};
//! # let context =
//! #     Context { sequence: Sequence(1), time: Timestamp(1), client: ClientId([0; 32]), session: SessionId(1) };
//! let mut store = KeyValueStore::default();
//! store.execute(&context, &Operation::put("fruit/apple", "red").encode());
//! let result = store.reader().query(&Operation::get("fruit/apple").encode());
//! let reply = Reply::decode(&result).expect("the store's own encoding").expect("reading succeeds");
//! let Answer::Range(range) = reply.answer else { unreachable!("a get is answered as a range") };
//! assert_eq!((range.entries[0].mod_revision, &range.entries[0].value[..]), (2, &b"red"[..]));
//! ```

mod chunks;
mod history;
mod operation;
mod reply;
mod restoration;
mod snapshots;
mod state;
mod store;
mod touched;
mod transaction;

pub use operation::{
    Compare, Delete, Keys, MAX_KEY, MAX_STEPS, MAX_VALUE, Operation, Put, Range, Relation, Step, Target, Txn,
    prefix_end,
};
pub use reply::{
    Answer, Change, DeleteAnswer, Error, KeyValue, MAX_CHANGES, MAX_REPLY, PutAnswer, RangeAnswer, Reply,
    StepAnswer, TxnAnswer,
};
pub use store::{DEFAULT_RETAINED, KeyValueStore};
