use std::fmt;

use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::EncodePublicKey};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::batch::Claim;
use crate::{simulated, strict};

/// A public key that is a small-order point, or no point at all: signatures under it prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a usable Ed25519 public key: weak (small order), or not a point of the curve")]
pub struct WeakKey;

/// An Ed25519 public key that is known not to be weak: the identity of a replica or of a client. In a simulation it
/// may be a [`SimulatedKey`](crate::SimulatedKey)'s instead, which nothing decodes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ed25519(VerifyingKey),
    Simulated(simulated::Secret),
}

impl PublicKey {
    /// The length of a public key in bytes.
    pub const LENGTH: usize = 32;

    /// Reads a public key.
    ///
    /// # Errors
    /// [`WeakKey`] if the bytes are not a curve point or are one of small order (fault 40).
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Result<Self, WeakKey> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| WeakKey)?;
        if key.is_weak() && !crate::mutant!("weak-key") { Err(WeakKey) } else { Ok(Self(Kind::Ed25519(key))) }
    }

    pub(crate) fn simulated(secret: simulated::Secret) -> Self {
        Self(Kind::Simulated(secret))
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        match &self.0 {
            Kind::Ed25519(key) => key.as_bytes(),
            Kind::Simulated(secret) => &secret.name,
        }
    }

    /// The key as a DER `SubjectPublicKeyInfo`: what RFC 7250 puts in place of a TLS certificate. Simulated keys have
    /// none: theirs is empty, which no peer can present.
    #[must_use]
    pub fn to_subject_public_key_info(&self) -> Vec<u8> {
        match &self.0 {
            // The encoding of a fixed-size key has no case that fails.
            Kind::Ed25519(key) => key.to_public_key_der().expect("an Ed25519 key always encodes").into_vec(),
            Kind::Simulated(_) => Vec::new(),
        }
    }

    /// Whether `signature` is this key's over `message`, by the strict rules: canonical encodings only, no
    /// small-order component. A signature accepted here is accepted by every correct verifier.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        match &self.0 {
            Kind::Ed25519(key) => strict::holds(key, message, signature),
            Kind::Simulated(secret) => secret.sign(message) == *signature,
        }
    }

    /// A signature to judge by the rule of ZIP 215.
    pub(crate) fn claim(&self, message: &[u8], signature: &Signature) -> Claim {
        match &self.0 {
            Kind::Ed25519(key) => Claim::of(key, message, signature),
            Kind::Simulated(secret) => Claim::Settled(secret.sign(message) == *signature),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(&self.as_bytes()[..4]))
    }
}

/// Text that is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPublicKey {
    /// It has another form.
    #[error("a public key has 64 hexadecimal digits, as `pbft-node keygen` and `show-id` print it")]
    Form,
    /// It has the form, and is none that is safe to use.
    #[error(transparent)]
    Weak(#[from] WeakKey),
}

impl std::str::FromStr for PublicKey {
    type Err = NoPublicKey;

    /// Reads 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, NoPublicKey> {
        let mut bytes = [0; Self::LENGTH];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NoPublicKey::Form)?;
        Ok(Self::from_bytes(&bytes)?)
    }
}

/// An Ed25519 signature, 64 bytes: the point `R` and the scalar `s`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Signature(#[serde(with = "crate::words")] [u8; 32], #[serde(with = "crate::words")] [u8; 32]);

impl Signature {
    /// The length of a signature in bytes.
    pub const LENGTH: usize = 64;

    /// A signature from its bytes. Any bytes will do: only verification tells whether they are one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Self {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..]);
        Self(r, s)
    }

    /// The encodings of `R` and of `s`.
    pub(crate) fn parts(&self) -> (&[u8; 32], &[u8; 32]) {
        (&self.0, &self.1)
    }

    /// The signature's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..32].copy_from_slice(&self.0);
        bytes[32..].copy_from_slice(&self.1);
        bytes
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(&self.0[..4]))
    }
}

/// Something that signs with one identity. The protocol core signs through this, so that a simulator or a
/// hardware key can stand in its place. Signing the same message twice must give the same bytes.
pub trait Signer: Send + Sync {
    /// The key that verifies what this signer signs.
    fn public_key(&self) -> PublicKey;

    /// Signs `message`.
    fn sign(&self, message: &[u8]) -> Signature;
}

/// An Ed25519 secret key. Its bytes are wiped from memory when it is dropped, and never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Makes a new key from the operating system's randomness.
    ///
    /// # Errors
    /// The operating system's, if it has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice())?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of a 32-byte seed (RFC 8032's private key). For tests and key files.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The key as PKCS#8 DER, which TLS libraries take.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        // The encoding of a fixed-size key has no case that fails.
        Zeroizing::new(self.0.to_pkcs8_der().expect("an Ed25519 key always encodes").as_bytes().to_vec())
    }

    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        // As above: nothing in a fixed-size key can fail to encode.
        self.0.to_pkcs8_pem(Default::default()).expect("an Ed25519 key always encodes")
    }

    pub(crate) fn from_pem(text: &str) -> Option<Self> {
        SigningKey::from_pkcs8_pem(text).ok().map(Self)
    }
}

impl Signer for SecretKey {
    fn public_key(&self) -> PublicKey {
        PublicKey(Kind::Ed25519(self.0.verifying_key()))
    }

    fn sign(&self, message: &[u8]) -> Signature {
        Signature::from_bytes(&self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SecretKey(of {:?})", self.public_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// RFC 8032, section 7.1, tests 1 to 3.
    #[test]
    fn rfc_8032_known_answers() {
        let cases = [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ];
        for (seed, public, message, signature) in cases {
            let key = SecretKey::from_seed(&array(seed));
            let message = hex::decode(message).unwrap();
            assert_eq!(key.public_key().to_string(), public);
            assert_eq!(hex::encode(key.sign(&message).to_bytes()), signature);
            assert!(key.public_key().verifies(&message, &Signature::from_bytes(&array(signature))));
            assert!(!key.public_key().verifies(b"something else", &Signature::from_bytes(&array(signature))));
        }
    }

    /// Fault 40: the eight small-order points (and their non-canonical encodings) are no identities.
    #[test]
    fn fault_40_weak_keys_are_refused() {
        let small_order = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        ];
        for text in small_order {
            assert_eq!(text.parse::<PublicKey>(), Err(WeakKey.into()), "{text}");
        }
    }

    /// A signature with `s` replaced by `s + order` is the same signature to a lax verifier, not to this one.
    #[test]
    fn malleated_signatures_are_refused() {
        let key = SecretKey::from_seed(&[7; 32]);
        let mut bytes = key.sign(b"once").to_bytes();
        let order = array::<32>("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut carry = 0u16;
        for (byte, add) in bytes[32..].iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(add);
            *byte = carry as u8;
            carry >>= 8;
        }
        assert!(!key.public_key().verifies(b"once", &Signature::from_bytes(&bytes)));
    }

    #[test]
    fn secret_keys_are_not_printed() {
        let seed = [0xab; 32];
        let printed = format!("{:?}", SecretKey::from_seed(&seed));
        assert!(!printed.contains(&hex::encode(seed)), "{printed}");
    }
}
