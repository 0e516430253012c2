//! What can happen to a replica's process and disk, done to a running testnet.

use std::fs;
use std::time::Duration;

use tokio::time::Instant;

use pbft_messages::ReplicaId;
use pbft_node::Identity;

use crate::process::{Condition, ProcessId, Signal};
use crate::state::{Lock, State};
use crate::testnet::KILL_PATIENCE;
use crate::{Folder, Testnet, TestnetError};

/// How long a port of a replica that comes back may be somebody else's.
const PORT_PATIENCE: Duration = Duration::from_secs(3);

impl Testnet {
    /// Ends a replica's process with SIGKILL; returns when it has ended.
    ///
    /// # Errors
    /// [`TestnetError`], among others if it is not running.
    pub async fn kill(&mut self, replica: ReplicaId) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        let mut state = self.state()?;
        let (process, _) = self.running(replica)?;
        self.end(replica, process).await?;
        state.replicas[replica.index()] = None;
        state.write(self.folder())
    }

    /// Ends every replica that runs with SIGKILL, all at once.
    ///
    /// # Errors
    /// [`TestnetError`]
    pub async fn kill_everything(&mut self) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        self.kill_all().await?;
        let mut state = self.state()?;
        state.replicas.fill(None);
        state.write(self.folder())
    }

    /// Stops a replica's process where it is (SIGSTOP); it keeps its memory and its sockets.
    ///
    /// # Errors
    /// [`TestnetError`], among others if it is not running.
    pub async fn pause(&mut self, replica: ReplicaId) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        let (process, _) = self.running(replica)?;
        self.signal(replica, process, Signal::STOP).map(drop)
    }

    /// Lets a paused replica go on (SIGCONT); does nothing to one that is not paused.
    ///
    /// # Errors
    /// [`TestnetError`], among others if it is not running.
    pub async fn resume(&mut self, replica: ReplicaId) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        let (process, _) = self.running(replica)?;
        self.signal(replica, process, Signal::CONT).map(drop)
    }

    /// Starts a replica from its disk, after killing it if it runs; returns when it listens, without waiting for a
    /// quorum. It starts honest: a strategy lives in the process that was told it. One that kept its votes in memory
    /// loses them, and rejoins by recovery (D8); until it has recovered it is one of the f.
    ///
    /// # Errors
    /// [`TestnetError`]: among others if that exceeds the faults that the cluster tolerates, unless `allow_exceed_f`.
    pub async fn restart(&mut self, replica: ReplicaId, allow_exceed_f: bool) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        self.known(replica)?;
        // One that never ran has nothing that it could forget.
        let forgets = self.folder().data(replica).memory_mark().exists();
        if forgets {
            self.tolerates(allow_exceed_f, |all| all[replica.index()].recovering = true).await?;
        }
        let mut state = self.state()?;
        if let Some((process, _)) = state.living(replica) {
            self.end(replica, process).await?;
        }
        if forgets {
            recover(self.folder(), replica)?;
        }
        self.start_and_serve(replica, &mut state).await
    }

    /// Starts a replica that does not run from its disk, as [`Testnet::restart`] does.
    ///
    /// # Errors
    /// [`TestnetError`], among others if it runs.
    pub async fn start_one(&mut self, replica: ReplicaId) -> Result<(), TestnetError> {
        if self.running(replica).is_ok() {
            return Err(TestnetError::Running { replica });
        }
        // What is dead does not become worse by that.
        self.restart(replica, false).await
    }

    /// Loses a replica's disk: kills it if it runs, removes everything that it stored but its key, and lets it
    /// rejoin with that key by recovery (D8); returns when it listens. Until it has recovered it is one of the f.
    ///
    /// # Errors
    /// [`TestnetError`]: among others if that exceeds the faults that the cluster tolerates, unless `allow_exceed_f`.
    pub async fn wipe_disk(&mut self, replica: ReplicaId, allow_exceed_f: bool) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        self.known(replica)?;
        self.tolerates(allow_exceed_f, |all| all[replica.index()].recovering = true).await?;
        let mut state = self.state()?;
        if let Some((process, _)) = state.living(replica) {
            self.end(replica, process).await?;
        }
        wipe(self.folder(), replica)?;
        recover(self.folder(), replica)?;
        self.start_and_serve(replica, &mut state).await
    }

    /// Starts a replica; returns when it listens. While it was gone, any socket may have been given one of its ports, a
    /// client's for a moment, say: so it is tried for some time.
    async fn start_and_serve(&mut self, replica: ReplicaId, state: &mut State) -> Result<(), TestnetError> {
        let deadline = Instant::now() + PORT_PATIENCE;
        loop {
            let started = self.start(replica, state)?;
            match self.serves(&started).await {
                Err(error) if error.is_port_in_use() && Instant::now() < deadline => {
                    tokio::time::sleep(PORT_PATIENCE / 20).await;
                }
                served => return served,
            }
        }
    }

    /// The process of a replica that has not ended.
    pub(crate) fn running(&self, replica: ReplicaId) -> Result<(ProcessId, Condition), TestnetError> {
        let living = self.state()?.living(self.known(replica)?);
        living.ok_or_else(|| TestnetError::NotRunning { replica, folder: self.folder().path().to_owned() })
    }

    async fn end(&mut self, replica: ReplicaId, process: ProcessId) -> Result<(), TestnetError> {
        self.signal(replica, process, Signal::KILL)?;
        if self.wait(replica, process, KILL_PATIENCE).await {
            return Ok(());
        }
        let source = std::io::Error::other("it does not end although it was killed");
        Err(TestnetError::Signal { replica, pid: process.pid, source })
    }
}

/// Removes what a replica stored. Its key and its log stay: the one is no part of the disk that is lost, and the
/// other is for people.
fn wipe(folder: &Folder, replica: ReplicaId) -> Result<(), TestnetError> {
    let kept = [folder.replica_key(replica), folder.log(replica)];
    let failed = |source| TestnetError::File { path: folder.replica(replica), source };
    for entry in fs::read_dir(folder.replica(replica)).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if kept.contains(&path) {
            continue;
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(failed)?;
    }
    Ok(())
}

/// Does what `pbft-node recover` does: makes the store of a replica that has run before and lost its votes.
fn recover(folder: &Folder, replica: ReplicaId) -> Result<(), TestnetError> {
    let identity = Identity::load(&folder.cluster_file(), &folder.replica_key(replica))?;
    Ok(pbft_node::recover(&identity, &folder.data(replica), false).map(drop)?)
}
