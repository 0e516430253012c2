//! Who signs with what.

use std::sync::Arc;

use pbft_crypto::{SecretKey, Signer, SimulatedKey};

/// What everybody signs with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signatures {
    /// A keyed hash: as good as real ones among those who cannot read each other's memory, and much cheaper. The
    /// code that signs and verifies is the same, down to the key.
    #[default]
    Simulated,
    /// Ed25519, as between real processes.
    Real,
}

/// The keys of all replicas and clients: the same in every run, so that transcripts do not change.
pub(crate) struct Keys {
    pub(crate) replicas: Vec<Arc<dyn Signer>>,
    pub(crate) clients: Vec<Arc<dyn Signer>>,
}

impl Keys {
    pub(crate) fn new(signatures: Signatures, replicas: u16, clients: u16) -> Self {
        let keys = |kind: u8, count: u16| (0..count).map(|index| key(signatures, kind, index)).collect();
        Self { replicas: keys(1, replicas), clients: keys(2, clients) }
    }
}

fn key(signatures: Signatures, kind: u8, index: u16) -> Arc<dyn Signer> {
    let mut seed = [kind; 32];
    seed[..2].copy_from_slice(&index.to_le_bytes());
    match signatures {
        Signatures::Simulated => Arc::new(SimulatedKey::from_seed(&seed)),
        Signatures::Real => Arc::new(SecretKey::from_seed(&seed)),
    }
}
