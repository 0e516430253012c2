//! Keys, configurations and statements for this crate's tests.

use pbft_crypto::{Digest, Domain, SecretKey, Signer as _, Verified};
use pbft_messages::{
    Configuration, Conflict, Evidence, Member, Parameters, PrePrepare, ReplicaId, Sequence, View,
};

/// The key of a replica, the same in every test.
pub(crate) fn replica_key(replica: u16) -> SecretKey {
    SecretKey::from_seed(&[replica as u8 + 1; 32])
}

/// The key of the one client that configurations admit.
pub(crate) fn client_key() -> SecretKey {
    SecretKey::from_seed(&[200; 32])
}

/// A configuration of `n` replicas with K = 4 and L = 8. Its addresses are nobody's.
pub(crate) fn configuration(n: u16) -> Configuration {
    configuration_with(n, Parameters { checkpoint_interval: 4, window: 8, ..Parameters::default() })
}

/// A configuration of `n` replicas.
pub(crate) fn configuration_with(n: u16, parameters: Parameters) -> Configuration {
    let members = (0..n)
        .map(|index| Member {
            key: replica_key(index).public_key(),
            peer_address: ([127, 0, 0, 1], 1000 + index).into(),
            client_address: ([127, 0, 0, 1], 2000 + index).into(),
        })
        .collect();
    Configuration::new("test".into(), members, [client_key().public_key()], parameters).unwrap()
}

/// Proof that r0 proposed two batches at one place.
pub(crate) fn evidence() -> Evidence {
    let configuration = configuration(4);
    let propose = |name: &[u8]| {
        let digest = Digest::of(Domain::Batch, name);
        let value = PrePrepare { view: View(0), sequence: Sequence(7), digest };
        Verified::sign(value, ReplicaId(0), &replica_key(0), configuration.scope())
    };
    Conflict::between(&propose(b"a"), &propose(b"b")).unwrap().into()
}
