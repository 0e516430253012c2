//! The statements of the normal case: PRE-PREPARE, PREPARE, COMMIT and CHECKPOINT.

use serde::{Deserialize, Serialize};

use pbft_crypto::{Digest, Signature, Signed, Statement, mutant};

use crate::statement::{ensure, statement};
use crate::{Configuration, ReplicaId, Sequence, View};

/// ⟨PRE-PREPARE, v, n, d⟩: the primary of `view` gives a batch its place (N2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrePrepare {
    /// The view, whose primary signs.
    pub view: View,
    /// The place.
    pub sequence: Sequence,
    /// The batch's digest.
    pub digest: Digest,
}

/// ⟨PREPARE, v, n, d⟩: a backup has accepted the primary's proposal (N3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepare {
    /// The view.
    pub view: View,
    /// The place.
    pub sequence: Sequence,
    /// The batch's digest.
    pub digest: Digest,
}

/// ⟨COMMIT, v, n, d⟩: a replica holds a durable prepared certificate with its body (N4, D1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The view.
    pub view: View,
    /// The place.
    pub sequence: Sequence,
    /// The batch's digest.
    pub digest: Digest,
}

/// ⟨CHECKPOINT, n, root⟩: a replica holds a durable snapshot with this root after executing `sequence` (C1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last sequence executed in it; a multiple of K.
    pub sequence: Sequence,
    /// The Merkle root of the snapshot.
    pub root: Digest,
}

statement!(PrePrepare, signer: ReplicaId, kind: 2, validate: |it, signer, configuration| {
    ensure(it.sequence >= Sequence(1), || "a proposal at sequence 0".into())?;
    ensure(configuration.primary(it.view) == signer, || format!("{signer} is not the primary of view {}", it.view))
});
statement!(Prepare, signer: ReplicaId, kind: 3, validate: |it, signer, configuration| {
    // The primary's PRE-PREPARE is its vote; a PREPARE of its own would count it twice (fault 8).
    ensure(configuration.primary(it.view) != signer || mutant!("primary-prepares"), || format!("a PREPARE by {signer}, the primary of view {}", it.view))
});
statement!(Commit, signer: ReplicaId, kind: 4);
statement!(Checkpoint, signer: ReplicaId, kind: 5, validate: |it, _, configuration| {
    let interval = configuration.parameters().checkpoint_interval;
    ensure(it.sequence.0 > 0 && it.sequence.0.is_multiple_of(interval), || format!("no checkpoint at {}", it.sequence))
});

impl PrePrepare {
    /// The proposal that a backup's vote is for, under a signature that is said to be the primary's.
    #[must_use]
    pub fn voted_for(vote: &Prepare, signature: Signature, configuration: &Configuration) -> Signed<Self> {
        let Prepare { view, sequence, digest } = *vote;
        let payload = Self { view, sequence, digest }.encode();
        Signed::from_parts(configuration.primary(view), payload.into(), signature)
    }
}

/// A statement of which a correct replica makes only one at each place. Two different ones are proof that their
/// signer lies.
pub trait Exclusive: Statement<Signer = ReplicaId, Keyring = Configuration> {
    /// The place: only the parts that apply are other than zero.
    fn place(&self) -> (View, Sequence);
}

impl Exclusive for PrePrepare {
    fn place(&self) -> (View, Sequence) {
        (self.view, self.sequence)
    }
}

impl Exclusive for Prepare {
    fn place(&self) -> (View, Sequence) {
        (self.view, self.sequence)
    }
}

impl Exclusive for Commit {
    fn place(&self) -> (View, Sequence) {
        (self.view, self.sequence)
    }
}

impl Exclusive for Checkpoint {
    fn place(&self) -> (View, Sequence) {
        (View(0), self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Domain, Rejected, Verified};

    use super::*;
    use crate::testing::{configuration, replica_key};

    fn checked<T: Exclusive>(value: T, signer: ReplicaId) -> Result<Verified<T>, Rejected> {
        let configuration = configuration(4);
        let signed = Verified::sign(value, signer, &replica_key(signer), configuration.scope());
        signed.signed().clone().verify(&configuration)
    }

    #[test]
    fn only_the_primary_proposes_and_only_backups_prepare() {
        let digest = Digest::of(Domain::Batch, b"a");
        let (view, sequence) = (View(5), Sequence(3));
        for replica in configuration(4).replicas() {
            let primary = replica == ReplicaId(1);
            assert_eq!(checked(PrePrepare { view, sequence, digest }, replica).is_ok(), primary);
            assert_eq!(checked(Prepare { view, sequence, digest }, replica).is_ok(), !primary);
            assert!(checked(Commit { view, sequence, digest }, replica).is_ok());
        }
        assert!(checked(PrePrepare { view, sequence: Sequence(0), digest }, ReplicaId(1)).is_err());
    }

    #[test]
    fn checkpoints_stand_at_multiples_of_the_interval() {
        let root = Digest::of(Domain::MerkleRoot, b"a");
        for (sequence, good) in [(0, false), (3, false), (4, true), (8, true)] {
            assert_eq!(
                checked(Checkpoint { sequence: Sequence(sequence), root }, ReplicaId(2)).is_ok(),
                good
            );
        }
    }
}
