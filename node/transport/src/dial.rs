//! One attempt to connect, by either kind of dialing side.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use tokio::time::timeout;

use pbft_crypto::{PublicKey, SecretKey};

use crate::close::{self, Close, Refusal};
use crate::hello::{Hello, HelloError};
use crate::quic::{HANDSHAKE_TIMEOUT, HELLO_TIMEOUT};
use crate::tls::SERVER_NAME;

/// Why an attempt to connect to a replica failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The replica is there, has the expected key, and does not want the connection. Trying again will not help
    /// until something is changed, except for [`Refusal::Busy`] and the like.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Somebody is there, with another key than the expected one.
    #[error("whoever listens there has another key than the expected replica")]
    WrongKey,
    /// Nobody answered in time: the replica is down, unreachable or overloaded.
    #[error("no answer; the replica is down, unreachable or overloaded")]
    NoAnswer,
    /// The replica did not follow the protocol of the hello.
    #[error("the answer to the hello is malformed or wrongly signed")]
    BadAnswer,
    /// The address cannot be dialed, or the connection was lost at once.
    #[error("{0}")]
    Failed(String),
}

impl DialError {
    pub(crate) fn of(error: &ConnectionError) -> Self {
        if let Some(refusal) = close::refusal(error) {
            return Self::Refused(refusal);
        }
        match error {
            _ if close::showed_another_key(error) => Self::WrongKey,
            ConnectionError::TimedOut => Self::NoAnswer,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// A replica to dial, and what to say there.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) config: ClientConfig,
    pub(crate) address: SocketAddr,
    pub(crate) key: PublicKey,
    pub(crate) identity: Arc<SecretKey>,
    pub(crate) hello: Hello,
}

impl Target {
    /// Connects, says hello and waits for the answer. The streams are the hello's.
    pub(crate) async fn dial(
        &self,
        endpoint: &Endpoint,
    ) -> Result<(Connection, SendStream, RecvStream), DialError> {
        let connecting = endpoint
            .connect_with(self.config.clone(), self.address, SERVER_NAME)
            .map_err(|error| DialError::Failed(error.to_string()))?;
        let connection = timeout(HANDSHAKE_TIMEOUT, connecting)
            .await
            .map_err(|_| DialError::NoAnswer)?
            .map_err(|error| DialError::of(&error))?;
        let hello = timeout(HELLO_TIMEOUT, self.hello.say(&connection, &self.identity, &self.key));
        let error = match hello.await {
            Ok(Ok((send, receive))) => return Ok((connection, send, receive)),
            Ok(Err(HelloError::Connection(error))) => DialError::of(&error),
            Ok(Err(HelloError::BadAnswer)) => DialError::BadAnswer,
            Err(_) => DialError::NoAnswer,
        };
        Close::Requested.apply(&connection);
        Err(error)
    }
}
