//! The socket through which a replica speaks with the others, with all that is wrong with its links.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::Sleep;

use pbft_messages::{Configuration, ReplicaId};
use pbft_transport::SocketLayer;

use super::links::Links;
use super::waiting::Waiting;
use super::{Direction, LinkFault, Shape};

/// What stands between a replica's socket for peers and QUIC. Cloning gives another handle on the same links.
#[derive(Clone)]
pub(crate) struct Layer {
    /// Whose address it is. Datagrams of anybody else pass untouched.
    addresses: Arc<BTreeMap<SocketAddr, ReplicaId>>,
    links: Arc<Mutex<Links>>,
    start: Instant,
}

impl Layer {
    /// Good links to all replicas of a cluster.
    pub(crate) fn new(configuration: &Configuration) -> Self {
        let address = |replica| Some((configuration.member(replica)?.peer_address, replica));
        Self {
            addresses: Arc::new(configuration.replicas().filter_map(address).collect()),
            links: Arc::new(Mutex::new(Links::new(StdRng::seed_from_u64(rand::random())))),
            start: Instant::now(),
        }
    }

    /// Makes the links to these replicas bad lines, for so long or until they are mended.
    pub(crate) fn spoil(
        &self,
        peers: impl IntoIterator<Item = ReplicaId>,
        shape: Shape,
        last: Option<Duration>,
    ) {
        let (mut links, until) = (self.links(), self.until(last));
        peers.into_iter().for_each(|peer| links.spoil(peer, shape, until));
    }

    /// Lets nothing pass that way between this replica and these, for so long or until they are healed.
    pub(crate) fn cut(
        &self,
        peers: impl IntoIterator<Item = ReplicaId>,
        way: Direction,
        last: Option<Duration>,
    ) {
        let (mut links, until) = (self.links(), self.until(last));
        peers.into_iter().for_each(|peer| links.cut(peer, way, until));
    }

    /// Ends bad lines, and leaves cuts.
    pub(crate) fn mend(&self) {
        self.links().mend();
    }

    /// Ends all that is wrong with the links.
    pub(crate) fn heal(&self) {
        self.links().heal();
    }

    /// What is wrong with which link.
    pub(crate) fn faults(&self) -> Vec<LinkFault> {
        self.links().faults(self.now())
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        // Nothing under the lock panics half-way.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn until(&self, last: Option<Duration>) -> Option<Duration> {
        last.map(|last| self.now().saturating_add(last))
    }

    /// Whether nothing passes one way any more between this replica and whoever has this address.
    fn is_cut(&self, now: Duration, address: SocketAddr, way: Direction) -> bool {
        self.peer(address).is_some_and(|peer| self.links().is_cut(now, peer, way))
    }

    fn peer(&self, address: SocketAddr) -> Option<ReplicaId> {
        self.addresses.get(&SocketAddr::new(address.ip().to_canonical(), address.port())).copied()
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Layer({:?})", self.faults())
    }
}

impl SocketLayer for Layer {
    fn wrap(&self, socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket> {
        let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        let under_way = UnderWay { out: Waiting::default(), into: Waiting::default(), sleep, receiver: None };
        Arc::new(BadSocket { socket, layer: self.clone(), under_way: Mutex::new(under_way) })
    }
}

/// A socket whose datagrams are lost and late.
#[derive(Debug)]
struct BadSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    layer: Layer,
    under_way: Mutex<UnderWay>,
}

/// What was sent and has not left, and what has come and was not received. All of it is moved by the task that
/// receives: QUIC has one, which lives as long as the socket.
#[derive(Debug)]
struct UnderWay {
    out: Waiting<Outgoing>,
    into: Waiting<Incoming>,
    sleep: Pin<Box<Sleep>>,
    receiver: Option<Waker>,
}

#[derive(Debug)]
struct Outgoing {
    destination: SocketAddr,
    ecn: Option<EcnCodepoint>,
    contents: Vec<u8>,
}

#[derive(Debug)]
struct Incoming {
    meta: RecvMeta,
    contents: Vec<u8>,
}

