//! The PBFT state machine, pure: no clock, no randomness, no I/O. Under construction.
mod effect;
mod input;
mod record;
mod report;
mod time;
mod timer;
pub use effect::{AuditId, Effect, Effects, Execution, Install, Operation, WriteId};
pub use input::Input;
pub use record::{CleanShutdown, Record};
pub use report::{Halt, Rejection, Report, ViewChangeReason};
pub use time::{Instant, Now};
pub use timer::Timer;
