//! Keys and configurations for this crate's tests.

use pbft_crypto::{SecretKey, Signer as _};

use crate::{ClientId, Configuration, Member, Parameters, ReplicaId};

/// The key of a replica, the same in every test.
pub(crate) fn replica_key(replica: ReplicaId) -> SecretKey {
    SecretKey::from_seed(&[replica.0 as u8 + 1; 32])
}

/// The one client that [`configuration`] admits.
pub(crate) fn client_key() -> SecretKey {
    SecretKey::from_seed(&[200; 32])
}

pub(crate) fn client() -> ClientId {
    client_key().public_key().into()
}

pub(crate) fn members(n: u16) -> Vec<Member> {
    (0..n)
        .map(|index| Member {
            key: replica_key(ReplicaId(index)).public_key(),
            peer_address: ([127, 0, 0, 1], 1000 + index).into(),
            client_address: ([127, 0, 0, 1], 2000 + index).into(),
        })
        .collect()
}

/// A configuration of `n` replicas with K = 4 and L = 8.
pub(crate) fn configuration(n: u16) -> Configuration {
    let parameters = Parameters { checkpoint_interval: 4, window: 8, ..Parameters::default() };
    Configuration::new("test".into(), members(n), [client_key().public_key()], parameters).unwrap()
}
