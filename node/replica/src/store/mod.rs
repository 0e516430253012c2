//! The durable store: what a replica must not forget (section D of the protocol's rules).
//!
//! It holds at most one [`pbft_protocol::Record`] a key and knows nothing of their meaning. Underneath is one redb
//! table; on top of it stand three guards, because a replica that votes from a wrong memory is a faulty one:
//!
//! * **Every record has a checksum** over its key and its bytes, and is read back at every boot. redb verifies its
//!   pages' checksums when asked to, which boot does too, and not when it reads.
//! * **The position.** Each transaction counts itself, in the table and then in a small file beside it. redb goes back
//!   to the transaction before when the last one's pages are damaged; that is right for a write that a crash tore,
//!   and wrong for one that was acknowledged. A store behind its position has lost acknowledged writes and is
//!   unreadable.
//! * **The binding** ([`Binding`]): a store serves one replica of one cluster (D6).

mod batch;
mod binding;
mod boot;
mod error;
mod file;
mod guard;
mod inspect;
mod position;
mod record_bytes;
mod recover;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use binding::Binding;
pub use error::StoreError;
pub use guard::silence_store_panics;
pub use inspect::{Inspection, inspect, read_evidence};

pub(crate) use boot::{Opened, create, is_about_the_file, mark_memory_mode, open};
pub(crate) use file::StoreFile;
pub(crate) use guard::guard;
pub(crate) use recover::recreate;
pub(crate) use writer::{Writer, Written};
