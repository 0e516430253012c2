//! What a party that holds an admitted key, but not this program, may do to a replica. It speaks QUIC through the
//! crate's own settings, and departs from them where the test says.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ConnectionError, Endpoint, SendStream};

use pbft_crypto::{Digest, Domain, SecretKey, Signer};
use pbft_messages::{ReplicaId, SessionId};

use crate::bind::Socket;
use crate::close::{self, Close, Refusal};
use crate::hello::{Hello, VERSION};
use crate::tls::{Identity, Protocol, SERVER_NAME};
use crate::{
    ClientEvent, ClientEvents, ClientLimits, ClientListener, ClientSettings, Lane, PeerAddress, PeerEvent,
    PeerLimits, PeerNetwork, PeerReceivers, PeerSettings, quic,
};

async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), event)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

fn key(number: u8) -> Arc<SecretKey> {
    Arc::new(SecretKey::from_seed(&[number; 32]))
}

fn cluster() -> Digest {
    Digest::of(Domain::Cluster, b"the cluster of this test")
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Replica 1, which replica 0 (key 0) dials, and replica 2 (key 2) does not.
fn replica_one() -> (PeerNetwork, PeerReceivers) {
    let peer =
        |id: u8| PeerAddress { id: ReplicaId(id.into()), key: key(id).public_key(), address: loopback() };
    PeerNetwork::bind(PeerSettings {
        identity: key(1),
        id: ReplicaId(1),
        listen: loopback(),
        peers: vec![peer(0), peer(2)],
        cluster: cluster(),
        limits: PeerLimits::default(),
        layer: None,
    })
    .unwrap()
}

/// A replica's socket for the clients with keys 50 and 51.
fn listener() -> (ClientListener, ClientEvents) {
    ClientListener::bind(ClientSettings {
        identity: key(1),
        listen: loopback(),
        cluster: cluster(),
        admitted: vec![key(50).public_key(), key(51).public_key()],
        limits: ClientLimits::default(),
    })
    .unwrap()
}

/// The party under test's suspicion: a key, and a socket.
struct Hostile {
    identity: Arc<SecretKey>,
    protocol: Protocol,
    endpoint: Endpoint,
}

impl Hostile {
    fn new(identity: u8, protocol: Protocol) -> Self {
        let (_, endpoint) = Socket::open(loopback(), quic::client_endpoint(), None, None).unwrap();
        Self { identity: key(identity), protocol, endpoint }
    }

    fn hello(&self) -> Hello {
        Hello { protocol: self.protocol, cluster: cluster(), session: SessionId(1) }
    }

    /// Connects, and says nothing yet.
    async fn connect(&self, address: SocketAddr) -> Connection {
        let tls = Identity::new(&self.identity).unwrap().dial(self.protocol, key(1).public_key()).unwrap();
        let config = quic::client(self.protocol, tls, true);
        soon("the handshake", self.endpoint.connect_with(config, address, SERVER_NAME).unwrap())
            .await
            .unwrap()
    }

    /// Connects, and says a hello that is as it should be.
    async fn greet(&self, address: SocketAddr) -> (Connection, SendStream) {
        self.greet_as(address, SessionId(1)).await
    }

    /// As [`Hostile::greet`], for a session of a client.
    async fn greet_as(&self, address: SocketAddr, session: SessionId) -> (Connection, SendStream) {
        let connection = self.connect(address).await;
        let hello = Hello { session, ..self.hello() };
        let replica = key(1).public_key();
        let said = hello.say(&connection, &self.identity, &replica);
        let (send, _) = soon("the answer", said).await.unwrap();
        (connection, send)
    }

    /// Connects, sends `bytes` where the hello should be, and waits for the refusal.
    async fn say(&self, address: SocketAddr, bytes: &[u8]) -> Option<Refusal> {
        let connection = self.connect(address).await;
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        send.finish().unwrap();
        close::refusal(&soon("a refusal", connection.closed()).await)
    }
}

/// Whether a connection was closed for an offence.
async fn cut(connection: &Connection) -> bool {
    let reason = soon("the connection to be cut", connection.closed()).await;
    matches!(reason, ConnectionError::ApplicationClosed(close) if close.error_code == Close::Offence.number())
}

#[tokio::test]
async fn another_version_is_refused_with_the_version_spoken() {
    let (network, _receivers) = replica_one();
    let (listener, _events) = listener();
    for (hostile, address) in [
        (Hostile::new(0, Protocol::Peer), network.local_addr()),
        (Hostile::new(50, Protocol::Client), listener.local_addr()),
    ] {
        let connection = hostile.connect(address).await;
        let (hello, replica) = (hostile.hello(), key(1).public_key());
        let said = hello.say_as(VERSION + 1, &connection, &hostile.identity, &replica);
        let error = soon("a refusal", said).await.err().unwrap();
        let crate::hello::HelloError::Connection(error) = error else { panic!("{error}") };
        assert_eq!(close::refusal(&error), Some(Refusal::Version { theirs: VERSION }));
    }
}

#[tokio::test]
async fn hellos_that_are_none_are_refused() {
    let (network, mut receivers) = replica_one();
    let hostile = Hostile::new(0, Protocol::Peer);
    // Fields that are right, and a signature that is not.
    let mut unsigned = [&b"PBFT"[..], &VERSION.to_le_bytes(), &[1]].concat();
    unsigned.extend_from_slice(cluster().as_bytes());
    unsigned.resize(4 + 2 + 1 + 32 + 8 + 64, 0);
    for bytes in [&b""[..], b"PBFT", b"GET / HTTP/1.1\r\n", &unsigned] {
        assert_eq!(hostile.say(network.local_addr(), bytes).await, Some(Refusal::BadHello), "{bytes:?}");
    }
    assert_eq!(network.refused_connections(), 4);

    // A hello of another connection, word for word: its signature covers that connection's key material.
    let (first, second) =
        (hostile.connect(network.local_addr()).await, hostile.connect(network.local_addr()).await);
    let stolen = hostile.hello().encode(VERSION, &first, &hostile.identity).unwrap();
    let (mut send, _receive) = second.open_bi().await.unwrap();
    send.write_all(&stolen).await.unwrap();
    let reason = soon("a refusal", second.closed()).await;
    assert_eq!(close::refusal(&reason), Some(Refusal::BadHello));
    while let Ok(event) = receivers.links.try_recv() {
        assert!(matches!(event, PeerEvent::Failed(ReplicaId(2), _)), "nobody was connected: {event:?}");
    }
}

/// A peer with a higher id is dialed, and has no reason to dial.
#[tokio::test]
async fn a_peer_that_dials_the_wrong_way_is_refused() {
    let (network, _receivers) = replica_one();
    let hostile = Hostile::new(2, Protocol::Peer);
    let connection = hostile.connect(network.local_addr()).await;
    let said = hostile.hello().say(&connection, &hostile.identity, &key(1).public_key()).await;
    let Err(crate::hello::HelloError::Connection(error)) = said else { panic!("it was let in") };
    assert_eq!(close::refusal(&error), Some(Refusal::BadHello));
}

#[tokio::test]
async fn garbage_on_a_peers_streams_cuts_that_link_only() {
    let (network, mut receivers) = replica_one();
    let hostile = Hostile::new(0, Protocol::Peer);
    let lane = [Lane::Votes.tag()];
    let mut offences = 0;
    for (what, garbage) in [
        ("no such lane", &[9, 1, 2, 3][..]),
        ("a length bomb", &[lane[0], 0xFF, 0xFF, 0xFF, 0xFF]),
        ("an end", &lane),
    ] {
        let (connection, _send) = hostile.greet(network.local_addr()).await;
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.finish().unwrap();
        assert!(cut(&connection).await, "{what}");
        offences += 1;
        let mut seen = Vec::new();
        while seen.len() < 2 {
            match soon("the link's changes", receivers.links.recv()).await.unwrap() {
                // Replica 2 is nowhere.
                PeerEvent::Failed(ReplicaId(2), _) => {}
                event => seen.push(event),
            }
        }
        assert_eq!(
            seen,
            [PeerEvent::Connected(ReplicaId(0)), PeerEvent::Disconnected(ReplicaId(0))],
            "{what}"
        );
        assert_eq!(network.statistics()[0].offences, offences, "{what}");
    }
    // The same lane twice.
    let (connection, _send) = hostile.greet(network.local_addr()).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(&lane).await.unwrap();
        streams.push(stream);
    }
    assert!(cut(&connection).await);
    // A whole frame still gets through, on a link that keeps to the rules.
    let (connection, _send) = hostile.greet(network.local_addr()).await;
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&[lane[0], 2, 0, 0, 0, 7, 7]).await.unwrap();
    let frame = soon("the frame", receivers.votes.recv()).await.unwrap();
    assert_eq!((frame.from, frame.frame), (ReplicaId(0), Bytes::from_static(&[7, 7])));
}

