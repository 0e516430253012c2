#![doc = include_str!("../README.md")]

mod ahead;
mod boot;
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
mod pre_prepare;
mod prepare;
mod propose;
mod record;
mod replica;
mod report;
mod state_transfer;
mod status;
mod submission;
mod time;
mod timeouts;
mod timer;
mod view_change;
mod waiting;

pub use boot::{Unreadable, initial_records, latest_snapshot};
pub use effect::{AuditId, Effect, Effects, Execution, Install, Operation, WriteId};
pub use input::Input;
pub use ledger::ledger_chunks;
pub use record::{CleanShutdown, Record};
pub use replica::{Replica, Standing};
pub use report::{Halt, Rejection, Report, ViewChangeReason};
pub use time::{Instant, Now};
pub use timer::Timer;
