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
//!
//! # Why redb
//!
//! Measured with `cargo run --release --manifest-path benches/stores/Cargo.toml`: records of 1 KiB under ascending
//! keys, each commit on disk before the next, the best of three rounds, on a virtual machine of two cores with ext4.
//! The machine was shared, so the ratios to the floor say more than the times. The floor, records written one after
//! the other to a file of fixed length and one `fdatasync` a commit, is no store: it finds nothing, collects nothing
//! and checks nothing.
//!
//! | records a commit | store | median (ms) | p99 (ms) | commits/s | median / floor | reopen and read all (ms) |
//! |---|---|---|---|---|---|---|
//! | 1   | floor     | 0.11 | 0.21 | 8484 | 1.0 | 34  |
//! | 1   | redb 4.4  | 0.18 | 0.29 | 5348 | 1.5 | 2   |
//! | 1   | fjall 3.1 | 0.12 | 0.21 | 8094 | 1.1 | 3   |
//! | 256 | floor     | 0.34 | 0.56 | 2838 | 1.0 | 35  |
//! | 256 | redb 4.4  | 1.26 | 5.18 |  637 | 3.7 | 108 |
//! | 256 | fjall 3.1 | 0.73 | 7.92 |  627 | 2.1 | 116 |
//!
//! fjall's journal commits faster: by 0.06 ms a commit at low load, and by half a millisecond for 256 records. It is not
//! worth changing to here. A batch waits for a commit once, beside three network steps and the checking of its
//! signatures; and a group of 256 in 1.3 ms is more than this replica can check and execute in that time. What decides
//! is that a wrong memory makes a faulty replica: redb is one file that is written by one thread and verifies every
//! page on demand, which boot does, and it has no work in the background, whose delays would be the votes' (D6). fjall
//! spreads over a folder of files, with threads that flush and compact, for data far larger than a log of a few windows.
//! Of logs by themselves none was found that is well kept: okaywal's author does not call it ready to be relied on. One
//! of our own would have to find records, forget them, and tell a torn tail from a damaged one, which is what redb does.

mod batch;
mod binding;
mod boot;
mod error;
mod file;
mod guard;
mod inspect;
mod meter;
mod position;
mod record_bytes;
mod recover;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

pub(crate) use binding::Binding;
pub use error::StoreError;
pub use guard::silence_store_panics;
pub use inspect::{Inspection, inspect, read_evidence};
pub use meter::StoreMeter;

pub(crate) use boot::{Opened, create, is_about_the_file, mark_memory_mode, open};
pub(crate) use file::StoreFile;
pub(crate) use guard::guard;
pub(crate) use recover::recreate;
pub(crate) use writer::{Writer, Written};
