//! What is tried, each with a result for programs and a section for people.

mod attacks;
mod brief;
mod compare;
mod failover;
mod scale;
mod show;
mod soak;
mod statistics;
mod stopped;
mod sweep;
mod targets;

pub use attacks::{Attack, AttackMatrix, Attacked, Round, Trials, Who};
pub use brief::{Brief, Failed, Plan};
pub use compare::{Comparison, Others, Turn};
pub use failover::{Failover, Kill};
pub use scale::{Scale, Size};
pub use soak::{Memory, Soak};
pub use statistics::{Spread, Trend};
pub use sweep::{Search, Sweep};
pub use targets::Target;
