//! Typed events: what the protocol reports, for logs, metrics, tests and people.
//!
//! There is one way in, [`EventLog::record`], and one place where events are kept, a ring in memory. The file of
//! events and whoever follows them on the control socket read from the ring at their own pace, so the driver never
//! waits for either.

mod file;
mod line;
mod metrics;
mod narrate;
mod ring;

pub use line::EventLine;

pub(crate) use file::EventFile;
pub(crate) use metrics::{Gauges, Metrics};
pub(crate) use ring::{EventLog, Read};
