//! Drives a cluster with load, measures what its clients feel, and checks that it kept its word.
//!
//! [`run`] goes through these steps, each in a file of its own:
//!
//! 1. [`Settings`] say what to do; [`Settings::check`] compares them with the cluster.
//! 2. Sessions are opened, one a connection, and all keys are written if that is asked for.
//! 3. Each connection sends bundles of requests, in a *closed loop* or an *open* one, and gives what was [`Measured`].
//! 4. What was acknowledged is read back, and the [`Verdict`] says whether the cluster kept it.
//! 5. A [`Report`] is all of it for programs, with the [`Record`] of how it came about; [`write_files`] keeps it.
//!
//! [`lab`] has testnets to try things on, [`experiments`] are what is tried on them, beside [`references`], and [`page`]
//! is what people get to read of it.
//!
//! # Two kinds of loops
//! In a closed loop a bundle is sent when an earlier one is answered, so when the cluster pauses, the load pauses with
//! it: the latencies do not contain the time that requests would have waited for their turn. In an open loop requests
//! have times at which they are due, whatever came of the others, and their latencies run from then on. Every report
//! says which it is.
//!
//! # What is counted
//! The time from the end of the warm-up to the end of the load is measured. Throughput is the answers that came in it,
//! whenever their requests had been sent: so neither end is better or worse than what lies between. Latency is that of
//! the requests that were sent in it, or in an open loop: due, also if the answer came after the end, for those that
//! take long must not be missing.

pub mod experiments;
pub mod lab;
pub mod page;
pub mod references;

mod arrivals;
mod files;
mod journal;
mod keys;
mod ledger;
mod load;
mod order;
mod outcome;
mod preload;
mod read_back;
mod record;
mod report;
mod request;
mod run;
mod sessions;
mod settings;
mod tally;
mod timeline;
mod values;
mod verdict;
mod worker;
mod workload;

pub use files::{FilesError, prepare_folder, write_files};
pub use keys::Distribution;
pub use load::{Measured, Progress, Punctuality};
pub use record::{ClusterRecord, Durability, Record, SettingsRecord};
pub use report::{Latency, PauseReport, Report, SeriesReport, TimelineReport};
pub use run::{Remarks, Stage, run};
pub use sessions::SessionsError;
pub use settings::{Arrivals, Extent, InvalidSettings, Pace, Settings};
pub use tally::{Series, Tally};
pub use timeline::{Pause, Row, Timeline};
pub use verdict::{Verdict, VerdictResult};
pub use workload::{Workload, Ycsb};
