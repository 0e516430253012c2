//! A client's socket, which all of its links share.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use quinn::Endpoint;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use pbft_crypto::{Digest, PublicKey, SecretKey};
use pbft_messages::{ReplicaId, SessionId};

use super::link::{Link, LinkEvent, LinkSender};
use crate::bind::{BindError, Socket};
use crate::dial::Target;
use crate::hello::Hello;
use crate::limits::LinkLimits;
use crate::quic;
use crate::tls::{Identity, Protocol};

/// A client's end of its links to the replicas.
///
/// All links, of all sessions and identities of a process, share one UDP socket. Cloning gives another handle on it.
/// Links that were made go on when the handles are dropped.
#[derive(Clone)]
pub struct ClientEndpoint {
    identity: Arc<SecretKey>,
    tls: Identity,
    cluster: Digest,
    limits: LinkLimits,
    endpoint: Endpoint,
    inner: Arc<Inner>,
}

/// The socket and its links' tasks, which live as long as an endpoint or a link does.
#[derive(Debug)]
pub(super) struct Inner {
    socket: Socket,
    tasks: TaskTracker,
    ended: CancellationToken,
    _end_on_drop: DropGuard,
}

impl ClientEndpoint {
    /// Opens a socket on a port that the system chooses. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`] if the socket cannot be opened.
    pub fn new(identity: Arc<SecretKey>, cluster: Digest, limits: LinkLimits) -> Result<Self, BindError> {
        let tls = Identity::new(&identity)?;
        let open = |address: SocketAddr| Socket::open(address, quic::client_endpoint(), None, None);
        // A socket for IPv6 reaches IPv4 too; where there is no IPv6, one for IPv4 must do.
        let (socket, endpoint) =
            open((Ipv6Addr::UNSPECIFIED, 0).into()).or_else(|_| open((Ipv4Addr::UNSPECIFIED, 0).into()))?;
        let ended = CancellationToken::new();
        let _end_on_drop = ended.clone().drop_guard();
        let inner = Arc::new(Inner { socket, tasks: TaskTracker::new(), ended, _end_on_drop });
        Ok(Self { identity, tls, cluster, limits, endpoint, inner })
    }

    /// The same socket for another identity: how a load generator is many clients.
    ///
    /// # Errors
    /// [`BindError::Identity`] if the key does not work with TLS.
    pub fn with_identity(&self, identity: Arc<SecretKey>) -> Result<Self, BindError> {
        Ok(Self { tls: Identity::new(&identity)?, identity, ..self.clone() })
    }

    /// Starts a link for `session` to the holder of `key` at `address`, and keeps it up until the sender and its
    /// clones are dropped, or the receiver is. The id is for logs.
    ///
    /// The events are to be read all the time: while their queue is full, the link does not read.
    ///
    /// # Errors
    /// [`BindError::Identity`] if the key does not work with TLS.
    pub fn link(
        &self,
        replica: ReplicaId,
        key: PublicKey,
        address: SocketAddr,
        session: SessionId,
    ) -> Result<(LinkSender, mpsc::Receiver<LinkEvent>), BindError> {
        let config = self.tls.dial(Protocol::Client, key)?;
        let target = Target {
            config: quic::client(Protocol::Client, config, self.limits.segmentation_offload),
            address,
            key,
            identity: self.identity.clone(),
            hello: Hello { protocol: Protocol::Client, cluster: self.cluster, session },
        };
        let ended = self.inner.ended.child_token();
        let (link, sender, events) = Link::new(replica, target, self.limits, ended, self.inner.clone());
        self.inner.tasks.spawn(link.run(self.endpoint.clone()));
        Ok((sender, events))
    }

    /// Closes all links, so that the replicas know at once, and ends all tasks.
    pub async fn shutdown(self) {
        self.inner.ended.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        drop(self.endpoint);
        self.inner.socket.close().await;
    }
}
