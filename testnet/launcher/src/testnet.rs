//! A testnet as a whole: making it, starting it, finding it again, stopping it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use pbft_client::{Client, ClientError, ClientSettings, Connector};
use pbft_crypto::{SecretKey, key_file};
use pbft_messages::{Configuration, ParametersTable, ReplicaId};
use pbft_service::kv::Operation;

use crate::control::Control;
use crate::create::{SPARE_CLIENTS, choose_ports, create, prepare, read_cluster_file, write_cluster_file};
use crate::launch::{Started, spawn};
use crate::process::{Condition, ProcessId, Signal};
use crate::state::{Lock, State};
use crate::{Durability, Folder, Lifetime, Program, TestnetError};

/// How often new ports are tried when somebody else takes one between its choice and its use.
const PORT_CHOICES: usize = 3;

/// How long a new cluster may take to execute its first operation.
const FIRST_OPERATION: Duration = Duration::from_secs(30);

/// How long a replica may take to stop in good order.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How long the kernel may take to end a killed process.
pub(crate) const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where. A folder that does not exist or is empty gets a new testnet; one that holds a stopped testnet has it
    /// started again, with what is on its disk.
    pub folder: PathBuf,
    /// How many replicas; `None` means as many as the folder's testnet has, or 4.
    pub n: Option<usize>,
    /// The durability; `None` means that of the folder's testnet, or `sync`.
    pub durability: Option<Durability>,
    /// The parameters of a new cluster.
    pub parameters: ParametersTable,
    /// How many clients a new cluster admits besides `client.key` and the [`SPARE_CLIENTS`]; their keys are
    /// [`Folder::spare_client_key`] from that number on.
    pub more_clients: usize,
    /// How long the replicas live.
    pub lifetime: Lifetime,
    /// The replicas' program.
    pub program: Program,
    /// Replicas that are made and not started: [`Testnet::start_one`] does it later.
    pub late: BTreeSet<ReplicaId>,
}

impl Options {
    /// A detached testnet in `folder`, of this very program.
    ///
    /// # Errors
    /// See [`Program::current`].
    pub fn new(folder: impl Into<PathBuf>) -> std::io::Result<Self> {
        Ok(Self {
            folder: folder.into(),
            n: None,
            durability: None,
            parameters: ParametersTable::default(),
            more_clients: 0,
            lifetime: Lifetime::Detached,
            program: Program::current()?,
            late: BTreeSet::new(),
        })
    }
}

/// A cluster of replica processes on this machine.
///
/// What is known of the processes is on disk, so any number of these may stand for one testnet, in different
/// processes too. Tethered replicas are killed when the one that started them is dropped.
#[derive(Debug)]
pub struct Testnet {
    folder: Folder,
    configuration: Configuration,
    pub(crate) lifetime: Lifetime,
    pub(crate) program: Program,
    /// The processes that this one started, to look after them when they end; and the far ends of their tethers.
    children: BTreeMap<ReplicaId, Child>,
    /// Whether dropping this kills the replicas.
    holds: bool,
}

impl Testnet {
    /// Makes a testnet, or starts a stopped one; returns when every replica serves, and a client has been answered.
    ///
    /// # Errors
    /// [`TestnetError`]; no process is left running then. Dropping the future leaves none either.
    pub async fn up(options: Options) -> Result<Self, TestnetError> {
        let path = options.folder.clone();
        let file = |source| TestnetError::File { path: path.clone(), source };
        let folder = Folder::at(&options.folder).map_err(file)?;
        let n = options.n.unwrap_or(4);
        if !folder.cluster_file().exists() {
            prepare(&folder, n)?;
        }
        let _lock = Lock::take(&folder).await?;
        // Another command may have made the testnet while this one waited for the lock.
        if !folder.cluster_file().exists() {
            create(&folder, n, SPARE_CLIENTS + options.more_clients, options.parameters.clone())?;
        }
        let (_, configuration) = read_cluster_file(&folder)?;
        let state = match State::read(&folder)? {
            Some(state) if state.durability == Durability::Memory => {
                return Err(forgotten(&folder, &options, state));
            }
            Some(state) => state,
            None => State::new(configuration.n(), options.durability.unwrap_or_default()),
        };
        stopped(&folder, &options, state)?.write(&folder)?;
        let Options { lifetime, program, late, .. } = options;
        let mut testnet =
            Self { folder, configuration, lifetime, program, children: BTreeMap::new(), holds: true };
        testnet.start_all(&late).await?;
        testnet.first_operation().await?;
        testnet.holds = lifetime == Lifetime::Tethered;
        Ok(testnet)
    }

