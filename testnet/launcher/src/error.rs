//! Why something could not be done with a testnet, and the exit code that fits.

use std::io;
use std::path::PathBuf;

use pbft_messages::{InvalidConfiguration, ReplicaId};

use crate::ClusterStatus;

/// Why something could not be done with a testnet. Each text is one line that names the thing and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum TestnetError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file of the testnet is not as it was written.
    #[error("{} is damaged: {why}; stop its replicas by hand and start anew in another folder", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is no testnet in the folder.
    #[error("no testnet in {}: start one with `pbft-testnet up -n 4 --dir {}`", folder.display(), folder.display())]
    NoTestnet {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder holds something else.
    #[error("{} is not empty and holds no testnet: name an empty folder, or one that does not exist", folder.display())]
    ForeignFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// Replicas of the testnet are running.
    #[error(
        "the testnet in {} is already running ({running} of {n} replicas): stop it with `pbft-testnet down --dir {}`, or start single replicas with `restart`", folder.display(), folder.display()
    )]
    AlreadyRunning {
        /// The folder.
        folder: PathBuf,
        /// How many replicas run.
        running: usize,
        /// How many there are.
        n: usize,
    },
    /// The testnet has another size or setting than asked for.
    #[error("the testnet in {} has {has}, not {asked}: leave the flag away, or choose another folder", folder.display())]
    Different {
        /// The folder.
        folder: PathBuf,
        /// What it has.
        has: String,
        /// What was asked for.
        asked: String,
    },
    /// All replicas kept their votes in memory, and have stopped (D8).
    #[error(
        "the replicas of the testnet in {} kept their votes in memory, and all have stopped, so nobody is left who remembers: start a new testnet in another folder", folder.display()
    )]
    Forgotten {
        /// The folder.
        folder: PathBuf,
    },
    /// Another command is changing the testnet.
    #[error("another command is at work on the testnet in {}: try again when it is done", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// The configuration is bad.
    #[error("{}: {source}", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: InvalidConfiguration,
    },
    /// What was asked for makes no cluster.
    #[error(transparent)]
    Impossible(#[from] InvalidConfiguration),
    /// A key file is bad.
    #[error(transparent)]
    Key(#[from] pbft_crypto::key_file::KeyFileError),
    /// A replica's own files do not fit together.
    #[error(transparent)]
    Setup(#[from] pbft_node::SetupError),
    /// A replica's store could not be made.
    #[error(transparent)]
    Store(#[from] pbft_node::StoreError),
    /// The system has no randomness to make keys of.
    #[error("no randomness for new keys: {0}")]
    Randomness(String),
    /// There is no replica of that name.
    #[error("there is no {replica} in this testnet: its replicas are r0 to r{last}")]
    UnknownReplica {
        /// The name asked for.
        replica: ReplicaId,
        /// The last replica's index.
        last: usize,
    },
    /// The replica does not run.
    #[error("{replica} is not running: start it with `pbft-testnet restart {replica} --dir {}`", folder.display())]
    NotRunning {
        /// The replica.
        replica: ReplicaId,
        /// The testnet's folder.
        folder: PathBuf,
    },
    /// The replica runs already.
    #[error("{replica} is running already")]
    Running {
        /// The replica.
        replica: ReplicaId,
    },
    /// The replica is paused.
    #[error("{replica} is paused: let it go on with `pbft-testnet resume {replica} --dir {}`", folder.display())]
    Paused {
        /// The replica.
        replica: ReplicaId,
        /// The testnet's folder.
        folder: PathBuf,
    },
    /// A replica's process could not be started, or ended before it served.
    #[error("{replica} did not start: {why}; its log is {}", log.display())]
    DidNotStart {
        /// The replica.
        replica: ReplicaId,
        /// The last line of its log, or what the system said.
        why: String,
        /// Its log.
        log: PathBuf,
        /// What its process ended with, if it did.
        code: Option<u8>,
    },
    /// A replica's process could not be signalled.
    #[error("{replica} (process {pid}): {source}")]
    Signal {
        /// The replica.
        replica: ReplicaId,
        /// Its process.
        pid: u32,
        /// What the operating system said.
        source: io::Error,
    },
    /// The replica runs and does not answer.
    #[error("{replica} does not answer: {why}")]
    NoAnswer {
        /// The replica.
        replica: ReplicaId,
        /// What happened.
        why: String,
    },
    /// The replica refused a command.
    #[error("{replica}: {why}")]
    Refused {
        /// The replica.
        replica: ReplicaId,
        /// What it said.
        why: String,
    },
    /// Only some replicas did what was asked of all.
    #[error("{failed}; in effect at: {obeyed}; {remedy}")]
    InPart {
        /// What happened, with whom.
        failed: String,
        /// Who did it.
        obeyed: String,
        /// What to try.
        remedy: &'static str,
    },
    /// More faults than the cluster tolerates.
    #[error(
        "refused, since {used} replicas would be faulty ({who}), and f = {tolerated} are tolerated: {breaks}; --allow-exceed-f (allow_exceed_f = true in a manifest) does it all the same"
    )]
    ExceedsTolerance {
        /// How many replicas would be faulty.
        used: usize,
        /// Which, and why.
        who: String,
        /// How many are tolerated.
        tolerated: usize,
        /// What may break.
        breaks: String,
    },
    /// What was asked for would do nothing.
    #[error("{0}")]
    Pointless(String),
    /// No replica runs.
    #[error("no replica of the testnet in {} is running: start them with `pbft-testnet up --dir {}`", folder.display(), folder.display())]
    NobodyRuns {
        /// The folder.
        folder: PathBuf,
    },
    /// The replicas that run belong to the folder that this one was copied from.
    #[error("{} is a copy of {}, whose replicas are running: name that folder, or stop them before using the copy", folder.display(), original.display())]
    Copied {
        /// The folder.
        folder: PathBuf,
        /// Where the replicas run.
        original: PathBuf,
    },
    /// No replica could be connected to.
    #[error("no replica took a connection: {0}")]
    NoConnection(String),
    /// More clients than there are keys for.
    #[error("{asked} malicious clients: a testnet admits from 1 to {spare} of them, besides its own client")]
    NoSpareClients {
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        spare: usize,
    },
    /// No such strategy.
    #[error(transparent)]
    UnknownStrategy(#[from] pbft_byzantine::UnknownStrategy),
    /// A client gets nothing done.
    #[error("the cluster does not serve: {0}")]
    NoService(String),
}

impl TestnetError {
    /// If more replicas are faulty in this state than are tolerated, the refusal to bring it about.
    pub(crate) fn exceeds(status: &ClusterStatus) -> Option<Self> {
        let breaks = status.breaks()?;
        let (used, tolerated) = (status.faults_in_use, status.faults_tolerated);
        Some(Self::ExceedsTolerance { used, who: status.faulty(), tolerated, breaks })
    }

    /// Whether a replica did not start because somebody else has one of its ports.
    pub(crate) fn is_port_in_use(&self) -> bool {
        matches!(self, Self::DidNotStart { why, .. } if why.contains("port is in use"))
    }

    /// The exit code of a command that ends with this error: 2 for what cannot be reached, 3 for bad input, 5 for an
    /// unhealthy cluster, a replica's own where it did not start, 1 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotRunning { .. }
            | Self::NobodyRuns { .. }
            | Self::NoAnswer { .. }
            | Self::NoConnection(_)
            | Self::Paused { .. }
            | Self::InPart { .. } => 2,
            Self::NoTestnet { .. }
            | Self::ForeignFolder { .. }
            | Self::Different { .. }
            | Self::Forgotten { .. }
            | Self::Configuration { .. }
            | Self::Impossible(_)
            | Self::Key(_)
            | Self::Setup(_)
            | Self::UnknownReplica { .. }
            | Self::ExceedsTolerance { .. }
            | Self::Pointless(_)
            | Self::Copied { .. }
            | Self::NoSpareClients { .. }
            | Self::UnknownStrategy(_) => 3,
            Self::DidNotStart { code, .. } => code.unwrap_or(1),
            Self::NoService(_) => 5,
            Self::File { .. }
            | Self::Damaged { .. }
            | Self::Store(_)
            | Self::AlreadyRunning { .. }
            | Self::Running { .. }
            | Self::Busy { .. }
            | Self::Randomness(_)
            | Self::Signal { .. }
            | Self::Refused { .. } => 1,
        }
    }
}
