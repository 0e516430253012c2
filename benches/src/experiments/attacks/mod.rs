//! Throughput and latency while replicas or clients are malicious, beside the same cluster without.

mod attack;
mod attacked;
mod matrix;

pub use attack::{Attack, Who};
pub(super) use attacked::over_time;
pub use attacked::{Attacked, Round};
pub use matrix::{AttackMatrix, Trials};
