//! `testnet.json`: which processes make up a testnet, for commands that come later.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use pbft_messages::ReplicaId;

use crate::process::{Condition, ProcessId};
use crate::{Durability, Folder, TestnetError};

/// The file's format; another one is refused rather than misread.
const FORMAT: u32 = 1;

/// How long a command waits for another one that changes the same testnet.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    format: u32,
    /// The folder that its replicas run in: a copy of the file does not make them a copy's.
    #[serde(default)]
    home: String,
    /// The setting that replicas are started with.
    pub(crate) durability: Durability,
    /// Each replica's last process; `None` if it was never started, or was killed by a command.
    pub(crate) replicas: Vec<Option<ProcessId>>,
    /// Who was ever made to sign contradictions: others keep what was signed, whatever the liar does since.
    #[serde(default)]
    pub(crate) lied: BTreeSet<ReplicaId>,
}

impl State {
    pub(crate) fn new(n: usize, durability: Durability) -> Self {
        let (home, replicas) = (String::new(), vec![None; n]);
        Self { format: FORMAT, home, durability, replicas, lied: BTreeSet::new() }
    }

    /// Reads the file; `None` if there is none. It is an error if processes run that are another folder's.
    pub(crate) fn read(folder: &Folder) -> Result<Option<Self>, TestnetError> {
        let path = folder.state_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(TestnetError::File { path, source }),
        };
        let damaged = |why: String| TestnetError::Damaged { path: path.clone(), why };
        let state: Self = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if state.format != FORMAT {
            return Err(damaged(format!("its format is {}, and this program writes {FORMAT}", state.format)));
        }
        let is_home = state.home.is_empty() || state.home == home(folder)?;
        if !is_home && state.are_claimed_at_home() {
            let (folder, original) = (folder.path().to_owned(), state.home.into());
            return Err(TestnetError::Copied { folder, original });
        }
        Ok(Some(state))
    }

    /// Whether a process that this file names lives, and the file that it was copied from names it as well. A folder that
    /// was moved has left no such file behind.
    fn are_claimed_at_home(&self) -> bool {
        let original = Folder::at(Path::new(&self.home)).and_then(|it| fs::read(it.state_file()));
        let original = original.ok().and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        let claims = |original: &Self, index: usize| {
            self.living(ReplicaId(index as u16)).is_some()
                && original.replicas.get(index) == self.replicas.get(index)
        };
        original.is_some_and(|original| (0..self.replicas.len()).any(|index| claims(&original, index)))
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self, folder: &Folder) -> Result<(), TestnetError> {
        let path = folder.state_file();
        let new = path.with_extension("json.new");
        let state = Self { home: home(folder)?, ..self.clone() };
        let text = serde_json::to_string_pretty(&state).map_err(io::Error::from);
        let written = text.and_then(|text| {
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        });
        written.map_err(|source| TestnetError::File { path, source })
    }

    /// A replica's process, if it has not ended.
    pub(crate) fn living(&self, replica: ReplicaId) -> Option<(ProcessId, Condition)> {
        let process = (*self.replicas.get(replica.index())?)?;
        Some((process, process.condition())).filter(|(_, condition)| *condition != Condition::Dead)
    }
}

/// Where a folder is, whatever name leads to it.
fn home(folder: &Folder) -> Result<String, TestnetError> {
    let path = folder.path();
    let home =
        fs::canonicalize(path).map_err(|source| TestnetError::File { path: path.to_owned(), source })?;
    Ok(home.to_string_lossy().into_owned())
}

/// The right to change a testnet; ends when it is dropped, or with the process.
pub(crate) struct Lock(File);

impl Lock {
    pub(crate) async fn take(folder: &Folder) -> Result<Self, TestnetError> {
        let path = folder.lock_file();
        let failed = |source| TestnetError::File { path: path.clone(), source };
        let file = File::create(&path).map_err(failed)?;
        let deadline = tokio::time::Instant::now() + LOCK_PATIENCE;
        let mut attempts = tokio::time::interval(Duration::from_millis(20));
        loop {
            // The system tells nobody when a lock is given up, so this asks again and again.
            attempts.tick().await;
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if tokio::time::Instant::now() > deadline => {
                    return Err(TestnetError::Busy { folder: folder.path().to_owned() });
                }
                Err(TryLockError::WouldBlock) => {}
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file gives the lock up as well, so a failure here is of no consequence.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_back_and_a_foreign_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::at(folder.path()).unwrap();
        fs::create_dir_all(folder.path()).unwrap();
        assert_eq!(State::read(&folder).unwrap(), None);
        let mut state = State::new(4, Durability::Memory);
        state.replicas[1] = ProcessId::of(std::process::id());
        state.lied.insert(ReplicaId(2));
        state.write(&folder).unwrap();
        let read = State::read(&folder).unwrap().unwrap();
        assert_eq!(read, State { home: home(&folder).unwrap(), ..state.clone() });
        assert!(state.living(ReplicaId(1)).is_some());
        assert!(state.living(ReplicaId(0)).is_none() && state.living(ReplicaId(9)).is_none());
        fs::write(folder.state_file(), "{\"format\":7}").unwrap();
        assert!(matches!(State::read(&folder), Err(TestnetError::Damaged { .. })));
    }

    #[test]
    fn a_copy_does_not_command_the_processes_of_the_original() {
        let parent = tempfile::tempdir().unwrap();
        let [original, copy, link] = ["original", "copy", "link"].map(|name| parent.path().join(name));
        fs::create_dir(&original).unwrap();
        fs::create_dir(&copy).unwrap();
        std::os::unix::fs::symlink(&original, &link).unwrap();
        let [original, copy, link] = [original, copy, link].map(|path| Folder::at(&path).unwrap());
        let mut state = State::new(4, Durability::Sync);
        state.replicas[1] = ProcessId::of(std::process::id());
        state.write(&original).unwrap();
        fs::copy(original.state_file(), copy.state_file()).unwrap();
        assert!(State::read(&original).unwrap().is_some() && State::read(&link).unwrap().is_some());
        let refused = State::read(&copy).unwrap_err().to_string();
        assert!(refused.contains("is a copy of") && refused.contains("original"), "{refused}");
        state.replicas[1] = None;
        state.write(&original).unwrap();
        fs::copy(original.state_file(), copy.state_file()).unwrap();
        assert!(State::read(&copy).unwrap().is_some(), "nothing runs");
    }

    #[test]
    fn a_folder_that_was_moved_goes_on_commanding() {
        let parent = tempfile::tempdir().unwrap();
        let [before, after] = ["before", "after"].map(|name| parent.path().join(name));
        fs::create_dir(&before).unwrap();
        let folder = Folder::at(&before).unwrap();
        let mut state = State::new(4, Durability::Sync);
        state.replicas[1] = ProcessId::of(std::process::id());
        state.write(&folder).unwrap();
        fs::rename(&before, &after).unwrap();
        let moved = Folder::at(&after).unwrap();
        assert!(State::read(&moved).unwrap().is_some());
        // Another testnet may have taken the place since.
        fs::create_dir(&before).unwrap();
        State::new(4, Durability::Sync).write(&folder).unwrap();
        assert!(State::read(&moved).unwrap().is_some());
    }
}
