//! Keys and configurations for this crate's tests.

use pbft_crypto::{Digest, Domain, SecretKey, Signer as _, Verified};

use crate::{
    Checkpoint, ClientId, Configuration, Exclusive, Member, Parameters, PrePrepare, Prepare,
    PreparedCertificate, Proven, ReplicaId, Sequence, StableCertificate, View, VoteSet,
};

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

/// A statement of a replica in a cluster of four.
fn signed<T: Exclusive>(value: T, replica: ReplicaId) -> Verified<T> {
    Verified::sign(value, replica, &replica_key(replica), configuration(4).scope())
}

/// The certificate of a batch of that name, prepared in a cluster of four.
pub(crate) fn prepared(view: u64, sequence: u64, name: &str) -> PreparedCertificate {
    let configuration = configuration(4);
    let (view, sequence) = (View(view), Sequence(sequence));
    let digest = Digest::of(Domain::Batch, name.as_bytes());
    let primary = configuration.primary(view);
    let mut votes = VoteSet::default();
    for backup in configuration.replicas().filter(|replica| *replica != primary).take(2) {
        votes.insert(signed(Prepare { view, sequence, digest }, backup)).expect("a first vote");
    }
    let header = signed(PrePrepare { view, sequence, digest }, primary);
    Proven::prepared(&header, &votes, configuration.quorum()).expect("enough votes").get().clone()
}

/// The certificate of a checkpoint in a cluster of four.
pub(crate) fn stable(sequence: u64) -> StableCertificate {
    let root = Digest::of(Domain::Batch, b"state");
    let mut votes = VoteSet::default();
    for replica in configuration(4).replicas().take(3) {
        votes
            .insert(signed(Checkpoint { sequence: Sequence(sequence), root }, replica))
            .expect("a first vote");
    }
    votes.quorum(configuration(4).quorum()).expect("enough votes").get().clone()
}
