//! From the options to an open session.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pbft_client::{Client, ClientError, ClientSettings, Connector, KvClient, LinkFailure, LinkState};
use pbft_crypto::key_file::KeyFileError;
use pbft_crypto::{PublicKey, SecretKey, Signer as _};
use pbft_messages::{ClusterFile, Configuration};
use pbft_transport::{DialError, Refusal};

use crate::arguments::Options;
use crate::failure::{Failure, Outcome};

/// How long to wait at the end for the replicas to be told; they find out without it.
const FAREWELL: Duration = Duration::from_millis(100);

/// What the options name, read and checked.
pub(crate) struct Setup {
    pub(crate) configuration: Configuration,
    pub(crate) connector: Connector,
    key_file: PathBuf,
    public_key: PublicKey,
}

/// An open session with the store.
pub(crate) struct Connection {
    pub(crate) store: KvClient,
    setup: Setup,
}

impl Setup {
    /// Reads the files; connects to nothing yet.
    pub(crate) fn new(options: &Options) -> Outcome<Self> {
        let configuration = read_cluster(&options.cluster)?;
        let beside = || options.cluster.parent().unwrap_or(Path::new("")).join("client.key");
        let key_file = options.key_file.clone().unwrap_or_else(beside);
        let identity = read_key(&key_file)?;
        let public_key = identity.public_key();
        let settings = ClientSettings { timeout: options.timeout, ..ClientSettings::default() };
        let connector = Connector::new(&configuration, identity, settings)?;
        Ok(Self { configuration, connector, key_file, public_key })
    }

    /// Opens a session.
    pub(crate) async fn connect(self) -> Outcome<Connection> {
        match self.connector.open_session().await {
            Ok(client) => Ok(Connection { store: KvClient::new(client), setup: self }),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// An error of opening a session, with advice that needs to know the files.
    pub(crate) fn explain(&self, error: ClientError) -> Failure {
        let unknown = LinkFailure::Dial(DialError::Refused(Refusal::UnknownKey));
        let refused = |link: &LinkState| matches!(link, LinkState::Down { reason } if *reason == unknown);
        match &error {
            ClientError::Unreachable { reach, .. } if reach.links.iter().any(refused) => {
                Failure::no_connection(format!(
                    "{error}; the key of {} must be admitted: add a [[client]] with key = \"{}\" to every replica's \
                     cluster.toml",
                    self.key_file.display(),
                    self.public_key
                ))
            }
            _ => error.into(),
        }
    }

    /// Tells the replicas that this client is gone.
    pub(crate) async fn close(self) {
        // Being late here harms nobody.
        let _ = tokio::time::timeout(FAREWELL, self.connector.shutdown()).await;
    }
}

impl Connection {
    /// Reads the options' files and opens a session.
    pub(crate) async fn open(options: &Options) -> Outcome<Self> {
        Setup::new(options)?.connect().await
    }

    pub(crate) fn client(&self) -> &Client {
        self.store.client()
    }

    /// Tells the replicas that this client is gone.
    pub(crate) async fn close(self) {
        self.setup.close().await;
    }
}

fn read_cluster(path: &Path) -> Outcome<Configuration> {
    let failure = |reason: String| Failure::bad_input(format!("cluster file {}: {reason}", path.display()));
    let text = std::fs::read_to_string(path)
        .map_err(|error| failure(format!("{error}; name it with --cluster or PBFT_CLUSTER")))?;
    let file = ClusterFile::parse(&text).map_err(|error| failure(error.0))?;
    file.configuration().map_err(|error| failure(error.0))
}

fn read_key(path: &Path) -> Outcome<SecretKey> {
    pbft_crypto::key_file::read(path).map_err(|error| match &error {
        KeyFileError::Io { .. } => Failure::bad_input(format!("{error}; name it with --key or PBFT_KEY")),
        _ => Failure::bad_input(error),
    })
}
