//! Starting the process, and ending it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use pbft_messages::ClusterFile;
use pbft_testnet::Durability;
use pbft_testnet::process::ProcessId;

use super::server::{READY, client_key};
use crate::lab::{LabError, Subject};

/// The service without replication, in a process of its own. Dropping this ends it; it ends with this process too.
pub struct Unreplicated {
    child: Child,
    /// How many clients it admits.
    identities: usize,
    folder: TempDir,
}

impl Unreplicated {
    /// Starts it for load from so many clients; returns when it serves. This program must have the hidden command `unreplicated`.
    ///
    /// # Errors
    /// [`LabError`]
    pub fn start(durability: Durability, identities: usize) -> Result<Self, LabError> {
        let folder = tempfile::Builder::new().prefix("pbft-bench-").tempdir();
        let folder = folder.map_err(LabError::io("a temporary folder"))?;
        let program = std::env::current_exe().map_err(LabError::io("the path of this program"))?;
        let log = folder.path().join("stderr.log");
        let stderr = std::fs::File::create(&log).map_err(LabError::io("a log"))?;
        let mut command = Command::new(program);
        command.arg("unreplicated").arg("--folder").arg(folder.path());
        command.arg("--durability").arg(durability.to_string());
        command.arg("--identities").arg(identities.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let child = command.spawn().map_err(LabError::io("the unreplicated service"))?;
        let mut started = Self { child, identities, folder };
        let mut line = String::new();
        if let Some(stdout) = started.child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line).map_err(LabError::io("the unreplicated service"))?;
        }
        if line.trim_end() == READY {
            return Ok(started);
        }
        let why = "its process ended at once".to_owned();
        Err(LabError::no_service("the unreplicated service", why, &log))
    }

    /// What to send load to.
    ///
    /// # Errors
    /// [`LabError`], if it has written no cluster file.
    pub fn subject(&self) -> Result<Subject, LabError> {
        let path = self.folder.path().join("cluster.toml");
        let text = std::fs::read_to_string(&path).map_err(LabError::io(path.display().to_string()))?;
        let cluster = ClusterFile::parse(&text).and_then(|file| file.configuration());
        let cluster = cluster.map_err(|error| LabError::Stuck(format!("{}: {error}", path.display())))?;
        Ok(Subject {
            cluster,
            client_keys: (0..self.identities).map(|index| client_key(self.folder.path(), index)).collect(),
            processes: ProcessId::of(self.child.id())
                .map(|process| ("the unreplicated service".to_owned(), process))
                .into_iter()
                .collect(),
        })
    }
}

impl Drop for Unreplicated {
    fn drop(&mut self) {
        // Failures mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
