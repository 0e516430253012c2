//! A new testnet's files: keys, and the cluster file that names them.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use pbft_crypto::{SecretKey, Signer as _, key_file};
use pbft_messages::{ClientTable, ClusterFile, Configuration, ParametersTable, ReplicaId, ReplicaTable};
use pbft_node::Identity;

use crate::ports::free_ports;
use crate::{Folder, TestnetError};

/// An address that [`choose_ports`] is about to replace.
const UNCHOSEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Makes the files of a testnet of `n` replicas. `cluster.toml` comes last: where it is, everything is.
pub(crate) fn create(folder: &Folder, n: usize, parameters: ParametersTable) -> Result<(), TestnetError> {
    if n > Configuration::MAXIMUM_REPLICAS {
        let limit = Configuration::MAXIMUM_REPLICAS;
        let error = format!("{n} replicas are more than the {limit} supported");
        return Err(pbft_messages::InvalidConfiguration(error).into());
    }
    let generate = || SecretKey::generate().map_err(|error| TestnetError::Randomness(error.to_string()));
    let keys = (0..n).map(|_| generate()).collect::<Result<Vec<_>, _>>()?;
    let client = generate()?;
    let replica = keys.iter().map(|key| ReplicaTable {
        key: key.public_key().to_string(),
        peer_address: UNCHOSEN,
        client_address: UNCHOSEN,
    });
    let mut file = ClusterFile {
        name: format!("testnet-{}", &client.public_key().to_string()[..8]),
        parameters,
        replica: replica.collect(),
        client: vec![ClientTable { key: client.public_key().to_string() }],
    };
    choose_ports(&mut file, folder)?;
    // Checked before anything is written, so that what makes no cluster leaves nothing behind.
    let configuration = Arc::new(file.configuration()?);

    check_folder(folder)?;
    make_folder(folder.path())?;
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
    write_cluster_file(folder, &file)
}

/// Reads the cluster file, and checks it.
pub(crate) fn read_cluster_file(folder: &Folder) -> Result<(ClusterFile, Configuration), TestnetError> {
    let path = folder.cluster_file();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
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
