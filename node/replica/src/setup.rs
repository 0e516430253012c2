//! The steps before a replica runs: read the cluster and the key, find out which replica this is, make a data folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pbft_crypto::key_file::{self, KeyFileError};
use pbft_crypto::{PublicKey, SecretKey, Signer as _};
use pbft_messages::{ClusterFile, Configuration, InvalidConfiguration, Member, RecoveryNonce, ReplicaId};

use crate::DataFolder;
use crate::store::{self, Binding, StoreError};

/// Which replica of which cluster this is, with the secret key that proves it.
#[derive(Clone, Debug)]
pub struct Identity {
    configuration: Arc<Configuration>,
    me: ReplicaId,
    key: Arc<SecretKey>,
}

/// Why a cluster file or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The cluster file cannot be read.
    #[error("cluster file {}: {source}", path.display())]
    ClusterFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The cluster file describes no cluster that could work.
    #[error("cluster file {}: {source}", path.display())]
    Cluster {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: InvalidConfiguration,
    },
    /// The key file cannot be read.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The key is not this cluster's.
    #[error(
        "key {key} of {} is not any replica's in {}: use the key file that belongs to this cluster, or enter the key there", key_file.display(), cluster_file.display()
    )]
    NotAMember {
        /// The public key.
        key: Box<PublicKey>,
        /// Where the key is from.
        key_file: PathBuf,
        /// Where it should be.
        cluster_file: PathBuf,
    },
}

impl Identity {
    /// Reads `cluster.toml` and a key file, and finds the replica that the key belongs to.
    ///
    /// # Errors
    /// [`SetupError`], in one line.
    pub fn load(cluster_file: &Path, key_file: &Path) -> Result<Self, SetupError> {
        let configuration = Arc::new(read_cluster(cluster_file)?);
        let key = Arc::new(key_file::read(key_file)?);
        match Self::new(configuration, key.clone()) {
            Some(identity) => Ok(identity),
            None => Err(SetupError::NotAMember {
                key: Box::new(key.public_key()),
                key_file: key_file.into(),
                cluster_file: cluster_file.into(),
            }),
        }
    }

    /// The replica of `configuration` that `key` belongs to, if there is one.
    #[must_use]
    pub fn new(configuration: Arc<Configuration>, key: Arc<SecretKey>) -> Option<Self> {
        let me = configuration.replica_of(&key.public_key())?;
        Some(Self { configuration, me, key })
    }

    /// The cluster.
    #[must_use]
    pub fn configuration(&self) -> &Arc<Configuration> {
        &self.configuration
    }

    /// The replica's id in it.
    #[must_use]
    pub fn me(&self) -> ReplicaId {
        self.me
    }

    /// The replica's key.
    #[must_use]
    pub fn key(&self) -> &Arc<SecretKey> {
        &self.key
    }

    /// The replica's entry in the cluster file.
    pub(crate) fn member(&self) -> &Member {
        // It is by this entry that the id was found.
        self.configuration.member(self.me).expect("a replica is a member of its own cluster")
    }

    /// What binds a store to this replica.
    pub(crate) fn binding(&self) -> Binding {
        Binding::new(&self.configuration, &self.key.public_key())
    }
}

/// Reads and checks a `cluster.toml`.
///
/// # Errors
/// [`SetupError::ClusterFile`] or [`SetupError::Cluster`].
pub fn read_cluster(path: &Path) -> Result<Configuration, SetupError> {
    let text =
        fs::read_to_string(path).map_err(|source| SetupError::ClusterFile { path: path.into(), source })?;
    ClusterFile::parse(&text)
        .and_then(|file| file.configuration())
        .map_err(|source| SetupError::Cluster { path: path.into(), source })
}

/// Makes the data folder and the store of a replica that has never run.
///
/// # Errors
/// [`StoreError::Exists`] if there is a store: it is never overwritten. [`StoreError::Io`].
pub fn init(identity: &Identity, data: &DataFolder) -> Result<(), StoreError> {
    store::create(data, &identity.binding(), &pbft_protocol::initial_records())
}

/// Makes the store of a replica that ran before and has lost its votes: a lost or damaged disk, or a stop in memory mode.
/// Started, it recovers (D8): it votes nothing until it is past everything that it may have voted for. Until then it is
/// one of the f replicas that may be faulty; more than f at once cannot recover.
///
/// An old store that is damaged, or that `discard` gives up though it is sound, is kept under the name given back.
///
/// # Errors
/// [`StoreError::Readable`] if there is a sound store, unless `discard`. [`StoreError`], if the old store is in use, or
/// someone else's.
pub fn recover(identity: &Identity, data: &DataFolder, discard: bool) -> Result<Option<PathBuf>, StoreError> {
    let nonce = RecoveryNonce(rand::random());
    store::recreate(data, &identity.binding(), pbft_protocol::recovery_records(nonce), discard)
}