impl AsRef<[u8]> for Outgoing {
    fn as_ref(&self) -> &[u8] {
        &self.contents
    }
}

impl AsRef<[u8]> for Incoming {
    fn as_ref(&self) -> &[u8] {
        &self.contents
    }
}

impl BadSocket {
    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what has waited long enough, unless the link was cut meanwhile. What the system has no room for is lost, as
    /// datagrams may be.
    fn send_due(&self, under_way: &mut UnderWay, now: Duration) {
        while let Some(Outgoing { destination, ecn, contents }) = under_way.out.take(now) {
            if self.layer.is_cut(now, destination, Direction::To) {
                continue;
            }
            let transmit =
                Transmit { destination, ecn, contents: &contents, segment_size: None, src_ip: None };
            let _ = self.socket.try_send(&transmit);
        }
    }

    /// Puts what has waited long enough into the buffers, unless the link was cut meanwhile; how many of them.
    fn hand_over(
        &self,
        under_way: &mut UnderWay,
        now: Duration,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> usize {
        let whole = std::iter::from_fn(|| under_way.into.take(now))
            .filter(|it| !self.layer.is_cut(now, it.meta.addr, Direction::From));
        let mut count = 0;
        for ((buffer, slot), Incoming { meta, contents }) in buffers.iter_mut().zip(metas).zip(whole) {
            // The same buffers took it in.
            buffer[..contents.len()].copy_from_slice(&contents);
            *slot = meta;
            count += 1;
        }
        count
    }

    /// Takes what came in off the buffers: each datagram waits from now on, if only for its turn.
    fn take_in(
        &self,
        under_way: &mut UnderWay,
        now: Duration,
        buffers: &[IoSliceMut<'_>],
        metas: &[RecvMeta],
    ) {
        let mut links = self.layer.links();
        for (buffer, meta) in buffers.iter().zip(metas) {
            let peer = self.layer.peer(meta.addr);
            // The kernel may hand over several datagrams of one sender as one.
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                let bytes = datagram.len();
                let arrival = peer.map_or(Some(now), |peer| links.arrival(now, peer, Direction::From, bytes));
                if let Some(at) = arrival {
                    let meta = RecvMeta { len: bytes, stride: bytes, ..*meta };
                    under_way.into.put(at, Incoming { meta, contents: datagram.to_vec() });
                }
            }
        }
    }
}

impl AsyncUdpSocket for BadSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let now = self.layer.now();
        let mut links = self.layer.links();
        let Some(peer) = self.layer.peer(transmit.destination).filter(|peer| links.is_disturbed(now, *peer))
        else {
            drop(links);
            return self.socket.try_send(transmit);
        };
        let mut arrivals = Vec::new();
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(size) {
            if let Some(at) = links.arrival(now, peer, Direction::To, datagram.len()) {
                arrivals.push((at, datagram));
            }
        }
        drop(links);
        let mut under_way = self.under_way();
        for (at, datagram) in arrivals {
            let Transmit { destination, ecn, .. } = *transmit;
            under_way.out.put(at, Outgoing { destination, ecn, contents: datagram.to_vec() });
        }
        // The receiving task looks how long it may sleep.
        if let Some(receiver) = under_way.receiver.take() {
            receiver.wake();
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut under_way = self.under_way();
        loop {
            let now = self.layer.now();
            self.send_due(&mut under_way, now);
            let handed = self.hand_over(&mut under_way, now, buffers, metas);
            if handed > 0 {
                return Poll::Ready(Ok(handed));
            }
            match self.socket.poll_recv(context, buffers, metas) {
                Poll::Ready(Ok(count)) if self.layer.links().are_disturbed(now) => {
                    self.take_in(&mut under_way, now, buffers, &metas[..count]);
                }
                Poll::Pending => {
                    under_way.receiver = Some(context.waker().clone());
                    let next = [under_way.out.next(), under_way.into.next()].into_iter().flatten().min();
                    let Some(next) = next else { return Poll::Pending };
                    under_way.sleep.as_mut().reset((self.layer.start + next).into());
                    if under_way.sleep.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                }
                ready => return ready,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}
