//! Keys for simulations, where the time that Ed25519 takes would be most of the time spent.

use std::fmt;

use crate::{Digest, Domain, Hasher, PublicKey, Signature, Signer};

/// A key whose signatures are a keyed hash, some fifty times cheaper than Ed25519's.
///
/// Whoever holds the seed makes it, as a simulator does. Its [`PublicKey`] carries the seed out of everybody's reach,
/// so that it can verify; it can be copied and compared, and nothing gives the seed away or signs with it. Such a
/// public key exists only where this type has made it: bytes, files and certificates decode to Ed25519 keys or to
/// nothing, so nobody can bring a replica that reads its configuration to believe a simulated signature.
#[derive(Clone)]
pub struct SimulatedKey(Secret);

impl SimulatedKey {
    /// The key of a seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let name = Digest::of(Domain::SimulatedKey, seed);
        Self(Secret { seed: *seed, name: *name.as_bytes() })
    }
}

impl Signer for SimulatedKey {
    fn public_key(&self) -> PublicKey {
        PublicKey::simulated(self.0)
    }

    fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message)
    }
}

impl fmt::Debug for SimulatedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SimulatedKey(of {:?})", self.public_key())
    }
}

/// What makes and verifies simulated signatures, and the bytes that stand for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Secret {
    seed: [u8; 32],
    pub(crate) name: [u8; 32],
}

impl Secret {
    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        // The length goes first: without it, who has one signature could lengthen what it signs.
        let hash = Hasher::new(Domain::SimulatedSignature).bytes(&self.seed).sized(message).finish();
        let mut bytes = [0; Signature::LENGTH];
        bytes[..Digest::LENGTH].copy_from_slice(hash.as_bytes());
        Signature::from_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;

    #[test]
    fn a_signature_holds_for_its_key_and_its_message_only() {
        let (key, other) = (SimulatedKey::from_seed(&[1; 32]), SimulatedKey::from_seed(&[2; 32]));
        let signature = key.sign(b"a message");
        assert!(key.public_key().verifies(b"a message", &signature));
        assert!(!key.public_key().verifies(b"another one", &signature));
        assert!(!key.public_key().verifies(b"a message, and more", &signature));
        assert!(!other.public_key().verifies(b"a message", &signature));
        for index in 0..Signature::LENGTH {
            let mut bytes = signature.to_bytes();
            bytes[index] ^= 1;
            assert!(!key.public_key().verifies(b"a message", &Signature::from_bytes(&bytes)), "byte {index}");
        }
    }

    #[test]
    fn the_two_kinds_of_keys_do_not_verify_each_other() {
        let (simulated, real) = (SimulatedKey::from_seed(&[1; 32]), SecretKey::from_seed(&[1; 32]));
        assert_ne!(simulated.public_key(), real.public_key());
        assert!(!real.public_key().verifies(b"a message", &simulated.sign(b"a message")));
        assert!(!simulated.public_key().verifies(b"a message", &real.sign(b"a message")));
    }

    /// What a configuration is read from never becomes a simulated key, not even a simulated key's own bytes.
    #[test]
    fn nothing_decodes_to_a_simulated_key() {
        for seed in 0..=255 {
            let key = SimulatedKey::from_seed(&[seed; 32]);
            let public = key.public_key();
            let signature = key.sign(b"a message");
            for read in [PublicKey::from_bytes(public.as_bytes()).ok(), public.to_string().parse().ok()] {
                assert!(read.is_none_or(|it| it != public && !it.verifies(b"a message", &signature)));
            }
            assert!(public.to_subject_public_key_info().is_empty());
        }
    }

    #[test]
    fn nothing_shows_the_seed() {
        let key = SimulatedKey::from_seed(&[7; 32]);
        let shown = format!("{key:?} {:?} {}", key.public_key(), key.public_key());
        assert!(!shown.contains("0707") && !shown.contains("7, 7"), "{shown}");
        assert_ne!(key.public_key().as_bytes(), &[7; 32]);
    }
}