    /// Finds a testnet again, whether it runs or not.
    ///
    /// # Errors
    /// [`TestnetError`]: among others if there is none in the folder.
    pub fn open(folder: &Path) -> Result<Self, TestnetError> {
        let file = |source| TestnetError::File { path: folder.to_owned(), source };
        let folder = Folder::at(folder).map_err(file)?;
        let (_, configuration) = read_cluster_file(&folder)?;
        // A cluster file may be somebody else's: this one is written by whoever starts a testnet.
        if State::read(&folder)?.is_none() {
            return Err(TestnetError::NoTestnet { folder: folder.path().to_owned() });
        }
        let program = Program::current().map_err(file)?;
        let lifetime = Lifetime::Detached;
        Ok(Self { folder, configuration, lifetime, program, children: BTreeMap::new(), holds: false })
    }

    /// Where it keeps what.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The cluster that its replicas make up.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The key of the client that the cluster admits.
    ///
    /// # Errors
    /// [`TestnetError::Key`]
    pub fn client_key(&self) -> Result<SecretKey, TestnetError> {
        Ok(key_file::read(&self.folder.client_key())?)
    }

    /// Opens client sessions with the cluster.
    ///
    /// # Errors
    /// [`TestnetError`], if there is no key or no socket.
    pub fn connector(&self, settings: ClientSettings) -> Result<Connector, TestnetError> {
        let connector = Connector::new(&self.configuration, self.client_key()?, settings);
        connector.map_err(|error| TestnetError::NoService(error.to_string()))
    }

    /// The setting that the replicas are started with.
    ///
    /// # Errors
    /// [`TestnetError`], if the testnet's files cannot be read.
    pub fn durability(&self) -> Result<Durability, TestnetError> {
        Ok(self.state()?.durability)
    }

    /// Stops every replica in good order, and those that do not stop by force; returns when all have ended. How many
    /// were running.
    ///
    /// # Errors
    /// [`TestnetError`]
    pub async fn down(&mut self) -> Result<usize, TestnetError> {
        let lock = Lock::take(&self.folder).await?;
        let mut state = self.state()?;
        let living = self.living(&state);
        for (replica, process) in &living {
            self.signal(*replica, *process, Signal::TERM)?;
            // A paused process hears nothing but this and SIGKILL.
            self.signal(*replica, *process, Signal::CONT)?;
        }
        let deadline = tokio::time::Instant::now() + STOP_PATIENCE;
        for (replica, process) in &living {
            let patience = deadline.saturating_duration_since(tokio::time::Instant::now());
            if !self.wait(*replica, *process, patience).await {
                self.signal(*replica, *process, Signal::KILL)?;
                self.wait(*replica, *process, KILL_PATIENCE).await;
            }
        }
        state.replicas.fill(None);
        state.write(&self.folder)?;
        drop(lock);
        Ok(living.len())
    }

    /// The processes of the replicas that have not ended.
    ///
    /// # Errors
    /// [`TestnetError`], if the testnet's files cannot be read.
    pub fn processes(&self) -> Result<Vec<(ReplicaId, ProcessId)>, TestnetError> {
        Ok(self.living(&self.state()?))
    }

    pub(crate) fn state(&self) -> Result<State, TestnetError> {
        let state = State::read(&self.folder)?;
        Ok(state.unwrap_or_else(|| State::new(self.configuration.n(), Durability::default())))
    }

    /// The replica, if there is one of that name.
    ///
    /// # Errors
    /// [`TestnetError::UnknownReplica`]
    pub fn known(&self, replica: ReplicaId) -> Result<ReplicaId, TestnetError> {
        let n = self.configuration.n();
        if replica.index() < n {
            Ok(replica)
        } else {
            Err(TestnetError::UnknownReplica { replica, last: n - 1 })
        }
    }

    /// Where a replica takes commands.
    pub(crate) fn control(&self, replica: ReplicaId) -> Control {
        Control::new(replica, self.folder.data(replica))
    }

    pub(crate) fn signal(
        &self,
        replica: ReplicaId,
        process: ProcessId,
        signal: Signal,
    ) -> Result<bool, TestnetError> {
        let pid = process.pid;
        process.signal(signal).map_err(|source| TestnetError::Signal { replica, pid, source })
    }

    /// Waits until a replica's process has ended, and looks after it if it is a child of this one.
    pub(crate) async fn wait(&mut self, replica: ReplicaId, process: ProcessId, patience: Duration) -> bool {
        let ended = process.ended(patience).await;
        if ended && let Some(mut child) = self.children.remove(&replica) {
            // It has ended, so this does not wait; only its exit code is fetched, which nobody asks for.
            let _ = child.wait();
        }
        ended
    }

