//! Where a testnet keeps what on disk.

use std::path::{Path, PathBuf};

use pbft_messages::ReplicaId;
use pbft_node::DataFolder;

/// A testnet's folder. Nothing here looks whether the files exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, which is made absolute: replicas run in a folder of their own.
    ///
    /// # Errors
    /// The operating system's, if the current folder is needed and gone.
    pub fn at(path: &Path) -> std::io::Result<Self> {
        std::path::absolute(path).map(Self)
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `cluster.toml`, public: for replicas and clients alike.
    #[must_use]
    pub fn cluster_file(&self) -> PathBuf {
        self.0.join("cluster.toml")
    }

    /// The key of an admitted client.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.0.join("client.key")
    }

    /// The key of another admitted client, which nobody uses but those who try malicious ones.
    #[must_use]
    pub fn spare_client_key(&self, index: usize) -> PathBuf {
        self.0.join(format!("spare-client-{index}.key"))
    }

    /// Which processes run.
    #[must_use]
    pub fn state_file(&self) -> PathBuf {
        self.0.join("testnet.json")
    }

    /// Held by the one command that changes something.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.0.join("testnet.lock")
    }

    /// A replica's own folder, with its store.
    #[must_use]
    pub fn replica(&self, replica: ReplicaId) -> PathBuf {
        self.0.join(replica.to_string())
    }

    /// The same as the replica itself sees it.
    #[must_use]
    pub fn data(&self, replica: ReplicaId) -> DataFolder {
        DataFolder::new(self.replica(replica))
    }

    /// A replica's secret key.
    #[must_use]
    pub fn replica_key(&self, replica: ReplicaId) -> PathBuf {
        self.replica(replica).join("replica.key")
    }

    /// What a replica writes for people.
    #[must_use]
    pub fn log(&self, replica: ReplicaId) -> PathBuf {
        self.replica(replica).join("replica.log")
    }

    /// The files of a replica's typed events, one JSON object a line, the older file first. It need not exist.
    #[must_use]
    pub fn events(&self, replica: ReplicaId) -> [PathBuf; 2] {
        let data = self.data(replica);
        [data.older_events(), data.events()]
    }
}
