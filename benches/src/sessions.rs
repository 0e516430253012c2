//! Opens a run's sessions.

use tokio::task::JoinSet;

use pbft_client::{ClientError, Connector, KvClient, KvError};

use crate::order::Order;
use crate::tally::Kind;
use crate::workload::key;

/// Why there are no sessions. Nothing was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionsError {
    /// A session could not be opened.
    #[error("session {number} of {count}: {error}")]
    Open {
        /// Which, counted from 1 in the order of answers.
        number: usize,
        /// How many there should be.
        count: usize,
        /// Why.
        error: ClientError,
    },
    /// The sessions are open, but a first read was not answered as the key-value store would.
    #[error("the first read failed: {0}")]
    Read(KvError),
}

/// Opens so many sessions at once, and reads a key, so that a cluster with another service is found out.
///
/// # Errors
/// [`SessionsError`], the first.
pub async fn open_sessions(
    connector: &Connector,
    count: usize,
    order: &Order,
) -> Result<Vec<KvClient>, SessionsError> {
    let mut opening = JoinSet::new();
    for _ in 0..count {
        let connector = connector.clone();
        opening.spawn(async move { connector.open_session().await });
    }
    let mut sessions = Vec::with_capacity(count);
    while let Some(opened) = opening.join_next().await {
        // The task neither panics nor is aborted, unless the runtime is being shut down.
        match opened.unwrap_or(Err(ClientError::ShutDown)) {
            Ok(client) => sessions.push(KvClient::new(client)),
            Err(error) => return Err(SessionsError::Open { number: sessions.len() + 1, count, error }),
        }
    }
    if let Some(first) = sessions.first() {
        let done = first.get(key(0)).await.map_err(SessionsError::Read)?;
        order.answered(Kind::Read, 0, done.revision);
    }
    Ok(sessions)
}