/// Fault 55: streams beyond those of the protocol cannot be opened, so they hold nothing.
#[tokio::test]
async fn more_streams_cannot_be_opened() {
    let (network, _receivers) = replica_one();
    let hostile = Hostile::new(0, Protocol::Peer);
    let (connection, _hello) = hostile.greet(network.local_addr()).await;
    let mut streams = Vec::new();
    for lane in [Lane::Votes, Lane::Bulk] {
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(&[lane.tag()]).await.unwrap();
        streams.push(stream);
    }
    let short = Duration::from_millis(50);
    assert!(tokio::time::timeout(short, connection.open_uni()).await.is_err());
    assert!(tokio::time::timeout(short, connection.open_bi()).await.is_err());
    assert!(connection.max_datagram_size().is_none());
}

#[tokio::test]
async fn garbage_on_a_clients_stream_cuts_that_connection_only() {
    let (listener, mut events) = listener();
    let hostile = Hostile::new(50, Protocol::Client);
    let (connection, mut stream) = hostile.greet(listener.local_addr()).await;
    stream.write_all(&[0xFF; 100]).await.unwrap();
    assert!(cut(&connection).await);
    assert!(matches!(events.recv().await, Some(ClientEvent::Connected { .. })));
    assert!(matches!(events.recv().await, Some(ClientEvent::Disconnected { .. })));
    assert_eq!((listener.statistics().offences, listener.statistics().connections), (1, 0));
    let (_connection, mut stream) = hostile.greet(listener.local_addr()).await;
    stream.write_all(&[1, 0, 0, 0, 7]).await.unwrap();
    assert!(matches!(events.recv().await, Some(ClientEvent::Connected { .. })));
    assert!(matches!(events.recv().await, Some(ClientEvent::Frame { frame, .. }) if *frame == [7]));
}

