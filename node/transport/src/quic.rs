//! Every QUIC setting that this crate relies on, each with its reason. What is not set here is quinn's default on
//! purpose.

use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AckFrequencyConfig, ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig,
    TransportConfig, ValidationTokenConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;

use pbft_crypto::SecretKey;

use crate::tls::Protocol;

/// After this much silence a connection is lost. A dead process that is not restarted is noticed by this alone, and
/// a pause of the other side beyond it costs a new handshake.
const IDLE_TIMEOUT_MS: u32 = 3_000;

/// How often an idle connection is probed: often enough that five lost probes in a row are needed for a healthy
/// link to time out. It also bounds how soon a restarted process is noticed, because a probe is what it answers
/// with a stateless reset.
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// The round trip assumed before one is measured. It sets how soon the first lost packet of a handshake is sent
/// again (three times this); quinn's default of 333 ms would make each start against a peer that is not up yet a
/// matter of seconds. On a slower link it costs a few needless packets a connection.
const INITIAL_RTT: Duration = Duration::from_millis(10);

/// How long a dialing attempt waits for the handshake. Packets are repeated with doubling pauses from 30 ms on, so
/// that the last pause in this time is half a second: the longest that a peer that comes up can go unnoticed.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long either side waits for the other's part of the hello: a round trip and two signatures, on a machine that
/// may be overloaded.
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_secs(3);

/// The bytes of one stream that may be under way without having been read.
///
/// It is a compromise. What is under way stands in the receiving kernel's queue in front of the next vote: on one
/// machine, 4 MiB cost votes beside a bulk transfer 5 ms in the slowest percent, 1 MiB costs them 1.5 ms, at the same
/// throughput. On a slow network it bounds the throughput: at a round trip of 20 ms to 50 MB/s a peer.
const STREAM_WINDOW: u32 = 1 << 20;

/// The streams of one peer connection in one direction: one a lane.
const PEER_STREAMS: u32 = 2;

/// How many times its streams' windows a connection may hold of data that was written and not acknowledged. A stream is
/// held back by its own window long before, so one lane cannot use up what the other needs. A client that acknowledges
/// nothing holds so much on each of its connections.
const SEND_WINDOWS: u32 = 2;

/// How many packets a side may receive before it must acknowledge them by a packet of their own. Each such packet wakes
/// a process for nothing, and most go without: what a replica says next carries the acknowledgement. QUIC's default is
/// one.
const UNACKNOWLEDGED_PACKETS: u32 = 4;

/// How long a side may keep an acknowledgement back. QUIC's default of 25 ms would hold up whoever has a small window,
/// after losses say, that long with each windowful.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_millis(5);

/// The largest packet in bytes that is tried on a path, for those that take more than Ethernet's 1,500: loopback and
/// jumbo frames. Packets cost processor time by the piece. quinn hands the kernel up to ten together, whose sum must
/// stay below the 64 KiB of one UDP datagram.
pub(crate) const LARGEST_PACKET: u16 = 6_500;

/// The bytes that may be under way before any were acknowledged. Several times what may stay unacknowledged: with a
/// window below that, each windowful waits until acknowledgements come anyway. With QUIC's default of
/// 14,720, the first megabyte took 100 ms on loopback.
const INITIAL_WINDOW: u64 = 128 << 10;
const _: () = assert!(INITIAL_WINDOW >= 3 * (UNACKNOWLEDGED_PACKETS as u64 + 1) * LARGEST_PACKET as u64);

/// Attempts that wait for the accepting task. It takes them at once, so they are few; quinn's default is 65,536.
const PENDING_ATTEMPTS: usize = 256;

/// What one attempt, and all attempts together, may have buffered before they are taken. An attempt that comes
/// before any reply has one or two packets.
const PENDING_ATTEMPT_BYTES: u64 = 16 << 10;
const PENDING_BYTES: u64 = 1 << 20;

