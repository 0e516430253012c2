use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// Asks the system for free UDP ports on the loopback interface, all different.
///
/// They are free now; somebody else may take one before it is used, so whoever uses them must be ready to ask again.
///
/// # Errors
/// The operating system's, if it has none left.
pub(crate) fn free_ports(count: usize) -> io::Result<Vec<SocketAddr>> {
    // All sockets are held until the last port is known, so that none is given out twice.
    let sockets = (0..count).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
    let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    sockets.iter().map(UdpSocket::local_addr).collect()
}
