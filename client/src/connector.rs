//! Many sessions over one socket.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use pbft_crypto::{SecretKey, Signer as _};
use pbft_messages::{ClientId, Configuration, Refusal};
use pbft_transport::{BindError, ClientEndpoint, LinkLimits, QueueLimits};

use crate::client::Client;
use crate::core::{Core, Settings};
use crate::error::ClientError;
use crate::links::LinkSet;
use crate::session::{Session, Standing};
use crate::turnstile::Turnstile;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// How long a call waits for its answer. [`Client::with_timeout`] changes it for single calls.
    pub timeout: Duration,
    /// The most operations of one session that may be unanswered, sent or not; further calls wait for a place.
    pub waiting: usize,
    /// When to send again; `None` for what suits the cluster's view timeout.
    pub retry: Option<Settings>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(20), waiting: 4096, retry: None }
    }
}

/// Opens sessions of one client with one cluster, all over one UDP socket. Clones share the socket.
///
/// A cluster keeps a limited number of sessions a client key (`sessions`, 256 by default), and replicas limit the
/// connections of one key: for more, use several keys with [`Connector::with_identity`].
#[derive(Clone)]
pub struct Connector {
    endpoint: ClientEndpoint,
    configuration: Arc<Configuration>,
    identity: Arc<SecretKey>,
    settings: ClientSettings,
    turnstile: Arc<Turnstile>,
}

/// How often an opening that was refused is tried again under a higher id: another process with the same key may
/// have opened a session at the same moment.
const OPENINGS: usize = 5;

impl Connector {
    /// Opens a socket on a port that the system chooses. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ClientError::Socket`]
    pub fn new(
        cluster: &Configuration,
        identity: SecretKey,
        settings: ClientSettings,
    ) -> Result<Self, ClientError> {
        let configuration = Arc::new(cluster.clone());
        let frame_bytes = configuration.parameters().frame_bytes;
        let limits = LinkLimits {
            frame_bytes,
            outgoing: QueueLimits { frames: 1024, bytes: frame_bytes.saturating_mul(2) },
            ..LinkLimits::default()
        };
        let identity = Arc::new(identity);
        let cluster = configuration.scope().cluster;
        let endpoint = ClientEndpoint::new(identity.clone(), cluster, limits).map_err(socket)?;
        Ok(Self { endpoint, configuration, identity, settings, turnstile: Arc::default() })
    }

    /// The same socket for another client key.
    ///
    /// # Errors
    /// [`ClientError::Socket`] if the key does not work with TLS.
    pub fn with_identity(&self, identity: SecretKey) -> Result<Self, ClientError> {
        let identity = Arc::new(identity);
        let endpoint = self.endpoint.with_identity(identity.clone()).map_err(socket)?;
        Ok(Self { endpoint, identity, turnstile: Arc::default(), ..self.clone() })
    }

    /// The client that sessions are opened for.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        self.identity.public_key().into()
    }

    /// Opens a session and waits until it is open.
    ///
    /// # Errors
    /// [`ClientError`]: nothing was executed then.
    pub async fn open_session(&self) -> Result<Client, ClientError> {
        for _ in 1..OPENINGS {
            let client = self.start_session()?;
            match client.opened().await {
                Ok(()) => return Ok(client),
                Err(ClientError::OpeningRefused(Refusal::SessionExpired)) => {}
                Err(other) => return Err(other),
            }
        }
        let client = self.start_session()?;
        client.opened().await.map(|()| client)
    }

    /// Starts to open a session and does not wait: operations queue up until it is open, and the links can be
    /// looked at meanwhile. See [`Client::opened`].
    ///
    /// # Errors
    /// [`ClientError::Socket`] if a replica's key does not work with TLS.
    pub fn start_session(&self) -> Result<Client, ClientError> {
        let turn = self.turnstile.queue();
        let session = turn.session;
        let links = LinkSet::new(&self.endpoint, &self.configuration, session).map_err(socket)?;
        let retry = self.settings.retry.clone();
        let retry = retry.unwrap_or_else(|| Settings::suited_to(&self.configuration, session.0));
        let core =
            Core::new(self.configuration.clone(), self.client_id(), session, retry, self.identity.clone());
        let (calls, incoming) = mpsc::unbounded_channel();
        let (standing, watched) = watch::channel(Standing::new(self.configuration.n()));
        let configuration = self.configuration.clone();
        tokio::spawn(Session::new(core, links, configuration.clone(), standing).run(incoming, turn));
        Ok(Client::new(configuration, session, calls, watched, &self.settings))
    }

    /// Closes the socket, of all clones and all their sessions, so that the replicas know at once. Takes a second
    /// at most. Dropping everything ends the same, but replicas may notice only after some time.
    pub async fn shutdown(self) {
        self.endpoint.shutdown().await;
    }
}

fn socket(error: BindError) -> ClientError {
    ClientError::Socket(Arc::new(error))
}
