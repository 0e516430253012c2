//! Replicas and clients on loopback ports that the system chooses, and waiting for what they report.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pbft_crypto::{Digest, Domain, SecretKey, Signer};
use pbft_messages::ReplicaId;
use pbft_transport::{
    Lane, PeerAddress, PeerEvent, PeerFrame, PeerLimits, PeerNetwork, PeerReceivers, PeerSettings,
};

/// The longest that any single event may take; far above what one does take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `event`, and fails the test with `what` if it does not happen.
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Shows the transport's log when a test fails and `RUST_LOG` says so.
pub fn trace() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

pub fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub fn cluster() -> Digest {
    Digest::of(Domain::Cluster, b"the cluster of this test")
}

pub fn replica_key(id: u16) -> Arc<SecretKey> {
    Arc::new(SecretKey::from_seed(&[id as u8 + 1; 32]))
}

pub fn client_key(number: u8) -> Arc<SecretKey> {
    Arc::new(SecretKey::from_seed(&[number + 100; 32]))
}

/// A replica's peer settings, with the usual keys. `addresses` are those of replicas 0, 1, …; lower ids than `id`
/// dial, so their addresses don't matter.
pub fn settings(id: u16, n: u16, addresses: &[(u16, SocketAddr)]) -> PeerSettings {
    let address =
        |peer: u16| addresses.iter().find(|(id, _)| *id == peer).map_or(loopback(), |entry| entry.1);
    PeerSettings {
        identity: replica_key(id),
        id: ReplicaId(id),
        listen: loopback(),
        peers: (0..n)
            .map(|peer| PeerAddress {
                id: ReplicaId(peer),
                key: replica_key(peer).public_key(),
                address: address(peer),
            })
            .collect(),
        cluster: cluster(),
        limits: PeerLimits::default(),
        layer: None,
    }
}

/// A replica's network and its receivers.
pub struct Node {
    pub network: PeerNetwork,
    pub receivers: PeerReceivers,
}

impl Node {
    pub fn bind(settings: PeerSettings) -> Self {
        trace();
        let (network, receivers) = PeerNetwork::bind(settings).expect("loopback has free ports");
        Self { network, receivers }
    }

    pub async fn event(&mut self) -> PeerEvent {
        soon("a link to change", self.receivers.links.recv()).await.expect("the network is up")
    }

    /// Waits until the link to `peer` is up, past whatever else is reported.
    pub async fn connected(&mut self, peer: u16) {
        while self.event().await != PeerEvent::Connected(ReplicaId(peer)) {}
    }

    pub async fn disconnected(&mut self, peer: u16) {
        while self.event().await != PeerEvent::Disconnected(ReplicaId(peer)) {}
    }

    pub async fn vote(&mut self) -> PeerFrame {
        soon("a vote", self.receivers.votes.recv()).await.expect("the network is up")
    }

    pub async fn bulk(&mut self) -> PeerFrame {
        soon("a bulk frame", self.receivers.bulk.recv()).await.expect("the network is up")
    }

    pub fn send(&self, to: u16, lane: Lane, frame: &'static [u8]) {
        self.network.send(ReplicaId(to), lane, Bytes::from_static(frame));
    }

    /// Sends a vote each way and waits for both.
    pub async fn exchange(&mut self, here: u16, other: &mut Self, there: u16) {
        self.send(there, Lane::Votes, b"from here");
        other.send(here, Lane::Votes, b"from there");
        assert_eq!(other.vote().await.frame, "from here");
        assert_eq!(self.vote().await.frame, "from there");
    }
}

/// Replicas 0 and 1, connected: 0 dials 1. `adjust` changes their settings.
pub async fn pair(adjust: impl Fn(u16, &mut PeerSettings)) -> (Node, Node) {
    let mut nodes = Vec::new();
    let mut addresses = Vec::new();
    for id in [1, 0] {
        let mut settings = settings(id, 2, &addresses);
        adjust(id, &mut settings);
        let node = Node::bind(settings);
        addresses.push((id, node.network.local_addr()));
        nodes.push(node);
    }
    let mut zero = nodes.pop().expect("two were made");
    let mut one = nodes.pop().expect("two were made");
    zero.connected(1).await;
    one.connected(0).await;
    (zero, one)
}

/// Sends datagrams that are no QUIC, almost QUIC, and QUIC to nobody.
pub fn garbage(to: SocketAddr) {
    let socket = UdpSocket::bind(loopback()).expect("loopback has free ports");
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for round in 0..400_usize {
        let mut datagram: Vec<u8> = (0..1 + (round * 7) % 1400)
            .map(|_| {
                // A linear congruential generator: any bytes will do.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        match round % 4 {
            0 => {}
            // A short header to an unknown connection.
            1 => datagram[0] = 0x40,
            // A long header of version 1: an initial packet that decrypts to nothing.
            _ => {
                datagram.resize(1200, 0);
                datagram[..6].copy_from_slice(&[0xC0, 0, 0, 0, 1, 8]);
            }
        }
        // A full buffer drops garbage as well as anything else.
        let _ = socket.send_to(&datagram, to);
    }
}

/// Something that runs in a runtime of its own, so that it can end as a killed process does: no task runs again, no
/// packet is sent, the sockets are closed.
pub struct Killable {
    kill: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Killable {
    /// Runs `body` in a runtime of its own, until it is killed.
    pub fn start<F: Future<Output = ()>>(body: impl FnOnce() -> F + Send + 'static) -> Self {
        let (kill, killed) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            runtime.block_on(async {
                tokio::select! {
                    _ = killed => {}
                    () = body() => {}
                }
            });
        });
        Self { kill, thread }
    }

    /// Kills it, and returns when nothing is left.
    pub async fn kill(self) {
        let _ = self.kill.send(());
        tokio::task::spawn_blocking(move || self.thread.join().expect("no panic")).await.expect("no panic");
    }
}
