//! Clients' links to a replica, over real QUIC on loopback.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pbft_crypto::{Digest, Domain, Signer};
use pbft_messages::{ClientId, ReplicaId, SessionId};
use pbft_transport::{
    ClientEndpoint, ClientEvent, ClientEvents, ClientLimits, ClientListener, ClientSettings, ConnectionId,
    DialError, LinkEvent, LinkLimits, LinkSender, QueueLimits, Refusal,
};
use tokio::sync::mpsc;

use support::{Killable, Node, client_key, cluster, garbage, loopback, replica_key, settings, soon, trace};

/// Replica 0's settings for clients 0 to 3.
fn listener_settings() -> ClientSettings {
    ClientSettings {
        identity: replica_key(0),
        listen: loopback(),
        cluster: cluster(),
        admitted: (0..4).map(|number| client_key(number).public_key()).collect(),
        limits: ClientLimits::default(),
    }
}

struct Listener {
    listener: ClientListener,
    events: ClientEvents,
}

impl Listener {
    fn bind(settings: ClientSettings) -> Self {
        trace();
        let (listener, events) = ClientListener::bind(settings).expect("loopback has free ports");
        Self { listener, events }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    async fn event(&mut self) -> ClientEvent {
        soon("a client's event", self.events.recv()).await.expect("the listener is up")
    }

    /// Waits for a client to connect, and for nothing else.
    async fn connected(&mut self) -> ConnectionId {
        match self.event().await {
            ClientEvent::Connected { connection, .. } => connection,
            other => panic!("{other:?}"),
        }
    }

    async fn frame(&mut self) -> (ConnectionId, Bytes) {
        match self.event().await {
            ClientEvent::Frame { connection, frame, .. } => (connection, frame),
            other => panic!("{other:?}"),
        }
    }
}

fn endpoint(client: u8) -> ClientEndpoint {
    ClientEndpoint::new(client_key(client), cluster(), LinkLimits::default()).expect("there are free ports")
}

struct Link {
    sender: LinkSender,
    events: mpsc::Receiver<LinkEvent>,
}

impl Link {
    fn new(endpoint: &ClientEndpoint, address: SocketAddr, session: u64) -> Self {
        let key = replica_key(0).public_key();
        let (sender, events) =
            endpoint.link(ReplicaId(0), key, address, SessionId(session)).expect("the key is good");
        Self { sender, events }
    }

    async fn event(&mut self) -> LinkEvent {
        soon("a link's event", self.events.recv()).await.expect("the link is there")
    }

    async fn until(&mut self, wanted: &LinkEvent) {
        while self.event().await != *wanted {}
    }

