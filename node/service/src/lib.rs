//! The [`Service`] trait, which is what a replicated application implements, and the built-in services: a
//! key-value store after etcd's data model ([`kv`]), and a [`NullService`] to measure the replication alone.
//!
//! To replicate an application of your own, read [`Service`]; the example `bank` is a whole one in under sixty
//! lines.

pub mod kv;
mod null;
mod service;
mod snapshot;

pub use null::{NullResult, NullService};
pub use service::{Context, Event, Output, Reader, Service};
pub use snapshot::{CHUNK_LIMIT, RestoreError, Snapshot, WholeSnapshot};
