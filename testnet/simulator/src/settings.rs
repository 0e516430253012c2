//! How a simulated cluster is set up.

use std::sync::Arc;
use std::time::Duration;

use pbft_messages::{Configuration, InvalidConfiguration, Member, Parameters, ReplicaId};
use pbft_service::Service;

use crate::keys::{Keys, Signatures};
use crate::network::Faults;
use crate::workload::Workload;

/// A simulated cluster's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The number of replicas.
    pub n: u16,
    /// The number of clients.
    pub clients: u16,
    /// What they ask for.
    pub workload: Workload,
    /// The most operations that they submit together.
    pub together: usize,
    /// What everything random is drawn from.
    pub seed: u64,
    /// The protocol's parameters.
    pub parameters: Parameters,
    /// The network's faults from the start.
    pub faults: Faults,
    /// How long a durable write takes.
    pub write_latency: Duration,
    /// How long an execution, a snapshot or an installation takes.
    pub service_latency: Duration,
    /// Makes the service that is replicated: `None` for the key-value store, whose results are checked.
    pub service: Option<fn() -> Box<dyn Service>>,
    /// What everybody signs with.
    pub signatures: Signatures,
    /// Which replicas run as two instances with one key and a disk each. They count as malicious. Instances are
    /// numbered on from the replicas' own, in this order.
    pub twins: Vec<ReplicaId>,
    /// The primaries of the first views; after the end, and if it is empty, that of view v is v mod n.
    pub leaders: Vec<ReplicaId>,
    /// Whether the story is written down, which takes more time than most of what it tells; see
    /// [`crate::Cluster::transcript`].
    pub trace: bool,
}

impl Settings {
    /// How long the service takes, unless something is wrong with it.
    pub const SERVICE_LATENCY: Duration = Duration::from_micros(100);

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
            workload: Workload::Puts,
            together: 1,
            seed,
            parameters,
            faults: Faults::none(),
            write_latency: Duration::from_millis(1),
            service_latency: Self::SERVICE_LATENCY,
            service: None,
            signatures: Signatures::default(),
            twins: Vec::new(),
            leaders: Vec::new(),
            trace: true,
        }
    }

    /// Everybody's keys.
    pub(crate) fn keys(&self) -> Keys {
        Keys::new(self.signatures, self.n, self.clients)
    }

    /// The cluster's configuration. Addresses mean nothing here, and only have to differ.
    pub(crate) fn configuration(&self, keys: &Keys) -> Result<Arc<Configuration>, InvalidConfiguration> {
        let members = (0..).zip(&keys.replicas).map(|(index, key)| Member {
            key: key.public_key(),
            peer_address: ([127, 0, 0, 1], 10_000 + index).into(),
            client_address: ([127, 0, 0, 1], 20_000 + index).into(),
        });
        let clients = keys.clients.iter().map(|key| key.public_key());
        let configuration =
            Configuration::new("simulated".into(), members.collect(), clients, self.parameters.clone())
                .and_then(|configuration| configuration.with_leaders(self.leaders.clone()));
        configuration.map(Arc::new)
    }
}
