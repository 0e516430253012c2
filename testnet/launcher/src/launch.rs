//! Starting a replica's process, and waiting until it serves.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use pbft_messages::ReplicaId;

use crate::control::Control;
use crate::process::{Condition, ProcessId};
use crate::{Folder, TestnetError};

/// How long a replica may take until it listens. Opening a large store is the slow part.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Whether a replica's votes wait until what they rest on is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// They do: a replica survives any crash.
    #[default]
    Sync,
    /// They don't: faster, and a replica that crashed counts as faulty (D8).
    Memory,
}

impl std::fmt::Display for Durability {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Sync => "sync",
            Self::Memory => "memory",
        })
    }
}

/// How long replicas live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until they are stopped: they outlive the process that starts them.
    Detached,
    /// As long as the process that starts them, however that one ends: each reads a pipe that ends with it.
    Tethered,
}

/// The program whose processes the replicas are: it must understand [`crate::ReplicaArguments`] after `arguments`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// What comes before a replica's own arguments.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// This very program, with the subcommand `replica`.
    ///
    /// # Errors
    /// The operating system's, if it does not tell.
    pub fn current() -> io::Result<Self> {
        Ok(Self { path: std::env::current_exe()?, arguments: vec!["replica".into()] })
    }
}

/// A replica's process that was just started. It need not serve yet: see [`Started::serves`].
pub(crate) struct Started {
    pub(crate) replica: ReplicaId,
    pub(crate) process: ProcessId,
    /// How long the log was before; what follows is this process's.
    log_from: u64,
}

/// Starts a replica's process.
pub(crate) fn spawn(
    program: &Program,
    folder: &Folder,
    replica: ReplicaId,
    durability: Durability,
    lifetime: Lifetime,
) -> Result<(Child, Started), TestnetError> {
    let failed = |source: io::Error| TestnetError::DidNotStart {
        replica,
        why: source.to_string(),
        log: folder.log(replica),
        code: None,
    };
    let log = OpenOptions::new().create(true).append(true).open(folder.log(replica)).map_err(failed)?;
    let log_from = log.metadata().map_err(failed)?.len();
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .arg("--cluster")
        .arg(folder.cluster_file())
        .arg("--key")
        .arg(folder.replica_key(replica))
        .arg("--data")
        .arg(folder.replica(replica))
        .arg("--durability")
        .arg(durability.to_string())
        // A process that goes on running must not keep somebody's current folder in use.
        .current_dir(folder.path())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log);
    match lifetime {
        Lifetime::Detached => command.stdin(Stdio::null()),
        Lifetime::Tethered => command.arg("--tethered").stdin(Stdio::piped()),
    };
    let child = command.spawn().map_err(failed)?;
    match ProcessId::of(child.id()) {
        Some(process) => Ok((child, Started { replica, process, log_from })),
        // A child stays visible until its parent has looked after it, so this means a system without /proc.
        None => Err(failed(io::Error::other("/proc tells nothing of its process"))),
    }
}

impl Started {
    /// Waits until the replica listens.
    pub(crate) async fn serves(&self, folder: &Folder) -> Result<(), TestnetError> {
        let Self { replica, process, log_from } = *self;
        let control = Control::new(replica, folder.data(replica));
        let log = folder.log(replica);
        let deadline = tokio::time::Instant::now() + START_PATIENCE;
        let mut attempts = tokio::time::interval(Duration::from_millis(20));
        loop {
            // Nobody tells when a socket appears, so this tries again and again.
            attempts.tick().await;
            if control.is_ready().await {
                return Ok(());
            }
            let why = if process.condition() == Condition::Dead {
                last_line(&log, log_from).unwrap_or_else(|| "its process ended at once".into())
            } else if tokio::time::Instant::now() > deadline {
                format!("it does not listen after {} s", START_PATIENCE.as_secs())
            } else {
                continue;
            };
            return Err(TestnetError::DidNotStart { replica, why, log, code: None });
        }
    }
}

/// The last line after a place in a log that says something.
fn last_line(path: &Path, from: u64) -> Option<String> {
    const TAIL: u64 = 4096;
    let mut file = fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(TAIL).max(from))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    let line = tail.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.strip_prefix("error: ").unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_last_that_says_something() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(last_line(&path, 0), None);
        fs::write(&path, format!("{}\nerror: a port is in use\n\n", "x".repeat(10_000))).unwrap();
        assert_eq!(last_line(&path, 0).unwrap(), "a port is in use");
        assert_eq!(last_line(&path, fs::metadata(&path).unwrap().len()), None, "nothing new");
    }
}
