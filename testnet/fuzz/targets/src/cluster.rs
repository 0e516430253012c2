//! The cluster that everything is about: its keys are known, so that a fuzzer can sign what it likes. They are simulated
//! ones, for Ed25519 would take nearly all of a fuzzer's time.

use std::sync::{Arc, LazyLock};

use pbft_crypto::{PublicKey, SecretKey, Signer as _, SimulatedKey};
use pbft_messages::{ClientId, Configuration, Member, Parameters, ReplicaId};

/// Of four, one may be faulty.
pub(crate) const N: u16 = 4;

/// K. The largest sequence of all is a multiple of it, which no even number would allow.
pub(crate) const INTERVAL: u64 = 5;

/// L.
pub(crate) const WINDOW: u64 = 10;

/// The key of a replica. There are more keys than replicas: the rest are strangers'.
pub(crate) fn replica_key(replica: ReplicaId) -> SimulatedKey {
    SimulatedKey::from_seed(&[replica.0 as u8 + 1; 32])
}

/// A key that files can hold.
pub(crate) fn real_key(index: u8) -> SecretKey {
    SecretKey::from_seed(&[index + 1; 32])
}

/// The key of a client; the cluster admits two.
pub(crate) fn client_key(index: u8) -> SimulatedKey {
    SimulatedKey::from_seed(&[index.saturating_add(100); 32])
}

/// The client of this number.
pub(crate) fn client(index: u8) -> ClientId {
    client_key(index).public_key().into()
}

/// The configuration, which remembers the statements that it found good.
pub(crate) fn configuration() -> Arc<Configuration> {
    static CONFIGURATION: LazyLock<Arc<Configuration>> = LazyLock::new(|| {
        let clients = [client_key(0).public_key(), client_key(1).public_key()];
        Arc::new(of_keys(|index| replica_key(ReplicaId(index)).public_key(), clients))
    });
    Arc::clone(&CONFIGURATION)
}

/// The configuration of a cluster of these keys.
pub(crate) fn of_keys(
    replica: impl Fn(u16) -> PublicKey,
    clients: impl IntoIterator<Item = PublicKey>,
) -> Configuration {
    let members = (0..N).map(|index| Member {
        key: replica(index),
        peer_address: ([127, 0, 0, 1], 1000 + index).into(),
        client_address: ([127, 0, 0, 1], 2000 + index).into(),
    });
    let parameters = Parameters {
        checkpoint_interval: INTERVAL,
        window: WINDOW,
        batch_requests: 64,
        ..Parameters::default()
    };
    let configuration = Configuration::new("fuzzed".into(), members.collect(), clients, parameters);
    configuration.expect("these settings make a valid configuration")
}
