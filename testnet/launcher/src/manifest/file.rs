//! Reading a manifest, and checking it before anything is started.

mod step;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use pbft_messages::{ParametersTable, ReplicaId};

use super::{Expect, Manifest, Step, Target};
use crate::Durability;
use crate::create::check_size;
use crate::rehearsal::Rehearsal;
use crate::traffic::{Plan, Preload};
use crate::units::Time;
use step::StepTable;

/// How many steps a manifest may come to once all repetitions are counted.
const MAX_STEPS: usize = 10_000;

/// How many clients the load may have, and how much of anything else it may ask for: beyond, the machine is the test.
const MAX_CLIENTS: usize = 400;

/// Why a manifest cannot be run. Each text is one line with the file, the line and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("manifest {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file says something that is not understood, or cannot be done.
    #[error("manifest {}, line {line}: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        why: String,
    },
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    description: String,
    nodes: Spanned<usize>,
    #[serde(default)]
    allow_exceed_f: bool,
    #[serde(default)]
    durability: Durability,
    #[serde(default)]
    late: Vec<Spanned<ReplicaId>>,
    duration: Time,
    #[serde(default = "patience")]
    patience: Time,
    #[serde(default)]
    parameters: Option<Spanned<ParametersTable>>,
    #[serde(default)]
    preload: Preload,
    #[serde(default)]
    load: Option<Spanned<Plan>>,
    #[serde(default)]
    step: Vec<Spanned<StepTable>>,
    #[serde(default)]
    expect: Option<Spanned<Expect>>,
}

fn patience() -> Time {
    Time(Duration::from_secs(30))
}

/// What is wrong, and where.
type Complaint = (Range<usize>, String);

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`]
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let text = fs::read_to_string(path);
        let text = text.map_err(|source| ManifestError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Reads a manifest's text; `path` is where it is from.
    ///
    /// # Errors
    /// [`ManifestError::Invalid`]
    pub fn parse(path: &Path, text: &str) -> Result<Self, ManifestError> {
        let parsed = toml::from_str::<File>(text)
            .map_err(|error| (error.span().unwrap_or_default(), error.message().replace('\n', " ")));
        parsed.and_then(|file| file.checked(path)).map_err(|(place, why)| {
            // An error about a whole table points at its header already.
            let line = text[..place.start.min(text.len())].matches('\n').count() + 1;
            ManifestError::Invalid { path: path.to_owned(), line, why }
        })
    }
}

impl File {
    fn checked(self, path: &Path) -> Result<Manifest, Complaint> {
        let nodes = *self.nodes.get_ref();
        check_size(nodes).map_err(|error| (self.nodes.span(), error.to_string()))?;
        let known = |replica: ReplicaId, place: Range<usize>| {
            let why = || format!("there is no {replica}: the replicas are r0 to r{}", nodes - 1);
            if replica.index() < nodes { Ok(()) } else { Err((place, why())) }
        };
        for late in &self.late {
            known(*late.get_ref(), late.span())?;
        }
        let f = pbft_messages::faults_tolerated(nodes);
        if self.late.len() > f {
            let why =
                format!("at most {f} of {nodes} replicas may be late: the others must serve without them");
            return Err((self.late[f].span(), why));
        }
        let (place, parameters) =
            self.parameters.map_or((0..0, ParametersTable::default()), |it| (it.span(), it.into_inner()));
        let rehearsal =
            Rehearsal::new(nodes, parameters.clone()).map_err(|error| (place, error.to_string()))?;
        let mut steps = Vec::new();
        for table in self.step {
            let place = table.span();
            let at = |why| (place.clone(), why);
            let step = table.into_inner();
            for replica in step.named() {
                known(replica, place.clone())?;
            }
            let (count, every) = step.repetitions().map_err(at)?;
            let action = step.action(nodes, &rehearsal).map_err(at)?;
            let target = match (&step.target, action.is_for_the_cluster()) {
                (None, true) => Target::Cluster,
                (Some(target), false) => target.clone(),
                (Some(_), true) => {
                    return Err(at(format!("{action} is for the whole cluster and has no target")));
                }
                (None, false) => return Err(at(format!("{action} needs a target"))),
            };
            if target == Target::All && action.makes_faulty(self.durability) && !self.allow_exceed_f {
                let why = format!(
                    "{action} of all: at most f = {f} of {nodes} replicas may be faulty at once, unless allow_exceed_f = true"
                );
                return Err(at(why));
            }
            if steps.len() + count > MAX_STEPS {
                return Err(at(format!("more than {MAX_STEPS} steps, repetitions counted")));
            }
            for round in 0..count {
                let at = step.at.0 + every * round as u32;
                steps.push(Step { at, action: action.clone(), target: target.clone() });
            }
        }
        // Stable: what is written first comes first.
        steps.sort_by_key(|step| step.at);
        if let Some(last) = steps.last().filter(|last| last.at > self.duration.0) {
            let why = format!("duration ends at {:?}, and a step comes at {:?}", self.duration.0, last.at);
            return Err((0..0, why));
        }
        let load = self.load.map_or(Ok(Plan::default()), |load| {
            let (place, plan) = (load.span(), load.into_inner());
            let clients = plan.sessions.saturating_mul(plan.depth);
            let why = || format!("sessions × depth must be from 1 to {MAX_CLIENTS}");
            if (1..=MAX_CLIENTS).contains(&clients) { Ok(plan) } else { Err((place, why())) }
        })?;
        let (place, expect) =
            self.expect.map_or((0..0, Expect::default()), |it| (it.span(), it.into_inner()));
        for replica in expect.accused.iter().chain(&expect.altered).chain(expect.executed_past.keys()) {
            known(*replica, place.clone())?;
        }
        Ok(Manifest {
            path: path.to_owned(),
            name: self.name,
            description: self.description,
            nodes,
            allow_exceed_f: self.allow_exceed_f,
            durability: self.durability,
            late: self.late.into_iter().map(Spanned::into_inner).collect(),
            duration: self.duration.0,
            patience: self.patience.0,
            parameters,
            preload: self.preload,
            load,
            steps,
            expect,
        })
    }
}

#[cfg(test)]
mod tests;
