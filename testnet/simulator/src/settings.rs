//! How a simulated cluster is set up.

use std::sync::Arc;
use std::time::Duration;

use pbft_crypto::{PublicKey, SecretKey, Signer as _};
use pbft_messages::{ClientId, Configuration, Member, Parameters, ReplicaId};
use pbft_service::{Service, kv::KeyValueStore};

use crate::network::Faults;

/// A simulated cluster's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The number of replicas.
    pub n: u16,
    /// The number of clients.
    pub clients: u16,
    /// What everything random is drawn from.
    pub seed: u64,
    /// The protocol's parameters.
    pub parameters: Parameters,
    /// The network's faults from the start.
    pub faults: Faults,
    /// How long a durable write takes.
    pub write_latency: Duration,
    /// Makes the service that is replicated. Clients put keys into what should be a key-value store.
    pub service: fn() -> Box<dyn Service>,
}

impl Settings {
    /// A cluster of `n` with one client, K = 8, L = 16, and a network without faults.
    #[must_use]
    pub fn new(n: u16, seed: u64) -> Self {
        let parameters = Parameters {
            checkpoint_interval: 8,
            window: 16,
            view_timeout: Duration::from_millis(500),
            view_timeout_cap: Duration::from_secs(4),
            ..Parameters::default()
        };
        Self {
            n,
            clients: 1,
            seed,
            parameters,
            faults: Faults::none(),
            write_latency: Duration::from_millis(1),
            service: || Box::new(KeyValueStore::default()),
        }
    }

    /// The cluster's configuration. Addresses mean nothing here, and only have to differ.
    pub(crate) fn configuration(&self) -> Arc<Configuration> {
        let members = (0..self.n).map(|index| Member {
            key: replica_key(ReplicaId(index)).public_key(),
            peer_address: ([127, 0, 0, 1], 10_000 + index).into(),
            client_address: ([127, 0, 0, 1], 20_000 + index).into(),
        });
        let clients = (0..self.clients).map(|index| client_key(index).public_key());
        let configuration =
            Configuration::new("simulated".into(), members.collect(), clients, self.parameters.clone());
        Arc::new(configuration.expect("a test's settings make a valid configuration"))
    }
}

/// The key of a replica: the same in every run, so that transcripts do not change.
pub(crate) fn replica_key(replica: ReplicaId) -> SecretKey {
    let mut seed = [1; 32];
    seed[..2].copy_from_slice(&replica.0.to_le_bytes());
    SecretKey::from_seed(&seed)
}

/// The key of a client.
pub(crate) fn client_key(index: u16) -> SecretKey {
    let mut seed = [2; 32];
    seed[..2].copy_from_slice(&index.to_le_bytes());
    SecretKey::from_seed(&seed)
}

/// The identity of a client.
pub(crate) fn client_id(index: u16) -> ClientId {
    let key: PublicKey = client_key(index).public_key();
    key.into()
}
