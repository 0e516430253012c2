//! The replica's two sockets: one for replicas, one for clients, with nothing in common (R2).

use pbft_messages::{Configuration, Parameters};
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
        layer: options.peer_layer.clone(),
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
    let lane = |lane: LaneLimits| LaneLimits {
        frame_bytes,
        outgoing: fits_two(lane.outgoing, frame_bytes),
        incoming: fits_two(lane.incoming, frame_bytes),
    };
    PeerLimits { votes: lane(limits.votes), bulk: lane(limits.bulk), ..limits }
}

/// What a submission has besides its operations: the length of each of 64, the numbers, the signature.
const SUBMISSION_ENVELOPE: usize = 64 << 10;

/// The largest frame that a client may send.
pub(crate) fn client_frame_bytes(parameters: &Parameters) -> usize {
    parameters.batch_bytes + SUBMISSION_ENVELOPE
}

/// What a client may send is the largest submission; what it is sent, a reply with the service's result, may be as
/// large as any frame. Clients set the latter on their side.
fn client_limits(configuration: &Configuration) -> ClientLimits {
    let parameters = configuration.parameters();
    let (frame_bytes, reply_bytes) = (client_frame_bytes(parameters), parameters.frame_bytes);
    let limits = ClientLimits::default();
    ClientLimits {
        frame_bytes,
        reply_bytes,
        partial_bytes: limits.partial_bytes.max(2 * frame_bytes),
        incoming: fits_two(limits.incoming, frame_bytes),
        outgoing: fits_two(limits.outgoing, reply_bytes),
        ..limits
    }
}

/// A queue with room for two frames of the largest size at least, so that the next is on its way while one waits.
fn fits_two(limits: QueueLimits, frame_bytes: usize) -> QueueLimits {
    QueueLimits { bytes: limits.bytes.max(2 * frame_bytes), ..limits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::configuration_with;

    #[test]
    fn every_queue_has_room_for_two_of_the_largest_frames() {
        let largest = Parameters {
            frame_bytes: 64 << 20,
            batch_bytes: 60 << 20,
            waiting_bytes: 240 << 20,
            ..Parameters::default()
        };
        for parameters in [Parameters::default(), largest] {
            let configuration = configuration_with(4, parameters.clone());
            let PeerLimits { votes, bulk, .. } = peer_limits(&configuration);
            for lane in [votes, bulk] {
                assert_eq!(lane.frame_bytes, parameters.frame_bytes);
                assert!(lane.outgoing.bytes.min(lane.incoming.bytes) >= 2 * parameters.frame_bytes);
            }
            let clients = client_limits(&configuration);
            assert!(
                clients.frame_bytes > parameters.batch_bytes && clients.frame_bytes <= clients.reply_bytes
            );
            assert!(clients.partial_bytes.min(clients.incoming.bytes) >= 2 * clients.frame_bytes);
            assert!(clients.outgoing.bytes >= 2 * clients.reply_bytes);
        }
    }
}