/// Settings that all connections have in common.
fn transport(segmentation_offload: bool, streams: u32) -> TransportConfig {
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements
        .ack_eliciting_threshold(VarInt::from_u32(UNACKNOWLEDGED_PACKETS))
        .max_ack_delay(Some(ACKNOWLEDGE_WITHIN));
    let mut packets = MtuDiscoveryConfig::default();
    packets.upper_bound(LARGEST_PACKET);
    let mut congestion = CubicConfig::default();
    congestion.initial_window(INITIAL_WINDOW);

    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        // Both sides probe: either may be the one with nothing to say.
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        // The windows of all streams together, so that a full bulk stream leaves the vote stream its whole window.
        .receive_window(VarInt::from_u32(STREAM_WINDOW * streams))
        .send_window(u64::from(SEND_WINDOWS * STREAM_WINDOW * streams))
        // Streams are opened as the dialing and listening sides below say; everything else is an error.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        // Unreliable datagrams are not used, so nobody may send one.
        .datagram_receive_buffer_size(None)
        .ack_frequency_config(Some(acknowledgements))
        .mtu_discovery_config(Some(packets))
        .congestion_controller_factory(Arc::new(congestion))
        // The spin bit shows the round-trip time to observers, and nobody here measures it that way.
        .allow_spin(false)
        .enable_segmentation_offload(segmentation_offload);
    config
}

fn transport_of(protocol: Protocol, segmentation_offload: bool, listening: bool) -> Arc<TransportConfig> {
    let mut config = match protocol {
        Protocol::Peer => {
            let mut config = transport(segmentation_offload, PEER_STREAMS);
            config.max_concurrent_uni_streams(VarInt::from_u32(PEER_STREAMS));
            config
        }
        Protocol::Client => transport(segmentation_offload, 1),
    };
    if listening {
        // The stream of the hello, which for a client is the stream of its frames too.
        config.max_concurrent_bidi_streams(VarInt::from_u32(1));
    }
    Arc::new(config)
}

/// The dialing side's configuration.
pub(crate) fn client(protocol: Protocol, tls: QuicClientConfig, segmentation_offload: bool) -> ClientConfig {
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport_of(protocol, segmentation_offload, false));
    config
}

/// The listening side's configuration.
pub(crate) fn server(protocol: Protocol, tls: QuicServerConfig, segmentation_offload: bool) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    // Tokens that excuse a later connection from proving its address would be state for no gain.
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0);
    config
        .transport_config(transport_of(protocol, segmentation_offload, true))
        .validation_token_config(tokens)
        // A connection stays at the address where it was made: peers' addresses are configured, and a client that
        // moves connects anew.
        .migration(false)
        .max_incoming(PENDING_ATTEMPTS)
        .incoming_buffer_size(PENDING_ATTEMPT_BYTES)
        .incoming_buffer_size_total(PENDING_BYTES);
    config
}

/// The configuration of a client's socket. Nobody dials it, so there is nobody to reset after a restart, and random keys
/// will do.
pub(crate) fn client_endpoint() -> EndpointConfig {
    with_largest_packet(EndpointConfig::default())
}

/// Lets packets in that are as large as the other side may try.
fn with_largest_packet(mut config: EndpointConfig) -> EndpointConfig {
    config.max_udp_payload_size(LARGEST_PACKET).expect("it is above the least that QUIC allows, 1200");
    config
}

/// The configuration of a replica's socket.
///
/// A replica that crashed and restarted knows none of its old connections. It ends them at the first packet that
/// arrives, by a *stateless reset*, instead of leaving the other side to time out. For that it must make the same
/// reset tokens as before, and recognize its old connection ids; so both keys derive from its identity, separately
/// for its two sockets.
pub(crate) fn endpoint(identity: &SecretKey, protocol: Protocol) -> EndpointConfig {
    let label: &[u8] = match protocol {
        Protocol::Peer => b"pbft/quic-keys/peer/1",
        Protocol::Client => b"pbft/quic-keys/client/1",
    };
    let root = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &identity.to_pkcs8_der()), label);
    let root = hmac::Key::new(hmac::HMAC_SHA256, root.as_ref());
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, b"reset").as_ref());
    let mut id_key = [0; 8];
    id_key.copy_from_slice(&hmac::sign(&root, b"connection id").as_ref()[..8]);

    let mut config = EndpointConfig::new(Arc::new(reset_key));
    let id_key = u64::from_le_bytes(id_key);
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    with_largest_packet(config)
}
