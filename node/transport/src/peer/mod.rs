//! A replica's links to the other replicas.

mod accept;
mod link;
mod receive;
mod state;
mod supervise;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use pbft_crypto::{Digest, PublicKey, SecretKey, Signer};
use pbft_messages::{ReplicaId, SessionId};

use crate::bind::{BindError, Socket, SocketLayer};
use crate::dial::{DialError, Target};
use crate::gate::Gate;
use crate::hello::Hello;
use crate::inbox::inbox;
use crate::limits::{LaneLimits, PeerLimits};
use crate::quic;
use crate::tls::{Identity, Protocol};

pub use receive::{LaneReceiver, PeerFrame, PeerReceivers};
use state::Peer;
use supervise::Supervisor;

/// One of the two streams that a link has in each direction. They have separate queues and separate flow control, and
/// what waits on the vote lane is sent before what waits on the bulk lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Consensus messages: small, and each delay counts.
    Votes,
    /// Request bodies, state, snapshots: large, and may wait.
    Bulk,
}

impl Lane {
    const ALL: [Self; 2] = [Self::Votes, Self::Bulk];

    const fn index(self) -> usize {
        self as usize
    }

    /// The byte that opens the lane's stream.
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::Votes => 1,
            Self::Bulk => 2,
        }
    }

    fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.tag() == tag)
    }

    /// What QUIC orders the streams of a connection by; higher goes first.
    const fn priority(self) -> i32 {
        match self {
            Self::Votes => 1,
            Self::Bulk => 0,
        }
    }
}

impl PeerLimits {
    fn of(&self, lane: Lane) -> &LaneLimits {
        match lane {
            Lane::Votes => &self.votes,
            Lane::Bulk => &self.bulk,
        }
    }
}

/// Where another replica is, and who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its index in the configuration.
    pub id: ReplicaId,
    /// Its identity: nobody else is accepted in its place.
    pub key: PublicKey,
    /// Its socket for peers. Only lower ids dial it.
    pub address: SocketAddr,
}

/// What [`PeerNetwork::bind`] needs to know.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// This replica's key.
    pub identity: Arc<SecretKey>,
    /// This replica's id.
    pub id: ReplicaId,
    /// Where to listen. Port 0 lets the system choose; see [`PeerNetwork::local_addr`].
    pub listen: SocketAddr,
    /// The other replicas. An entry for this replica itself is ignored.
    pub peers: Vec<PeerAddress>,
    /// The cluster's identity, which all replicas must agree on.
    pub cluster: Digest,
    /// The bounds.
    pub limits: PeerLimits,
    /// What stands between the socket and QUIC; nothing, except in a testnet.
    pub layer: Option<Arc<dyn SocketLayer>>,
}

/// A change of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// The link to a replica is up. Frames that were sent while it was down are lost, so this is the moment to repeat
    /// what matters.
    Connected(ReplicaId),
    /// The link is down. If another connection of the same replica took its place, [`PeerEvent::Connected`] follows.
    Disconnected(ReplicaId),
    /// A replica that this one dials could not be connected to, for a reason other than the last time. Attempts go
    /// on.
    Failed(ReplicaId, DialError),
}

/// The state of one link, for metrics. Counts are since [`PeerNetwork::bind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatistics {
    /// The replica at the other end.
    pub peer: ReplicaId,
    /// Whether the link is up.
    pub connected: bool,
    /// QUIC's estimate of the round-trip time, while the link is up.
    pub round_trip: Option<Duration>,
    /// How often the link came up.
    pub connections: u64,
    /// The offences of the replica, reported and noticed, forgiven or not.
    pub offences: u64,
    /// Whether the replica is cut off for its offences.
    pub cooling_off: bool,
    /// Why the last attempt to dial the replica failed, unless one succeeded since.
    pub last_failure: Option<DialError>,
    /// The lane of consensus messages.
    pub votes: LaneStatistics,
    /// The lane of bulk.
    pub bulk: LaneStatistics,
}

/// The state of one lane of one link. Bytes are those of frames, without lengths and QUIC's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStatistics {
    /// Frames that were handed to QUIC.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Frames that came in whole.
    pub frames_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Frames that were to be sent and were dropped: the queue was full, the link down, or the frame too large.
    pub dropped: u64,
    /// Frames that wait to be sent at this moment.
    pub waiting: usize,
}

/// A replica's links to all other replicas.
///
/// Each pair of replicas has one connection: the one with the lower id dials, again and again with growing pauses,
/// and both send on it. A restarted replica is noticed within half a second or so: it dials its higher peers at once,
/// and to its lower peers it answers with stateless resets, upon which they dial. A replica that vanished is noticed
/// after three seconds.
///
/// Cloning gives another handle on the same network. When the last handle is dropped the links are closed in the
/// background; [`PeerNetwork::shutdown`] does the same and waits.
#[derive(Clone)]
pub struct PeerNetwork {
    inner: Arc<Inner>,
}

struct Inner {
    peers: Arc<BTreeMap<ReplicaId, Arc<Peer>>>,
    gate: Arc<Gate>,
    socket: Socket,
    tasks: TaskTracker,
    ended: CancellationToken,
    _end_on_drop: DropGuard,
}

/// Link changes that wait for the caller; links wait when there are more.
const EVENTS: usize = 1024;

