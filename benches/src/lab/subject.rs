//! What a load is sent to.

use std::path::PathBuf;
use std::time::Duration;

use pbft_messages::Configuration;
use pbft_testnet::process::{Condition, ProcessId};

use super::{LabError, processor_time};

/// Something that clients can load, and whose processes can be looked at.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The cluster, as clients see it.
    pub cluster: Configuration,
    /// The key of an admitted client.
    pub client_key: PathBuf,
    /// Its processes, by name.
    pub processes: Vec<(String, ProcessId)>,
}

impl Subject {
    /// # Errors
    /// [`LabError::Stuck`] names those of its processes that have ended.
    pub(crate) fn all_live(&self) -> Result<(), LabError> {
        let dead = self.processes.iter().filter(|(_, process)| process.condition() == Condition::Dead);
        let dead: Vec<_> = dead.map(|(name, _)| name.as_str()).collect();
        let ended =
            || LabError::Stuck(format!("ended under load, and nothing was to end it: {}", dead.join(", ")));
        if dead.is_empty() { Ok(()) } else { Err(ended()) }
    }

    /// The processor time of its processes and of this one; `None` if one has ended.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        processor_time(self.processes.iter().map(|(_, process)| process))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use crate::settings::tests::configuration;

    use super::*;

    #[test]
    fn a_process_that_has_ended_is_named() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        let own = ProcessId::of(std::process::id()).unwrap();
        let subject = Subject {
            cluster: configuration(),
            client_key: PathBuf::new(),
            processes: vec![("r0".into(), own), ("r1".into(), process)],
        };
        assert!(subject.all_live().is_ok() && subject.processor_time().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        let error = subject.all_live().unwrap_err().to_string();
        assert!(error.ends_with(": r1"), "{error}");
        assert_eq!(subject.processor_time(), None);
    }
}