    /// Sends a frame and has it sent back.
    async fn echo(&mut self, listener: &mut Listener, frame: &'static [u8]) {
        assert!(self.sender.send(Bytes::from_static(frame)));
        let (connection, received) = listener.frame().await;
        assert_eq!(received, frame);
        listener.listener.send(connection, received);
        assert_eq!(self.event().await, LinkEvent::Frame(Bytes::from_static(frame)));
    }
}

#[tokio::test]
async fn frames_go_both_ways_and_say_whose_they_are() {
    let mut listener = Listener::bind(listener_settings());
    let mut link = Link::new(&endpoint(1), listener.address(), 77);
    assert_eq!(link.event().await, LinkEvent::Connected);
    let client = ClientId::from(client_key(1).public_key());
    let ClientEvent::Connected { connection, client: who, session } = listener.event().await else {
        panic!("a connection comes first")
    };
    assert_eq!((who, session), (client, SessionId(77)));
    for number in 0..500_u32 {
        assert!(link.sender.send(Bytes::copy_from_slice(&number.to_le_bytes())));
        listener.listener.send(connection, Bytes::copy_from_slice(&number.to_be_bytes()));
    }
    for number in 0..500_u32 {
        let frame = Bytes::copy_from_slice(&number.to_le_bytes());
        assert_eq!(listener.event().await, ClientEvent::Frame { connection, client, session, frame });
        let frame = Bytes::copy_from_slice(&number.to_be_bytes());
        assert_eq!(link.event().await, LinkEvent::Frame(frame));
    }
    assert!(link.sender.round_trip().is_some());
    drop(link);
    assert_eq!(listener.event().await, ClientEvent::Disconnected { connection, client, session });
    assert_eq!(listener.listener.statistics().connections, 0);
}

/// One socket serves many sessions and identities.
#[tokio::test]
async fn an_endpoint_has_many_links() {
    let mut settings = listener_settings();
    // All handshakes go through the proof of address too.
    settings.limits.handshakes_unproven = 0;
    let mut listener = Listener::bind(settings);
    let first = endpoint(0);
    let second = first.with_identity(client_key(1)).unwrap();
    let mut links: Vec<Link> = (0..40)
        .map(|number| Link::new(if number % 2 == 0 { &first } else { &second }, listener.address(), number))
        .collect();
    // So many handshakes at once may take longer than one dialing attempt has, on a machine that is busy.
    let mut late = 0;
    for link in &mut links {
        loop {
            match link.event().await {
                LinkEvent::Connected => break,
                LinkEvent::Unreachable(DialError::NoAnswer) => late += 1,
                event => panic!("{event:?}"),
            }
        }
    }
    for _ in 0..40 {
        listener.connected().await;
    }
    for link in &mut links {
        link.echo(&mut listener, b"again and again").await;
    }
    let statistics = listener.listener.statistics();
    assert_eq!(statistics.connections, 40);
    assert!(statistics.refused <= late, "{statistics:?}, {late} late attempts");
    soon("shutdown", first.shutdown()).await;
    for link in &mut links {
        assert_eq!(soon("the link to end", link.events.recv()).await, None);
    }
}

#[tokio::test]
async fn refusals_are_told_from_silence() {
    let listener = Listener::bind(listener_settings());
    let stranger = endpoint(9);
    let mut link = Link::new(&stranger, listener.address(), 1);
    assert_eq!(link.event().await, LinkEvent::Refused(Refusal::UnknownKey));

    let another = Digest::of(Domain::Cluster, b"another");
    let lost = ClientEndpoint::new(client_key(0), another, LinkLimits::default()).unwrap();
    let mut link = Link::new(&lost, listener.address(), 1);
    assert_eq!(link.event().await, LinkEvent::Refused(Refusal::WrongCluster));

    let client = endpoint(0);
    let key = replica_key(5).public_key();
    let (_sender, mut events) = client.link(ReplicaId(5), key, listener.address(), SessionId(1)).unwrap();
    assert_eq!(events.recv().await, Some(LinkEvent::Unreachable(DialError::WrongKey)));

    let node = Node::bind(settings(0, 2, &[]));
    let mut link = Link::new(&client, node.network.local_addr(), 1);
    assert_eq!(link.event().await, LinkEvent::Refused(Refusal::WrongSocket));

    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let mut link = Link::new(&client, silent.local_addr().unwrap(), 1);
    assert_eq!(link.event().await, LinkEvent::Unreachable(DialError::NoAnswer));

    assert_eq!(listener.listener.statistics().connections, 0);
}

#[tokio::test]
async fn connections_beyond_the_limits_are_refused_and_the_others_go_on() {
    let mut settings = listener_settings();
    settings.limits.connections_per_client = 2;
    settings.limits.connections = 3;
    let mut listener = Listener::bind(settings);
    let (first, second) = (endpoint(0), endpoint(1));
    let mut links = Vec::new();
    for session in 0..2 {
        links.push(Link::new(&first, listener.address(), session));
        listener.connected().await;
    }
    let mut third = Link::new(&first, listener.address(), 2);
    assert_eq!(third.event().await, LinkEvent::Refused(Refusal::TooManyConnections));
    drop(third);

    links.push(Link::new(&second, listener.address(), 0));
    listener.connected().await;
    // A flood of admitted and of unknown clients is turned away before it costs anything.
    let strangers = endpoint(9);
    let mut flood: Vec<Link> = (0..50)
        .map(|session| {
            let endpoint = if session % 2 == 0 { &second } else { &strangers };
            Link::new(endpoint, listener.address(), 100 + session)
        })
        .collect();
    for link in &mut flood {
        assert_eq!(link.event().await, LinkEvent::Refused(Refusal::Busy));
    }
    for link in &mut links {
        assert_eq!(link.event().await, LinkEvent::Connected);
        link.echo(&mut listener, b"still here").await;
    }
    assert!(listener.listener.statistics().refused >= 51);
    // A place that becomes free is taken by one that waits.
    drop(flood.split_off(1));
    drop(links.pop());
    flood[0].until(&LinkEvent::Connected).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_the_others_go_on() {
    let mut settings = listener_settings();
    settings.limits.outgoing = QueueLimits { frames: 16, bytes: 1 << 20 };
    let mut listener = Listener::bind(settings);
    let limits = LinkLimits { events: 1, ..LinkLimits::default() };
    let deaf = ClientEndpoint::new(client_key(0), cluster(), limits).unwrap();
    let deaf = Link::new(&deaf, listener.address(), 0);
    let victim = listener.connected().await;
    let mut other = Link::new(&endpoint(1), listener.address(), 0);
    listener.connected().await;
    assert_eq!(other.event().await, LinkEvent::Connected);

    soon("the queue to overflow", async {
        while listener.listener.statistics().overflows == 0 {
            listener.listener.send(victim, Bytes::from_static(&[7; 100_000]));
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(
        matches!(listener.event().await, ClientEvent::Disconnected { connection, .. } if connection == victim)
    );
    other.echo(&mut listener, b"not my problem").await;
    drop(deaf);
}

/// R1: many connections of one client that does not read hold no more than one client may.
#[tokio::test]
async fn a_client_that_does_not_read_on_many_connections_has_one_budget() {
    let mut settings = listener_settings();
    settings.limits.outgoing = QueueLimits { frames: 1000, bytes: 8 << 20 };
    settings.limits.outgoing_bytes_per_client = 9 << 20;
    let mut listener = Listener::bind(settings);
    let limits = LinkLimits { events: 1, event_bytes: 1, ..LinkLimits::default() };
    let deaf = ClientEndpoint::new(client_key(0), cluster(), limits).unwrap();
    let (mut links, mut victims) = (Vec::new(), Vec::new());
    for session in 0..4 {
        links.push(Link::new(&deaf, listener.address(), session));
        victims.push(listener.connected().await);
    }
    let mut sent = 0;
    soon("the client to exceed its budget", async {
        while listener.listener.statistics().overflows == 0 {
            sent += 1;
            listener.listener.send(victims[sent % 4], Bytes::from_static(&[7; 50_000]));
            tokio::task::yield_now().await;
        }
    })
    .await;
    // On top of that comes what QUIC has taken.
    let most = (9 << 20) + 4 * ((4 << 20) + (256 << 10));
    assert!(sent * 50_000 <= most, "{sent} frames");
    drop(links);
}

#[tokio::test]
async fn oversize_frames_cut_the_connection_only() {
    let mut settings = listener_settings();
    settings.limits.frame_bytes = 1000;
    let mut listener = Listener::bind(settings);
    let mut bad = Link::new(&endpoint(0), listener.address(), 0);
    assert_eq!(bad.event().await, LinkEvent::Connected);
    let first = listener.connected().await;
    let mut good = Link::new(&endpoint(1), listener.address(), 0);
    assert_eq!(good.event().await, LinkEvent::Connected);
    listener.connected().await;
    bad.sender.send(Bytes::from(vec![0; 1001]));
    assert_eq!(bad.event().await, LinkEvent::Disconnected);
    assert!(
        matches!(listener.event().await, ClientEvent::Disconnected { connection, .. } if connection == first)
    );
    assert_eq!(listener.listener.statistics().offences, 1);
    assert_eq!(bad.event().await, LinkEvent::Connected);
    listener.connected().await;
    good.echo(&mut listener, b"undisturbed").await;
}

/// A client that dials again has lost its connection; the new one takes its place and counts once.
#[tokio::test]
async fn a_session_has_one_connection() {
    let mut settings = listener_settings();
    settings.limits.connections_per_client = 1;
    let mut listener = Listener::bind(settings);
    let _first = Link::new(&endpoint(0), listener.address(), 5);
    let old = listener.connected().await;
    let mut second = Link::new(&endpoint(0), listener.address(), 5);
    assert_eq!(second.event().await, LinkEvent::Connected);
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(listener.event().await);
    }
    assert!(seen.iter().any(|event| matches!(event, ClientEvent::Connected { .. })), "{seen:?}");
    assert!(
        seen.iter()
            .any(|event| matches!(event, ClientEvent::Disconnected { connection, .. } if *connection == old)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_closed_connection_is_made_anew() {
    let mut listener = Listener::bind(listener_settings());
    let mut link = Link::new(&endpoint(0), listener.address(), 0);
    assert_eq!(link.event().await, LinkEvent::Connected);
    let connection = listener.connected().await;
    listener.listener.close(connection);
    assert!(matches!(listener.event().await, ClientEvent::Disconnected { .. }));
    assert_eq!(link.event().await, LinkEvent::Disconnected);
    assert_eq!(link.event().await, LinkEvent::Connected);
    assert_ne!(listener.connected().await, connection);
    listener.listener.send(connection, Bytes::from_static(b"to nobody"));
    link.echo(&mut listener, b"anew").await;
}

/// Requests wait for a replica that is down, as far as the queue goes, since they stay worth sending.
#[tokio::test]
async fn requests_wait_for_a_replica_that_is_down() {
    let listener = Listener::bind(listener_settings());
    let address = listener.address();
    soon("shutdown", listener.listener.shutdown()).await;
    let limits = LinkLimits { outgoing: QueueLimits { frames: 2, bytes: 1000 }, ..LinkLimits::default() };
    let client = ClientEndpoint::new(client_key(0), cluster(), limits).unwrap();
    let link = Link::new(&client, address, 0);
    let sent = [1, 2, 3].map(|number| link.sender.send(Bytes::from(vec![number])));
    assert_eq!((sent, link.sender.dropped()), ([true, true, false], 1));
    let mut settings = listener_settings();
    settings.listen = address;
    let mut listener = Listener::bind(settings);
    listener.connected().await;
    assert_eq!(listener.frame().await.1, Bytes::from(vec![1]));
    assert_eq!(listener.frame().await.1, Bytes::from(vec![2]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_reconnects_to_a_killed_and_restarted_replica() {
    let address = std::net::UdpSocket::bind(loopback()).unwrap().local_addr().unwrap();
    let life = || {
        Killable::start(move || async move {
            let mut settings = listener_settings();
            settings.listen = address;
            let mut listener = Listener::bind(settings);
            while let Some(event) = listener.events.recv().await {
                if let ClientEvent::Frame { connection, frame, .. } = event {
                    listener.listener.send(connection, frame);
                }
            }
        })
    };
    let first = life();
    let mut link = Link::new(&endpoint(0), address, 0);
    link.until(&LinkEvent::Connected).await;
    link.sender.send(Bytes::from_static(b"first life"));
    link.until(&LinkEvent::Frame(Bytes::from_static(b"first life"))).await;
    first.kill().await;
    let since = Instant::now();
    let second = life();
    link.until(&LinkEvent::Disconnected).await;
    link.until(&LinkEvent::Connected).await;
    assert!(since.elapsed() < Duration::from_millis(1500), "{:?}", since.elapsed());
    link.sender.send(Bytes::from_static(b"second life"));
    link.until(&LinkEvent::Frame(Bytes::from_static(b"second life"))).await;
    second.kill().await;
}

#[tokio::test]
async fn garbage_changes_nothing() {
    let mut listener = Listener::bind(listener_settings());
    let mut link = Link::new(&endpoint(0), listener.address(), 0);
    assert_eq!(link.event().await, LinkEvent::Connected);
    listener.connected().await;
    garbage(listener.address());
    link.echo(&mut listener, b"calm").await;
    let statistics = listener.listener.statistics();
    assert_eq!((statistics.connections, statistics.offences), (1, 0));
}
