//! Trials that are written down: a TOML file tells the cluster, the load, what is done to it when, and what must
//! hold; [`run`] does it and judges.

mod attackers;
mod expect;
mod file;
mod play;
mod report;
mod samples;
mod schedule;
mod seen;
mod step;
mod table;
mod trials;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use pbft_messages::{ParametersTable, ReplicaId};

use crate::Durability;
use crate::traffic::{Plan, Preload};

pub use expect::{Expect, Growth};
pub use file::ManifestError;
pub use play::run;
pub use report::{Report, StepReport};
pub use samples::{Series, Usage};
pub use seen::Seen;
pub use step::{Action, Step, Target};
pub use table::{lines, table};
pub use trials::{StrategyTrial, trials};

/// A trial, checked: it can be run.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its name, for people.
    pub name: String,
    /// What it shows, in a sentence or two.
    pub description: String,
    /// How many replicas.
    pub nodes: usize,
    /// Whether steps may make more replicas faulty than the cluster tolerates.
    pub allow_exceed_f: bool,
    /// Their durability.
    pub durability: Durability,
    /// Replicas that are made and not started before a step does.
    pub late: BTreeSet<ReplicaId>,
    /// How long the load lasts; longer if a replica is still catching up then.
    pub duration: Duration,
    /// How long anything is waited for that has no limit of its own.
    pub patience: Duration,
    /// The cluster's parameters.
    pub parameters: ParametersTable,
    /// What the store holds before the load begins.
    pub preload: Preload,
    /// The load.
    pub load: Plan,
    /// What is done, in the order of time.
    pub steps: Vec<Step>,
    /// What must hold.
    pub expect: Expect,
}
