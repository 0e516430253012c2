//! What a load is sent to.

use std::path::PathBuf;
use std::time::Duration;

use pbft_client::{ClientSettings, Connector};
use pbft_crypto::key_file;
use pbft_messages::Configuration;
use pbft_testnet::TestnetError;
use pbft_testnet::process::{Condition, ProcessId};

use super::{LabError, processor_time};
use crate::settings::Settings;

/// Something that clients can load, and whose processes can be looked at.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The cluster, as clients see it.
    pub cluster: Configuration,
    /// The keys of admitted clients, as many as the load is to come from.
    pub client_keys: Vec<PathBuf>,
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

    /// What opens sessions, for each of its clients.
    ///
    /// # Errors
    /// [`LabError`], if a key cannot be read or there is no socket.
    pub(super) fn connectors(&self, settings: &Settings) -> Result<Vec<Connector>, LabError> {
        let client = ClientSettings { timeout: settings.timeout, ..ClientSettings::default() };
        let mut connectors = Vec::<Connector>::with_capacity(self.client_keys.len());
        for path in &self.client_keys {
            let key = key_file::read(path).map_err(TestnetError::from)?;
            connectors.push(match connectors.first() {
                Some(first) => first.with_identity(key)?,
                None => Connector::new(&self.cluster, key, client.clone())?,
            });
        }
        Ok(connectors)
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
            client_keys: Vec::new(),
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