impl PeerNetwork {
    /// Opens the socket and starts to connect. Must be called within a tokio runtime.
    ///
    /// The receivers are to be read all the time: a lane that is not read stops its streams, and events that are not
    /// read stop links from coming up.
    ///
    /// # Errors
    /// [`BindError`] if the socket cannot be opened, or the list of peers names an id or a key twice.
    pub fn bind(settings: PeerSettings) -> Result<(Self, PeerReceivers), BindError> {
        let PeerSettings { identity, id, listen, mut peers, cluster, limits, layer } = settings;
        peers.retain(|peer| peer.id != id);
        check_peers(&peers, &identity)?;
        let tls = Identity::new(&identity)?;
        let server = tls.listen(Protocol::Peer, peers.iter().map(|peer| peer.key))?;
        let server = quic::server(Protocol::Peer, server, limits.segmentation_offload);
        let (socket, endpoint) =
            Socket::open(listen, quic::endpoint(&identity, Protocol::Peer), Some(server), layer.as_deref())?;

        let ended = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (events, links) = mpsc::channel(EVENTS);
        let (mut votes, mut bulk) = (Vec::new(), Vec::new());
        let mut by_id = BTreeMap::new();
        let mut by_key = Vec::new();
        let hello = Hello { protocol: Protocol::Peer, cluster, session: SessionId(0) };
        for PeerAddress { id: peer_id, key, address } in peers {
            let (vote_sender, vote_receiver) = inbox(limits.votes.incoming);
            let (bulk_sender, bulk_receiver) = inbox(limits.bulk.incoming);
            votes.push((peer_id, vote_receiver));
            bulk.push((peer_id, bulk_receiver));
            let (arrivals, arrived) = mpsc::channel(1);
            let peer = Arc::new(Peer::new(peer_id, limits));
            let supervisor = Supervisor {
                peer: peer.clone(),
                inboxes: [vote_sender, bulk_sender],
                arrived,
                events: events.clone(),
                ended: ended.clone(),
            };
            if id < peer_id {
                let config = tls.dial(Protocol::Peer, key)?;
                let config = quic::client(Protocol::Peer, config, limits.segmentation_offload);
                let target = Target { config, address, key, identity: identity.clone(), hello };
                tasks.spawn(supervisor.dial(target, endpoint.clone()));
            } else {
                tasks.spawn(supervisor.await_connections());
                by_key.push((key, peer.clone(), arrivals));
            }
            by_id.insert(peer_id, peer);
        }

        // Each peer may be in a handshake twice, by a restart; the rest is room for strangers to be turned away.
        let gate = Arc::new(Gate::new(by_id.len() * 2 + 16, by_id.len() + 4));
        let acceptor = accept::Acceptor { identity, hello, dialers: by_key, gate: gate.clone() };
        tasks.spawn(acceptor.run(endpoint, tasks.clone(), ended.clone()));
        let inner = Inner {
            peers: Arc::new(by_id),
            gate,
            socket,
            tasks,
            _end_on_drop: ended.clone().drop_guard(),
            ended,
        };
        let receivers =
            PeerReceivers { votes: LaneReceiver::new(votes), bulk: LaneReceiver::new(bulk), links };
        Ok((Self { inner: Arc::new(inner) }, receivers))
    }

    /// Sends a frame to one replica. Never waits.
    ///
    /// The frame is dropped, and counted, if the lane's queue is full, if the frame is above the lane's limit, or if
    /// the link is down: what was to be said then is stale when it is up again, and the protocol repeats what is not.
    /// A frame to an unknown replica, or to this one, goes nowhere.
    pub fn send(&self, to: ReplicaId, lane: Lane, frame: Bytes) {
        if let Some(peer) = self.inner.peers.get(&to) {
            // The queue counts what it drops.
            let _ = peer.outbox(lane).put(frame);
        }
    }

    /// Sends a frame to all other replicas, as [`PeerNetwork::send`] does.
    pub fn broadcast(&self, lane: Lane, frame: Bytes) {
        for peer in self.inner.peers.values() {
            let _ = peer.outbox(lane).put(frame.clone());
        }
    }

    /// Reports that a replica sent a frame that no correct replica sends: malformed, or with a bad signature. Offences
    /// slow the replica down, and then cut it off for a while ([`crate::OffenceLimits`]).
    ///
    /// A message of a higher view or sequence is no offence (R3).
    pub fn offence(&self, from: ReplicaId) {
        if let Some(peer) = self.inner.peers.get(&from) {
            peer.offence();
        }
    }

    /// The state of all links, by ascending id.
    #[must_use]
    pub fn statistics(&self) -> Vec<PeerStatistics> {
        self.inner.peers.values().map(|peer| peer.statistics()).collect()
    }

    /// The connection attempts that were refused since [`PeerNetwork::bind`]: unknown keys, bad hellos, floods.
    #[must_use]
    pub fn refused_connections(&self) -> u64 {
        self.inner.gate.refused()
    }

    /// The address that the socket is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.socket.address()
    }

    /// Closes all links, so that the other side knows at once, ends all tasks and frees the port. The receivers end
    /// when they are drained. Frames that wait to be sent are lost.
    pub async fn shutdown(&self) {
        self.inner.ended.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.socket.close().await;
    }
}

fn check_peers(peers: &[PeerAddress], identity: &SecretKey) -> Result<(), BindError> {
    let mut ids = BTreeSet::new();
    let mut keys = BTreeSet::from([*identity.public_key().as_bytes()]);
    for peer in peers {
        if !ids.insert(peer.id) {
            return Err(BindError::Settings(format!("replica {} is listed twice", peer.id)));
        }
        if !keys.insert(*peer.key.as_bytes()) {
            return Err(BindError::Settings(format!(
                "the key of replica {} is another replica's too",
                peer.id
            )));
        }
    }
    Ok(())
}
