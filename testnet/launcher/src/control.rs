//! Speaking to a running replica, within bounded time.

use std::future::Future;
use std::time::Duration;

use serde_json::json;

use pbft_messages::{Evidence, ReplicaId};
use pbft_node::{ControlClient, ControlError, DataFolder, Status};

use crate::TestnetError;
use crate::order::Order;

/// How long a replica may take to answer. It waits two seconds at most for the root of its state.
const PATIENCE: Duration = Duration::from_secs(4);

/// One replica's control socket.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    replica: ReplicaId,
    data: DataFolder,
}

impl Control {
    pub(crate) fn new(replica: ReplicaId, data: DataFolder) -> Self {
        Self { replica, data }
    }

    /// Whether the replica listens.
    pub(crate) async fn is_ready(&self) -> bool {
        self.within(async { self.connect().await?.ready().await }).await.is_ok()
    }

    pub(crate) async fn status(&self, state_root: bool) -> Result<Status, TestnetError> {
        self.within(async { self.connect().await?.status(state_root).await }).await
    }

    /// What the replica has against others; unchecked. What cannot be read is left out.
    pub(crate) async fn evidence(&self) -> Result<Vec<Evidence>, TestnetError> {
        let entries = self.within(async { self.connect().await?.evidence().await }).await?;
        Ok(entries.iter().filter_map(|entry| entry.evidence().ok()).collect())
    }

    /// Has the replica misbehave, or its links, or neither any more.
    pub(crate) async fn order(&self, order: &Order) -> Result<(), TestnetError> {
        self.order_over(&mut self.connection().await?, order).await
    }

    /// A connection for what must not be begun before there is one.
    pub(crate) async fn connection(&self) -> Result<ControlClient, TestnetError> {
        self.within(self.connect()).await
    }

    /// The same as [`Control::order`] over a connection. Without an answer, it may have been obeyed.
    pub(crate) async fn order_over(
        &self,
        connection: &mut ControlClient,
        order: &Order,
    ) -> Result<(), TestnetError> {
        let command = json!({ "command": "fault", "order": order });
        self.within(connection.request(&command)).await.map(drop)
    }

    /// A connection on which the events from this number on come.
    pub(crate) async fn follow(&self, from: u64) -> Result<ControlClient, TestnetError> {
        let following = async {
            let mut client = self.connect().await?;
            client.follow(from).await?;
            Ok(client)
        };
        self.within(following).await
    }

    async fn connect(&self) -> Result<ControlClient, ControlError> {
        ControlClient::connect(&self.data).await
    }

    async fn within<T>(
        &self,
        asked: impl Future<Output = Result<T, ControlError>>,
    ) -> Result<T, TestnetError> {
        let replica = self.replica;
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(ControlError::Refused(why))) => Err(TestnetError::Refused { replica, why }),
            Ok(Err(error)) => Err(TestnetError::NoAnswer { replica, why: error.to_string() }),
            Err(_) => {
                let why = format!("nothing within {} s", PATIENCE.as_secs());
                Err(TestnetError::NoAnswer { replica, why })
            }
        }
    }
}
