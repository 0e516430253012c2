//! A testnet of its own for one experiment.

use std::time::Duration;

use tempfile::TempDir;

use pbft_messages::{ParametersTable, ReplicaId};
use pbft_testnet::{
    ClusterStatus, Durability, Lifetime, Options, Roots, SPARE_CLIENTS, Testnet, TestnetError,
};

use super::{LabError, Subject};

/// How long the replicas may take to agree on who leads, or to work again after a fault.
const PATIENCE: Duration = Duration::from_secs(30);

/// A testnet in a temporary folder. Dropping it ends the replicas and removes the folder.
pub struct Bed {
    // First, so that the replicas have ended when the folder is removed.
    testnet: Testnet,
    /// How many clients the load may come from.
    identities: usize,
    _folder: TempDir,
}

impl Bed {
    /// Starts so many replicas, for load from so many clients; returns when they serve.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn start(n: usize, durability: Durability, identities: usize) -> Result<Self, LabError> {
        let folder = tempfile::Builder::new().prefix("pbft-bench-").tempdir();
        let folder = folder.map_err(LabError::io("a temporary folder"))?;
        let options = Options::new(folder.path()).map_err(LabError::io("the path of this program"))?;
        let options = Options {
            n: Some(n),
            durability: Some(durability),
            parameters: ParametersTable::default(),
            more_clients: identities.saturating_sub(1),
            lifetime: Lifetime::Tethered,
            ..options
        };
        match Testnet::up(options).await {
            Ok(testnet) => Ok(Self { testnet, identities, _folder: folder }),
            Err(error) => {
                if matches!(error, TestnetError::DidNotStart { .. } | TestnetError::NoService(_)) {
                    // The error names logs in it.
                    let _kept = folder.keep();
                }
                Err(error.into())
            }
        }
    }

    /// The testnet.
    #[must_use]
    pub fn testnet(&self) -> &Testnet {
        &self.testnet
    }

    /// The testnet, to do it harm.
    pub fn testnet_mut(&mut self) -> &mut Testnet {
        &mut self.testnet
    }

    /// What to send load to.
    ///
    /// # Errors
    /// [`LabError::Testnet`]
    pub fn subject(&self) -> Result<Subject, LabError> {
        let processes = self
            .testnet
            .processes()?
            .into_iter()
            .map(|(replica, process)| (replica.to_string(), process))
            .collect();
        let folder = self.testnet.folder();
        // The first spare ones are for malicious clients.
        let more = (1..self.identities).map(|number| folder.spare_client_key(SPARE_CLIENTS + number - 1));
        Ok(Subject {
            cluster: self.testnet.configuration().clone(),
            client_keys: std::iter::once(folder.client_key()).chain(more).collect(),
            processes,
        })
    }

    /// The view, and who leads it, once the replicas agree on it.
    ///
    /// # Errors
    /// [`LabError`]: among others if they don't within half a minute.
    pub async fn leader(&self) -> Result<(u64, ReplicaId), LabError> {
        let leader = |status: &ClusterStatus| Some((status.view()?, status.primary()?));
        let leads = |status: &ClusterStatus| {
            leader(status).and_then(|it| status.of(it.1)).is_some_and(|it| it.is_primary == Some(true))
        };
        let status = self.when(leads, "the replicas do not agree who leads").await?;
        leader(&status).ok_or_else(|| LabError::Stuck("nobody leads".into()))
    }

    /// Waits until every replica works.
    ///
    /// # Errors
    /// [`LabError`]: among others if they don't within half a minute.
    pub async fn whole(&self) -> Result<(), LabError> {
        let whole = |status: &ClusterStatus| status.working == status.replicas.len();
        self.when(whole, "not every replica works again").await.map(drop)
    }

    async fn when(
        &self,
        holds: impl FnMut(&ClusterStatus) -> bool,
        otherwise: &str,
    ) -> Result<ClusterStatus, LabError> {
        let status = self.testnet.status_when(PATIENCE, Roots::Spared, holds).await?;
        status.map_err(|_| LabError::Stuck(format!("{otherwise} after {} s", PATIENCE.as_secs())))
    }
}