    /// Starts one replica's process; it need not serve yet.
    pub(crate) fn start(&mut self, replica: ReplicaId, state: &mut State) -> Result<Started, TestnetError> {
        let (child, started) = spawn(&self.program, &self.folder, replica, state.durability, self.lifetime)?;
        self.children.insert(replica, child);
        state.replicas[replica.index()] = Some(started.process);
        state.write(&self.folder)?;
        Ok(started)
    }

    /// Waits until a replica that was just started listens. If it ended instead, the error holds its exit code.
    pub(crate) async fn serves(&mut self, started: &Started) -> Result<(), TestnetError> {
        let mut result = started.serves(&self.folder).await;
        if let Err(TestnetError::DidNotStart { code, .. }) = &mut result
            && started.process.condition() == Condition::Dead
            && let Some(mut child) = self.children.remove(&started.replica)
        {
            // It has ended, so this does not wait.
            *code = child.wait().ok().and_then(|status| u8::try_from(status.code()?).ok());
        }
        result
    }

    fn living(&self, state: &State) -> Vec<(ReplicaId, ProcessId)> {
        let replicas = self.configuration.replicas();
        replicas.filter_map(|replica| Some((replica, state.living(replica)?.0))).collect()
    }

    async fn start_all(&mut self, late: &BTreeSet<ReplicaId>) -> Result<(), TestnetError> {
        for choice in 1.. {
            match self.try_start_all(late).await {
                Ok(()) => break,
                // The replica names the port; which one it is does not matter here, as all are chosen anew.
                Err(error) if choice < PORT_CHOICES && error.is_port_in_use() => {
                    self.kill_all().await?;
                    let (mut file, _) = read_cluster_file(&self.folder)?;
                    choose_ports(&mut file, &self.folder)?;
                    write_cluster_file(&self.folder, &file)?;
                    (_, self.configuration) = read_cluster_file(&self.folder)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn try_start_all(&mut self, late: &BTreeSet<ReplicaId>) -> Result<(), TestnetError> {
        let mut state = self.state()?;
        let replicas: Vec<_> = self.configuration.replicas().filter(|it| !late.contains(it)).collect();
        let mut all = Vec::with_capacity(replicas.len());
        for replica in replicas {
            all.push(self.start(replica, &mut state)?);
        }
        for started in all {
            self.serves(&started).await?;
        }
        Ok(())
    }

    /// Ends all replicas at once, without a word.
    ///
    /// # Errors
    /// [`TestnetError`]
    pub(crate) async fn kill_all(&mut self) -> Result<(), TestnetError> {
        let state = self.state()?;
        let living = self.living(&state);
        for (replica, process) in &living {
            self.signal(*replica, *process, Signal::KILL)?;
        }
        for (replica, process) in living {
            self.wait(replica, process, KILL_PATIENCE).await;
        }
        Ok(())
    }

    /// Has a client read something, which takes the whole cluster's agreement.
    async fn first_operation(&self) -> Result<(), TestnetError> {
        let settings = ClientSettings { timeout: FIRST_OPERATION, ..ClientSettings::default() };
        let asked = async {
            let client = Client::connect(&self.configuration, self.client_key()?, settings).await;
            let answered = match client {
                Ok(client) => client.execute(Operation::get("any").encode()).await,
                Err(error) => Err(error),
            };
            answered.map_err(|error: ClientError| {
                let folder = self.folder.path().display();
                TestnetError::NoService(format!("{error}; the logs are in the replicas' folders in {folder}"))
            })
        };
        asked.await.map(drop)
    }
}

/// A stopped testnet's state, if it is what was asked for.
fn stopped(folder: &Folder, options: &Options, mut state: State) -> Result<State, TestnetError> {
    let path = || folder.path().to_owned();
    let n = state.replicas.len();
    let running = (0..n).filter(|index| state.living(ReplicaId(*index as u16)).is_some()).count();
    if running > 0 {
        return Err(TestnetError::AlreadyRunning { folder: path(), running, n });
    }
    let different = |has: String, asked: String| TestnetError::Different { folder: path(), has, asked };
    if let Some(asked) = options.n.filter(|asked| *asked != n) {
        return Err(different(format!("{n} replicas"), asked.to_string()));
    }
    if let Some(asked) = options.durability.filter(|asked| *asked != state.durability) {
        return Err(different(format!("durability {}", state.durability), asked.to_string()));
    }
    state.replicas.fill(None);
    Ok(state)
}

/// Why a testnet whose replicas keep their votes in memory is not started a second time.
fn forgotten(folder: &Folder, options: &Options, state: State) -> TestnetError {
    let forgotten = TestnetError::Forgotten { folder: folder.path().to_owned() };
    stopped(folder, options, state).err().unwrap_or(forgotten)
}

impl Drop for Testnet {
    fn drop(&mut self) {
        if !self.holds {
            return;
        }
        for child in self.children.values_mut() {
            // Failures mean that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
