//! What the main job and manifests share: a cluster under load, acts whose effect is measured, and the verdict.

pub(crate) mod acts;
mod checks;
mod live;
mod report;

use std::time::Duration;

use pbft_client::{ClientSettings, Connector};

use crate::traffic::{Plan, Traffic};
use crate::{Options, Testnet, TestnetError};

pub(crate) use checks::{Case, Judgement, Settled, judge};
pub(crate) use live::Live;
pub use live::Progress;
pub use report::{Check, Verdict};
pub(crate) use report::{empty_table, processor};

/// How long a client of the load waits for one answer: longer than any pause, so that outcomes are known.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// A cluster that is put to the test, and a way to it.
pub(crate) struct Trial {
    pub(crate) testnet: Testnet,
    pub(crate) connector: Connector,
    /// How long anything is waited for before it is given up.
    pub(crate) patience: Duration,
}

impl Trial {
    /// Starts the cluster. Dropping this before [`Trial::end`] kills tethered replicas.
    pub(crate) async fn begin(options: Options, patience: Duration) -> Result<Self, TestnetError> {
        let testnet = Testnet::up(options).await?;
        let settings = ClientSettings { timeout: CLIENT_TIMEOUT, ..ClientSettings::default() };
        let connector = testnet.connector(settings)?;
        Ok(Self { testnet, connector, patience })
    }

    /// Opens the load's sessions.
    pub(crate) async fn traffic(&self, plan: Plan) -> Result<Traffic, String> {
        match tokio::time::timeout(self.patience, Traffic::new(&self.connector, plan)).await {
            Ok(traffic) => traffic.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no session for each within {:?}", self.patience)),
        }
    }

    /// Stops the replicas.
    pub(crate) async fn end(mut self) -> Result<(), TestnetError> {
        self.testnet.down().await?;
        // The replicas are gone, so nobody is left to say farewell to; what this gives up ends with the process.
        let _ = tokio::time::timeout(self.patience, self.connector.shutdown()).await;
        Ok(())
    }
}
