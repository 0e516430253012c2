//! The identifiers and plain values that everything else speaks of.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use pbft_crypto::PublicKey;

/// A view number. View 0 is active from the start; each view has one primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct View(pub u64);

impl View {
    /// The view after this one.
    ///
    /// Views advance by one a view change, so overflow is out of reach; it saturates all the same.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A sequence number: the place of a batch in the total order. The first batch has sequence 1; 0 is the state
/// before any batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The sequence after this one (saturating).
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The sequence `distance` further on (saturating).
    #[must_use]
    pub const fn plus(self, distance: u64) -> Self {
        Self(self.0.saturating_add(distance))
    }
}

/// The index of a replica in its configuration, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u16);

impl ReplicaId {
    /// The replica's place in a list of all replicas.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A client's identity: its Ed25519 public key, as bytes. Whether they are a key that the configuration admits is
/// found out when a signature is verified.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientId(#[serde(with = "pbft_crypto::words")] pub [u8; 32]);

impl From<PublicKey> for ClientId {
    fn from(key: PublicKey) -> Self {
        Self(*key.as_bytes())
    }
}

/// A session of one client, chosen by the client; each must be above every one that it opened before (N1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// The number of a request in its session, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestNumber(pub u64);

/// A point in time as the cluster agrees on it: nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

macro_rules! display {
    ($($type:ident => $format:literal),*) => {
        $(impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, $format, self.0)
            }
        })*
    };
}

display!(View => "{}", Sequence => "{}", ReplicaId => "r{}", SessionId => "{}", RequestNumber => "{}", Timestamp => "{}");

/// A name that is not `r` and a number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no replica: they are r0, r1, …")]
pub struct NoReplicaName(String);

impl std::str::FromStr for ReplicaId {
    type Err = NoReplicaName;

    /// Reads `r0`, `r1`, and so on.
    fn from_str(text: &str) -> Result<Self, NoReplicaName> {
        let number = text.strip_prefix('r').and_then(|digits| digits.parse().ok());
        number.map(Self).ok_or_else(|| NoReplicaName(text.to_owned()))
    }
}

/// `r0` in formats for people, such as JSON; two bytes in others.
impl Serialize for ReplicaId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ReplicaId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(D::Error::custom);
        }
        Deserialize::deserialize(deserializer).map(Self)
    }
}

/// The first eight hexadecimal digits of the key.
impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "c{self}")
    }
}
