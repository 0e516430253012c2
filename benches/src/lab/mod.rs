//! What all experiments share: testnets to try things on, and loaded runs with their costs.

mod bed;
mod environment;
mod error;
mod file_system;
mod load;
mod run;
mod subject;
mod views;
mod warmup;

pub use bed::Bed;
pub use environment::Environment;
pub use error::LabError;
pub use load::Load;
pub(crate) use run::processor_time;
#[cfg(test)]
pub(crate) use run::tests::figures;
pub use run::{Figures, Lab, Run};
pub use subject::Subject;
pub use views::Views;
pub use warmup::{WarmedUp, WarmsUp, warmup};
