//! Reads the files that the options name.

use std::path::{Path, PathBuf};

use pbft_client::{ClientError, ClientSettings, Connector};
use pbft_crypto::SecretKey;
use pbft_crypto::key_file::KeyFileError;
use pbft_messages::{ClusterFile, Configuration};

use pbft_bench::Settings;

use crate::arguments::Options;
use crate::failure::{Failure, Outcome};

/// What a run needs, read and checked; nothing is connected to yet.
pub(crate) struct Setup {
    pub(crate) cluster: Configuration,
    pub(crate) settings: Settings,
    pub(crate) connector: Connector,
}

impl Setup {
    /// Must be called within the runtime, since a socket is opened.
    pub(crate) fn new(options: &Options) -> Outcome<Self> {
        let cluster = read_cluster(&options.cluster)?;
        let settings = options.settings();
        settings.check(&cluster).map_err(Failure::bad_input)?;
        let identity = read_key(&key_file(options))?;
        if let Some(folder) = &options.output {
            pbft_bench::prepare_folder(folder)?;
        }
        let client = ClientSettings { timeout: settings.timeout, ..ClientSettings::default() };
        let connector =
            Connector::new(&cluster, identity, client).map_err(|error: ClientError| Failure::from(error))?;
        Ok(Self { cluster, settings, connector })
    }
}

fn key_file(options: &Options) -> PathBuf {
    let beside = || options.cluster.parent().unwrap_or(Path::new("")).join("client.key");
    options.key_file.clone().unwrap_or_else(beside)
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
