//! A new testnet's files: keys, and the cluster file that names them.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use pbft_crypto::{SecretKey, Signer as _, key_file};
use pbft_messages::{
    ClientTable, ClusterFile, Configuration, Parameters, ParametersTable, ReplicaId, ReplicaTable,
};
use pbft_node::Identity;

use crate::ports::free_ports;
use crate::{Folder, TestnetError};

/// How many clients are admitted besides the one that people use: for those that are to be malicious.
pub const SPARE_CLIENTS: usize = 4;

/// An address that [`choose_ports`] is about to replace.
const UNCHOSEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The smallest window that [`fit_window`] goes down to.
const SMALLEST_WINDOW: u64 = 16;

/// Whether so many replicas make a cluster.
pub(crate) fn check_size(n: usize) -> Result<(), TestnetError> {
    let limit = Configuration::MAXIMUM_REPLICAS;
    let error = if n < 4 {
        format!("{n} replicas tolerate no fault: at least 4 are needed (3f+1 for f faults)")
    } else if n > limit {
        format!("{n} replicas are more than the {limit} supported")
    } else {
        return Ok(());
    };
    Err(pbft_messages::InvalidConfiguration(error).into())
}

/// Makes the folder of a new testnet, so that it can be locked; its files are for [`create`].
pub(crate) fn prepare(folder: &Folder, n: usize) -> Result<(), TestnetError> {
    check_size(n)?;
    // Where a lock is, another command may be filling the folder just now; `create` looks again under the lock.
    if !folder.lock_file().exists() {
        check_folder(folder)?;
    }
    make_folder(folder.path())
}

/// Makes the files of a testnet of `n` replicas, which admits `spare_clients`. The caller holds the lock. `cluster.toml`
/// comes last: where it is, everything is.
pub(crate) fn create(
    folder: &Folder,
    n: usize,
    spare_clients: usize,
    parameters: ParametersTable,
) -> Result<(), TestnetError> {
    check_size(n)?;
    let keys = generate(n)?;
    let (client, spare) = (generate_one()?, generate(spare_clients)?);
    let clients = std::iter::once(&client).chain(&spare);
    let mut file = blueprint(&keys, clients, parameters);
    choose_ports(&mut file, folder)?;
    // Checked before anything is written, so that what makes no cluster leaves nothing behind.
    let configuration = Arc::new(fit_window(&mut file)?);

    check_folder(folder)?;
    for (index, key) in keys.into_iter().enumerate() {
        // `n` is at most MAXIMUM_REPLICAS.
        let replica = ReplicaId(index as u16);
        make_folder(&folder.replica(replica))?;
        key_file::create(&folder.replica_key(replica), &key)?;
        if let Some(identity) = Identity::new(Arc::clone(&configuration), Arc::new(key)) {
            pbft_node::init(&identity, &folder.data(replica))?;
        }
    }
    key_file::create(&folder.client_key(), &client)?;
    for (index, key) in spare.iter().enumerate() {
        key_file::create(&folder.spare_client_key(index), key)?;
    }
    write_cluster_file(folder, &file)
}

fn generate_one() -> Result<SecretKey, TestnetError> {
    SecretKey::generate().map_err(|error| TestnetError::Randomness(error.to_string()))
}

fn generate(count: usize) -> Result<Vec<SecretKey>, TestnetError> {
    (0..count).map(|_| generate_one()).collect()
}

/// The cluster file for these keys; addresses are yet to be chosen.
fn blueprint<'a>(
    replicas: &[SecretKey],
    clients: impl Iterator<Item = &'a SecretKey>,
    parameters: ParametersTable,
) -> ClusterFile {
    let replica = replicas.iter().map(|key| ReplicaTable {
        key: key.public_key().to_string(),
        peer_address: UNCHOSEN,
        client_address: UNCHOSEN,
    });
    let client: Vec<_> = clients.map(|key| ClientTable { key: key.public_key().to_string() }).collect();
    let name = client.first().map_or("", |first| &first.key[..8]);
    ClusterFile { name: format!("testnet-{name}"), parameters, replica: replica.collect(), client }
}

/// A cluster like those that [`create`] makes, of which there are no files and no replicas; and its first client's key.
pub(crate) fn imagine(
    n: usize,
    parameters: ParametersTable,
) -> Result<(Configuration, SecretKey), TestnetError> {
    check_size(n)?;
    let client = generate_one()?;
    let mut file = blueprint(&generate(n)?, std::iter::once(&client), parameters);
    for (port, replica) in (1..).step_by(2).zip(&mut file.replica) {
        // Nobody will bind them.
        (replica.peer_address, replica.client_address) =
            ((Ipv4Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port + 1).into());
    }
    Ok((fit_window(&mut file)?, client))
}

