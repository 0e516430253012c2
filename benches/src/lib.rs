//! Drives a cluster with load, measures what its clients feel, and checks that it kept its word.
//!
//! A run goes through these steps, each in a file of its own:
//!
//! 1. [`Settings`] say what to do; [`Settings::check`] compares them with the cluster.
//! 2. [`open_sessions`] opens one session a connection.
//! 3. [`drive`] has each session send one request after the other (a *closed loop*), and gives what was [`Measured`].
//! 4. [`read_back`] reads what was acknowledged, and the [`Verdict`] says whether the cluster kept it.
//! 5. A [`Report`] is all of it for programs, with the [`Record`] of how it came about; [`write_files`] keeps it.
//!
//! # The loop is closed
//! A worker sends its next request when the last is answered, so when the cluster pauses, the load pauses with it: the
//! latencies do not contain the time that requests would have waited for their turn. Every report says so.
//!
//! # What is counted
//! Every request that was sent after the warm-up, also if its answer came after the end. The rate is the number of
//! answers by the time from the end of the warm-up to the end of the load or to the last of these answers, whichever
//! is later; so a pause at the end counts.

mod files;
mod journal;
mod load;
mod order;
mod outcome;
mod read_back;
mod record;
mod report;
mod sessions;
mod settings;
mod tally;
mod verdict;
mod worker;
mod workload;

pub use files::{FilesError, prepare_folder, write_files};
pub use journal::{Journal, KeyRecord, Write};
pub use load::{Measured, Progress, drive};
pub use order::Order;
pub use read_back::read_back;
pub use record::{ClusterRecord, Durability, Record, SettingsRecord};
pub use report::{CLOSED_LOOP, Latency, Report, SeriesReport};
pub use sessions::{SessionsError, open_sessions};
pub use settings::{Extent, InvalidSettings, Settings};
pub use tally::{Kind, Series, Tally};
pub use verdict::{Finding, Verdict, VerdictResult, Violation, judge};
pub use workload::{Author, Choice, Mix, Values, key};