/// Handshakes that never come to a hello hold a place for a bounded time, and no more places than there are.
#[tokio::test]
async fn handshakes_under_way_are_bounded() {
    let limits = ClientLimits { handshakes: 3, handshakes_unproven: 1, ..ClientLimits::default() };
    let (listener, mut events) = ClientListener::bind(ClientSettings {
        identity: key(1),
        listen: loopback(),
        cluster: cluster(),
        admitted: vec![key(50).public_key()],
        limits,
    })
    .unwrap();
    let hostile = Hostile::new(50, Protocol::Client);
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(hostile.connect(listener.local_addr()).await);
    }
    let tls = Identity::new(&hostile.identity).unwrap().dial(Protocol::Client, key(1).public_key()).unwrap();
    let config = quic::client(Protocol::Client, tls, true);
    let attempt = hostile.endpoint.connect_with(config, listener.local_addr(), SERVER_NAME).unwrap();
    let error = soon("a refusal", attempt).await.err().unwrap();
    assert_eq!(close::refusal(&error), Some(Refusal::Busy));
    // The silent ones are closed when their time for the hello is over, and there is room again.
    for connection in &silent {
        soon("the silent ones to be closed", connection.closed()).await;
    }
    hostile.greet(listener.local_addr()).await;
    assert!(matches!(events.recv().await, Some(ClientEvent::Connected { .. })));
}

/// R2, fault 47: announcements of more than all clients may have waiting, none of which goes on.
#[tokio::test]
async fn a_client_that_stalls_on_many_connections_holds_up_itself_only() {
    let (listener, mut events) = listener();
    let ClientLimits { frame_bytes, partial_bytes, incoming, .. } = ClientLimits::default();
    let (staller, other) = (Hostile::new(50, Protocol::Client), Hostile::new(51, Protocol::Client));
    let mut stalled = Vec::new();
    let connections = incoming.bytes / frame_bytes + 4;
    assert!(connections > partial_bytes / frame_bytes);
    for number in 0..connections as u64 {
        let (connection, mut send) = staller.greet_as(listener.local_addr(), SessionId(number)).await;
        assert!(matches!(events.recv().await, Some(ClientEvent::Connected { .. })));
        send.write_all(&(frame_bytes as u32).to_le_bytes()).await.unwrap();
        send.write_all(&[7; 100]).await.unwrap();
        stalled.push((connection, send));
    }
    let (_connection, mut send) = other.greet(listener.local_addr()).await;
    assert!(matches!(events.recv().await, Some(ClientEvent::Connected { .. })));
    let large = vec![8; frame_bytes];
    send.write_all(&(frame_bytes as u32).to_le_bytes()).await.unwrap();
    let sent = tokio::spawn(async move { send.write_all(&large).await.map(|()| send) });
    // The staller's connections are cut only later, so nothing but the other's frame can come.
    let served = soon("the other client to be served", events.recv()).await;
    let Some(ClientEvent::Frame { client, frame, .. }) = served else { panic!("{served:?}") };
    assert_eq!((client, frame.len()), (key(51).public_key().into(), frame_bytes));
    drop((sent, stalled));
}

/// Fewer packets are fewer system calls and wake-ups, on either side.
#[tokio::test]
async fn packets_become_as_large_as_the_path_takes() {
    let (listener, mut events) = listener();
    let (connection, mut send) = Hostile::new(50, Protocol::Client).greet(listener.local_addr()).await;
    assert!(matches!(events.recv().await, Some(ClientEvent::Connected { .. })));
    let grown = async {
        while connection.stats().path.current_mtu < quic::LARGEST_PACKET {
            send.write_all(&[1, 0, 0, 0, 7]).await.unwrap();
            assert!(matches!(events.recv().await, Some(ClientEvent::Frame { .. })));
        }
    };
    soon("the packets to grow", grown).await;
    // A frame of many packets, each of the largest size.
    let (large, before) = (1 << 20, connection.stats().udp_tx.datagrams);
    send.write_all(&(large as u32).to_le_bytes()).await.unwrap();
    send.write_all(&vec![7; large]).await.unwrap();
    let received = soon("the frame", events.recv()).await;
    assert!(matches!(received, Some(ClientEvent::Frame { frame, .. }) if frame.len() == large));
    let packets = connection.stats().udp_tx.datagrams - before;
    assert!(packets < 2 * large as u64 / u64::from(quic::LARGEST_PACKET), "{packets} packets");
}
