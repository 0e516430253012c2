use std::path::Path;

use serde::{Deserialize, Serialize};

use pbft_crypto::{Digest, PublicKey};
use pbft_messages::{Configuration, codec};

use super::StoreError;

/// The format of the store and of its records that this program writes, and the only one that it reads.
const FORMAT: u32 = 3;

/// Whose store it is (D6): votes of one identity in one cluster. With another key, or with another window, the stored
/// votes and reservations would say something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    cluster: Digest,
    key: [u8; 32],
    replicas: u64,
    checkpoint_interval: u64,
    window: u64,
}

impl Binding {
    /// The binding of the replica with `key` in the cluster of `configuration`.
    #[must_use]
    pub(crate) fn new(configuration: &Configuration, key: &PublicKey) -> Self {
        let parameters = configuration.parameters();
        Self {
            cluster: configuration.scope().cluster,
            key: *key.as_bytes(),
            replicas: configuration.n() as u64,
            checkpoint_interval: parameters.checkpoint_interval,
            window: parameters.window,
        }
    }

    /// The bytes to store. The format comes first, at a place that no format will change.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = FORMAT.to_le_bytes().to_vec();
        bytes.extend(codec::encode(self));
        bytes
    }

    /// The key of the replica that a store was made for.
    pub(super) fn key_in(stored: &[u8], folder: &Path) -> Result<[u8; 32], StoreError> {
        Ok(Self::decode(stored, folder)?.key)
    }

    fn decode(stored: &[u8], folder: &Path) -> Result<Self, StoreError> {
        let unreadable = |why: &str| StoreError::Unreadable { folder: folder.into(), why: why.into() };
        let (format, rest) = stored.split_first_chunk().ok_or_else(|| unreadable("it has no format"))?;
        let found = u32::from_le_bytes(*format);
        if found != FORMAT {
            return Err(StoreError::Format { folder: folder.into(), found, supported: FORMAT });
        }
        codec::decode(rest).map_err(|_| unreadable("whose store it is cannot be read"))
    }

    /// Compares with what is stored.
    pub(super) fn check(&self, stored: &[u8], folder: &Path) -> Result<(), StoreError> {
        let stored = Self::decode(stored, folder)?;
        // What a person can tell apart comes before the cluster's digest, which covers it all.
        let differences = [
            ("a replica with key", hex::encode(stored.key), hex::encode(self.key)),
            ("a cluster of size", stored.replicas.to_string(), self.replicas.to_string()),
            (
                "checkpoint_interval",
                stored.checkpoint_interval.to_string(),
                self.checkpoint_interval.to_string(),
            ),
            ("window", stored.window.to_string(), self.window.to_string()),
            ("the cluster with id", stored.cluster.to_string(), self.cluster.to_string()),
        ];
        match differences.into_iter().find(|(_, stored, configured)| stored != configured) {
            None => Ok(()),
            Some((what, stored, configured)) => {
                Err(StoreError::Mismatch { folder: folder.into(), what, stored, configured })
            }
        }
    }
}
