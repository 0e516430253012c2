//! Opens a run's sessions.

use tokio::task::JoinSet;

use pbft_client::{Client, ClientError, Connector, KvClient, KvError};

use crate::keys::key;
use crate::order::Order;
use crate::tally::Kind;

/// Why there is no load.
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
    /// The sessions are open, but not all keys could be written before the load.
    #[error("writing all keys before the load failed: {0}")]
    Preload(KvError),
    /// A signal came before the load.
    #[error("interrupted before anything was measured")]
    Interrupted,
}

/// Opens so many sessions at once, of the connectors' clients in turn, and reads a key, so that a cluster with another
/// service is found out.
///
/// # Errors
/// [`SessionsError`], the first.
pub(crate) async fn open_sessions(
    connectors: &[Connector],
    count: usize,
    order: &Order,
) -> Result<Vec<Client>, SessionsError> {
    let mut opening = JoinSet::new();
    for connector in connectors.iter().cycle().take(count) {
        let connector = connector.clone();
        opening.spawn(async move { connector.open_session().await });
    }
    let mut sessions = Vec::with_capacity(count);
    while let Some(opened) = opening.join_next().await {
        // The task neither panics nor is aborted, unless the runtime is being shut down.
        match opened.unwrap_or(Err(ClientError::ShutDown)) {
            Ok(client) => sessions.push(client),
            Err(error) => return Err(SessionsError::Open { number: sessions.len() + 1, count, error }),
        }
    }
    if let Some(first) = sessions.first() {
        let done = KvClient::new(first.clone()).get(key(0)).await.map_err(SessionsError::Read)?;
        order.answered(Kind::Read, 0, done.revision);
    }
    Ok(sessions)
}
