use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};

use crate::words;

/// What a digest is about. Each domain starts its hash with a tag of its own, so that a digest computed for one
/// purpose can never stand for another, whatever the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// The identity of a cluster: its name and its members' keys.
    Cluster,
    /// One client request: client, session, number and operation.
    Request,
    /// One signed submission, signature included.
    Submission,
    /// A replica's answer to a request, as a client compares it with others'.
    Answer,
    /// An ordered batch: its time and its submissions' digests.
    Batch,
    /// A signed statement with its signature, among those found good before.
    Statement,
    /// The bytes that stand for a simulated key.
    SimulatedKey,
    /// What a simulated key signs.
    SimulatedSignature,
    /// A leaf of a Merkle tree.
    MerkleLeaf,
    /// An inner node of a Merkle tree.
    MerkleNode,
    /// The root of a Merkle tree together with its number of leaves.
    MerkleRoot,
}

impl Domain {
    const fn tag(self) -> &'static [u8] {
        match self {
            Self::Cluster => b"pbft/cluster/1\0",
            Self::Request => b"pbft/request/1\0",
            Self::Submission => b"pbft/submission/1\0",
            Self::Answer => b"pbft/answer/1\0",
            Self::Batch => b"pbft/batch/1\0",
            Self::Statement => b"pbft/statement-seen/1\0",
            Self::SimulatedKey => b"pbft/simulated-key/1\0",
            Self::SimulatedSignature => b"pbft/simulated-signature/1\0",
            Self::MerkleLeaf => b"pbft/merkle-leaf/1\0",
            Self::MerkleNode => b"pbft/merkle-node/1\0",
            Self::MerkleRoot => b"pbft/merkle-root/1\0",
        }
    }
}

/// A SHA-256 digest, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; Digest::LENGTH]);

impl Digest {
    /// The length of a digest in bytes.
    pub const LENGTH: usize = 32;

    /// The digest of `bytes` in `domain`.
    #[must_use]
    pub fn of(domain: Domain, bytes: &[u8]) -> Self {
        Hasher::new(domain).bytes(bytes).finish()
    }

    /// A digest from its 32 bytes, as read from a record or a message.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The digest's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

/// Debug output is the first eight hexadecimal digits: enough to tell digests apart in a trace.
impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(&self.0[..4]))
    }
}

/// Hexadecimal digits in formats for people, such as JSON; 32 bytes in others.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            words::serialize(&self.0, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return words::deserialize(deserializer).map(Self);
        }
        let mut bytes = [0; Self::LENGTH];
        hex::decode_to_slice(String::deserialize(deserializer)?, &mut bytes).map_err(D::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// An incremental hash in one [`Domain`]. The caller keeps the concatenation unambiguous: fields of fixed size
/// are written as they are, fields of variable size through [`Hasher::sized`].
#[derive(Clone)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Starts a hash in `domain`.
    #[must_use]
    pub fn new(domain: Domain) -> Self {
        Self(Sha256::new_with_prefix(domain.tag()))
    }

    /// Adds bytes of a fixed size, or the last field.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    /// Adds bytes of a variable size, after their length as eight little-endian bytes.
    #[must_use]
    pub fn sized(self, bytes: &[u8]) -> Self {
        self.number(bytes.len() as u64).bytes(bytes)
    }

    /// Adds a number as eight little-endian bytes.
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Ends the hash.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer() {
        // printf 'pbft/batch/1\0abc' | sha256sum
        assert_eq!(
            Digest::of(Domain::Batch, b"abc").to_string(),
            "9ee208e72a66a553f9e2f3a9c1a1ad0252300af9da75896915bbdef958fd1202"
        );
    }

    #[test]
    fn domains_separate() {
        let domains = [
            Domain::Cluster,
            Domain::Request,
            Domain::Submission,
            Domain::Batch,
            Domain::Statement,
            Domain::SimulatedKey,
            Domain::SimulatedSignature,
            Domain::MerkleLeaf,
            Domain::MerkleNode,
            Domain::MerkleRoot,
        ];
        let digests: std::collections::BTreeSet<_> =
            domains.iter().map(|d| Digest::of(*d, b"same")).collect();
        assert_eq!(digests.len(), domains.len());
    }

    #[test]
    fn sized_fields_do_not_run_together() {
        let split =
            |left: &[u8], right: &[u8]| Hasher::new(Domain::Request).sized(left).sized(right).finish();
        assert_ne!(split(b"ab", b"c"), split(b"a", b"bc"));
    }
}
