//! Opening a UDP socket with a QUIC endpoint on it, and closing it so that the port is free again.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use quinn::udp::UdpSocketState;
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, ServerConfig};

use crate::close::Close;

/// A socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process, or another part of this one, has the port.
    #[error(
        "cannot listen on {address}: the port is in use; stop the process that has it, or choose another address"
    )]
    InUse {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The operating system refused for another reason.
    #[error(
        "cannot listen on {address}: {source}; the address must be one of this machine's, and ports below 1024 need privileges"
    )]
    Refused {
        /// The address that was asked for.
        address: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The identity or a pinned key does not work with TLS; see the source.
    #[error("cannot prepare the identity key for TLS: {0}")]
    Identity(#[from] rustls::Error),
    /// The settings contradict themselves.
    #[error("the settings are not usable: {0}")]
    Settings(String),
    /// The call was made outside of a tokio runtime, which links need.
    #[error("links can be made within a tokio runtime only")]
    NoRuntime,
}

/// What may stand between a UDP socket and QUIC: a place where a testnet delays and loses datagrams, so that QUIC
/// itself repeats them. Production has none.
pub trait SocketLayer: fmt::Debug + Send + Sync {
    /// The socket that QUIC uses in place of `socket`. When QUIC lets go of it, it lets go of `socket`.
    fn wrap(&self, socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket>;
}

/// A QUIC endpoint that can be closed completely.
#[derive(Debug)]
pub(crate) struct Socket {
    endpoint: Mutex<Option<Endpoint>>,
    /// The socket, which the endpoint's own task releases some time after the last handle is gone.
    socket: Weak<dyn AsyncUdpSocket>,
    address: SocketAddr,
}

impl Socket {
    /// Binds `address` and starts an endpoint there.
    pub(crate) fn open(
        address: SocketAddr,
        config: EndpointConfig,
        server: Option<ServerConfig>,
        layer: Option<&dyn SocketLayer>,
    ) -> Result<(Self, Endpoint), BindError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            _ => BindError::Refused { address, source },
        };
        let runtime = quinn::default_runtime().ok_or(BindError::NoRuntime)?;
        let socket = UdpSocket::bind(address).map_err(refused)?;
        enlarge_buffers(&socket, address);
        let socket = runtime.wrap_udp_socket(socket).map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        let held = Arc::downgrade(&socket);
        let socket = match layer {
            Some(layer) => layer.wrap(socket),
            None => socket,
        };
        let endpoint =
            Endpoint::new_with_abstract_socket(config, server, socket, runtime).map_err(refused)?;
        Ok((Self { endpoint: Mutex::new(Some(endpoint.clone())), socket: held, address }, endpoint))
    }

    /// The address that the socket is bound to, with the port that the system chose if 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, waits until the other sides were told, and until the port is free.
    ///
    /// The caller has ended its tasks before, or is about to: an endpoint lives as long as a handle of it.
    pub(crate) async fn close(&self) {
        let endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(endpoint) = endpoint else { return };
        endpoint.close(Close::Shutdown.number(), b"");
        // Bounded, because a side that does not answer is waited for only as long as it is polite.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await;
        drop(endpoint);
        for _ in 0..RELEASE_CHECKS {
            if self.socket.strong_count() == 0 {
                return;
            }
            tokio::time::sleep(RELEASE_INTERVAL).await;
        }
        tracing::debug!(address = %self.address, "the socket is still held after its endpoint was closed");
    }
}

/// Asks for kernel buffers that hold a burst of all peers at once: a datagram that finds the buffer full is lost, and
/// QUIC slows down. The system grants what its own limit allows, and a socket works with less.
fn enlarge_buffers(socket: &UdpSocket, address: SocketAddr) {
    let enlarged = UdpSocketState::new(socket.into()).and_then(|state| {
        state.set_recv_buffer_size(socket.into(), SOCKET_BUFFER)?;
        state.set_send_buffer_size(socket.into(), SOCKET_BUFFER)
    });
    if let Err(error) = enlarged {
        tracing::debug!(%address, %error, "the socket keeps buffers of the default size");
    }
}

/// The size of either kernel buffer that is asked for, in bytes.
const SOCKET_BUFFER: usize = 4 << 20;

/// How long closing waits for the connections' last packets.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often, and how many times, closing looks whether quinn's task let go of the socket. There is no event for it.
const RELEASE_INTERVAL: Duration = Duration::from_millis(1);
const RELEASE_CHECKS: u32 = 500;
