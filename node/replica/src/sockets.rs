//! The replica's two sockets: one for replicas, one for clients, with nothing in common (R2).

use pbft_messages::Configuration;
use pbft_transport::{
    ClientEvents, ClientLimits, ClientListener, ClientSettings, LaneLimits, PeerAddress, PeerLimits,
    PeerNetwork, PeerReceivers, PeerSettings, QueueLimits,
};

use crate::{Options, RunError};

/// Both sockets, and what arrives on them.
pub(crate) struct Sockets {
    pub(crate) network: PeerNetwork,
    pub(crate) receivers: PeerReceivers,
    pub(crate) listener: ClientListener,
    pub(crate) events: ClientEvents,
}

/// Opens the socket for replicas.
pub(crate) fn bind_peers(options: &Options) -> Result<(PeerNetwork, PeerReceivers), RunError> {
    let identity = &options.identity;
    let configuration = identity.configuration();
    let peers = configuration.replicas().filter_map(|id| {
        let member = configuration.member(id)?;
        Some(PeerAddress { id, key: member.key, address: member.peer_address })
    });
    PeerNetwork::bind(PeerSettings {
        identity: identity.key().clone(),
        id: identity.me(),
        listen: options.listen_peers.unwrap_or(identity.member().peer_address),
        peers: peers.collect(),
        cluster: configuration.scope().cluster,
        limits: peer_limits(configuration),
    })
    .map_err(|source| RunError::Bind { whom: "replicas", source })
}

/// Opens the socket for clients.
pub(crate) fn bind_clients(options: &Options) -> Result<(ClientListener, ClientEvents), RunError> {
    let identity = &options.identity;
    let configuration = identity.configuration();
    ClientListener::bind(ClientSettings {
        identity: identity.key().clone(),
        listen: options.listen_clients.unwrap_or(identity.member().client_address),
        cluster: configuration.scope().cluster,
        admitted: configuration.clients().map(|(_, key)| key).collect(),
        limits: client_limits(configuration),
    })
    .map_err(|source| RunError::Bind { whom: "clients", source })
}

/// The transport's limits, so that what the configuration allows to be said can be sent.
fn peer_limits(configuration: &Configuration) -> PeerLimits {
    let frame_bytes = configuration.parameters().frame_bytes;
    let limits = PeerLimits::default();
    PeerLimits {
        votes: LaneLimits { frame_bytes, ..limits.votes },
        bulk: LaneLimits { frame_bytes, ..limits.bulk },
        ..limits
    }
}

/// As [`peer_limits`]; clients set the same on their side.
fn client_limits(configuration: &Configuration) -> ClientLimits {
    let frame_bytes = configuration.parameters().frame_bytes;
    let limits = ClientLimits::default();
    let outgoing = QueueLimits { bytes: limits.outgoing.bytes.max(frame_bytes), ..limits.outgoing };
    ClientLimits { frame_bytes, outgoing, ..limits }
}
