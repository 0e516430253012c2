#![doc = include_str!("../README.md")]

mod ahead;
mod boot;
#[cfg(test)]
mod bounds;
mod certified;
mod checkpoint;
mod commit;
mod durability;
mod effect;
mod evidence;
mod execute;
mod fetch;
mod input;
mod ledger;
mod log;
mod new_view;
mod omission;
mod pace;
mod pre_prepare;
mod prepare;
mod propose;
mod reads;
mod record;
mod recovery;
mod replica;
mod report;
mod silence;
mod sizes;
mod state_transfer;
mod status;
mod submission;
#[cfg(test)]
mod testing;
mod time;
mod timeouts;
mod timer;
mod view_change;
mod vigilance;
mod waiting;

pub use boot::{LeftBehind, Unreadable, initial_records, latest_snapshot};
pub use effect::{AuditId, Effect, Effects, Execution, Operation, Query, WriteId};
pub use input::Input;
pub use ledger::ledger_chunks;
pub use record::{CleanShutdown, Record};
pub use recovery::recovery_records;
pub use replica::{Replica, Standing, Transferring};
pub use report::{Halt, Rejection, Report, ViewChangeReason};
pub use sizes::Sizes;
pub use time::{Instant, Now};
pub use timer::Timer;