/// Chooses a window, and a checkpoint interval with it, that so many replicas can have: the largest message holds a
/// certificate of each of 2f+1 votes for each of its sequences, so it grows with n². What the user chose stays.
fn fit_window(file: &mut ClusterFile) -> Result<Configuration, pbft_messages::InvalidConfiguration> {
    let refused = match file.configuration() {
        Ok(configuration) => return Ok(configuration),
        Err(refused) => refused,
    };
    if file.parameters.window.is_some() || file.parameters.checkpoint_interval.is_some() {
        return Err(refused);
    }
    let Parameters { mut window, mut checkpoint_interval, .. } = Parameters::default();
    while window / 2 >= SMALLEST_WINDOW {
        (window, checkpoint_interval) = (window / 2, checkpoint_interval / 2);
        (file.parameters.window, file.parameters.checkpoint_interval) =
            (Some(window), Some(checkpoint_interval));
        if let Ok(configuration) = file.configuration() {
            return Ok(configuration);
        }
    }
    // It is not the window, then.
    Err(refused)
}

/// Reads the cluster file, and checks it.
pub(crate) fn read_cluster_file(folder: &Folder) -> Result<(ClusterFile, Configuration), TestnetError> {
    let path = folder.cluster_file();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(TestnetError::NoTestnet { folder: folder.path().to_owned() });
        }
        Err(source) => return Err(TestnetError::File { path, source }),
    };
    let bad = |source| TestnetError::Configuration { path: path.clone(), source };
    let file = ClusterFile::parse(&text).map_err(bad)?;
    let configuration = file.configuration().map_err(bad)?;
    Ok((file, configuration))
}

/// Writes the cluster file, whole or not at all.
pub(crate) fn write_cluster_file(folder: &Folder, file: &ClusterFile) -> Result<(), TestnetError> {
    let path = folder.cluster_file();
    let new = path.with_extension("toml.new");
    let written = fs::write(&new, file.to_text()).and_then(|()| fs::rename(&new, &path));
    written.map_err(|source| TestnetError::File { path, source })
}

/// Gives every replica two ports that are free now. Addresses are no part of a cluster's identity, so this may be
/// done again whenever no replica runs.
pub(crate) fn choose_ports(file: &mut ClusterFile, folder: &Folder) -> Result<(), TestnetError> {
    let failed = |source| TestnetError::File { path: folder.cluster_file(), source };
    let ports = free_ports(2 * file.replica.len()).map_err(failed)?;
    for (replica, pair) in file.replica.iter_mut().zip(ports.chunks_exact(2)) {
        (replica.peer_address, replica.client_address) = (pair[0], pair[1]);
    }
    Ok(())
}

fn check_folder(folder: &Folder) -> Result<(), TestnetError> {
    let path = folder.path();
    match fs::read_dir(path) {
        // The lock of this very command may be in it.
        Ok(mut entries) => {
            let foreign = entries.any(|entry| {
                entry.map_or(true, |entry| Some(&*entry.file_name()) != folder.lock_file().file_name())
            });
            if foreign { Err(TestnetError::ForeignFolder { folder: path.to_owned() }) } else { Ok(()) }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(TestnetError::File { path: path.to_owned(), source }),
    }
}

/// Makes a folder that only its owner may enter: it holds keys, and sockets that obey whoever reaches them.
fn make_folder(path: &Path) -> Result<(), TestnetError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| TestnetError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_supported_number_of_replicas_makes_a_cluster() {
        for n in [4, 46, 100] {
            let (configuration, _) = imagine(n, ParametersTable::default()).unwrap();
            let chosen = configuration.parameters();
            assert_eq!(configuration.n(), n);
            assert!(chosen.window >= 2 * chosen.checkpoint_interval && chosen.checkpoint_interval >= 8);
            let usual = chosen.window == Parameters::default().window;
            assert_eq!(usual, n == 4, "a small cluster has the usual window");
        }
    }

    #[test]
    fn a_window_that_the_user_chose_stays() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::at(folder.path()).unwrap();
        let parameters = ParametersTable { window: Some(60_000), ..ParametersTable::default() };
        assert!(matches!(create(&folder, 100, SPARE_CLIENTS, parameters), Err(TestnetError::Impossible(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing half-done");
    }
}
