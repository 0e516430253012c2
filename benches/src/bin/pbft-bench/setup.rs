//! Reads the files that the options name.

use std::path::Path;

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
    /// One for each identity.
    pub(crate) connectors: Vec<Connector>,
}

impl Setup {
    /// Must be called within the runtime, since a socket is opened.
    pub(crate) fn new(options: &Options) -> Outcome<Self> {
        let cluster = read_cluster(&options.cluster)?;
        let settings = options.settings(&cluster);
        settings.check(&cluster).map_err(Failure::bad_input)?;
        let mut identities = identities(options, settings.identities)?;
        if let Some(folder) = &options.output {
            pbft_bench::prepare_folder(folder)?;
        }
        let client = ClientSettings { timeout: settings.timeout, ..ClientSettings::default() };
        let first = Connector::new(&cluster, identities.remove(0), client).map_err(failed)?;
        let others = identities.into_iter().map(|identity| first.with_identity(identity).map_err(failed));
        let connectors = std::iter::once(Ok(first.clone())).chain(others).collect::<Outcome<_>>()?;
        Ok(Self { cluster, settings, connectors })
    }
}

fn failed(error: ClientError) -> Failure {
    error.into()
}

/// The client's key, and if there are to be more, those of the spare clients beside it: `spare-client-0.key` and so on,
/// as testnets have them. At least one.
fn identities(options: &Options, count: usize) -> Outcome<Vec<SecretKey>> {
    let beside = || options.cluster.parent().unwrap_or(Path::new("")).join("client.key");
    let first = options.key_file.clone().unwrap_or_else(beside);
    let spare = |index: usize| first.with_file_name(format!("spare-client-{index}.key"));
    let files = std::iter::once(first.clone()).chain((1..count).map(|number| spare(number - 1)));
    files.map(|file| read_key(&file)).collect()
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
        KeyFileError::Io { .. } => Failure::bad_input(format!(
            "{error}; name it with --key or PBFT_KEY; further --identities are spare-client-0.key and so on beside it"
        )),
        _ => Failure::bad_input(error),
    })
}
