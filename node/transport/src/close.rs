//! Why a connection was closed, as both sides can tell.
//!
//! A listening side refuses by closing the connection with a code: that reaches the other side even if a stream
//! could not be read, and it comes from the pinned key like everything on the connection.

use std::fmt;

use quinn::{Connection, ConnectionError, TransportErrorCode, VarInt};

/// The TLS alert (RFC 8446, section 6) that rustls sends when a verifier of ours finds an unexpected key.
const ACCESS_DENIED: u8 = 49;
/// The TLS alert for a socket that speaks none of the offered protocols.
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Why a listening replica did not take a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The replica does not know the key: it is no peer's, or no admitted client's.
    UnknownKey,
    /// The replica speaks another version of the transport.
    Version {
        /// The version that the replica speaks.
        theirs: u16,
    },
    /// The replica belongs to another cluster: its `cluster.toml` differs.
    WrongCluster,
    /// This is the socket for the other kind of party: a client dialed a replica's peer address, or the reverse.
    WrongSocket,
    /// The hello was no hello, or its signature was not the key's.
    BadHello,
    /// The client, or all clients together, have as many connections as they may.
    TooManyConnections,
    /// The replica has too many handshakes under way.
    Busy,
    /// The peer committed too many offences and is cut off for a while.
    CoolingOff,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey => formatter.write_str("the replica does not know this key"),
            Self::Version { theirs } => write!(
                formatter,
                "the replica speaks transport version {theirs}, this program version {}",
                crate::hello::VERSION
            ),
            Self::WrongCluster => formatter.write_str("the replica belongs to another cluster"),
            Self::WrongSocket => formatter.write_str(
                "the address is a replica's, but not for this kind of connection (peers and clients have one each)",
            ),
            Self::BadHello => formatter.write_str("the replica found the hello malformed or wrongly signed"),
            Self::TooManyConnections => {
                formatter.write_str("the replica has as many connections as it may, of this client or of all")
            }
            Self::Busy => formatter.write_str("the replica has too many handshakes under way"),
            Self::CoolingOff => formatter.write_str("the replica cut this peer off for its offences"),
        }
    }
}

/// A close that one of this program's endpoints makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The endpoint ends.
    Shutdown,
    /// The owner of the connection asked for it.
    Requested,
    /// A newer connection of the same party took this one's place.
    Replaced,
    /// The other side broke a rule of framing, or used up its offences.
    Offence,
    /// The other side did not read what it was sent.
    Overflow,
    /// The connection was never taken.
    Refused(Refusal),
}

impl Close {
    const fn code(self) -> u32 {
        match self {
            Self::Shutdown => 0x10,
            Self::Requested => 0x11,
            Self::Replaced => 0x12,
            Self::Offence => 0x13,
            Self::Overflow => 0x14,
            Self::Refused(Refusal::UnknownKey) => 0x20,
            Self::Refused(Refusal::Version { .. }) => 0x21,
            Self::Refused(Refusal::WrongCluster) => 0x22,
            Self::Refused(Refusal::WrongSocket) => 0x23,
            Self::Refused(Refusal::BadHello) => 0x24,
            Self::Refused(Refusal::TooManyConnections) => 0x25,
            Self::Refused(Refusal::Busy) => 0x26,
            Self::Refused(Refusal::CoolingOff) => 0x27,
        }
    }

    /// The code as QUIC carries it.
    pub(crate) fn number(self) -> VarInt {
        VarInt::from_u32(self.code())
    }

    /// Closes `connection` for this reason.
    pub(crate) fn apply(self, connection: &Connection) {
        let version = crate::hello::VERSION.to_le_bytes();
        let detail: &[u8] =
            if matches!(self, Self::Refused(Refusal::Version { .. })) { &version } else { &[] };
        connection.close(self.number(), detail);
    }
}

/// Closes a connection when it is dropped, also by cancellation.
///
/// It is to be dropped before the connection's streams: a stream that is dropped on an open connection is ended in
/// order, which the other side would take for an offence.
pub(crate) struct CloseOnDrop<'a> {
    /// The connection.
    pub(crate) connection: &'a Connection,
    /// The reason to give. The first close of a connection counts, so this is for what had no better reason.
    pub(crate) reason: Close,
}

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.reason.apply(self.connection);
    }
}

/// The refusal that closed a connection, if the other side refused it.
pub(crate) fn refusal(error: &ConnectionError) -> Option<Refusal> {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let theirs = close.reason.as_ref().try_into().map_or(0, u16::from_le_bytes);
            let refusals = [
                Refusal::UnknownKey,
                Refusal::Version { theirs },
                Refusal::WrongCluster,
                Refusal::WrongSocket,
                Refusal::BadHello,
                Refusal::TooManyConnections,
                Refusal::Busy,
                Refusal::CoolingOff,
            ];
            refusals.into_iter().find(|refusal| Close::Refused(*refusal).number() == close.error_code)
        }
        // The handshake itself failed at the other side, which told so by a TLS alert.
        ConnectionError::ConnectionClosed(close) => {
            let refusals = [
                (TransportErrorCode::CONNECTION_REFUSED, Refusal::Busy),
                (TransportErrorCode::crypto(ACCESS_DENIED), Refusal::UnknownKey),
                (TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL), Refusal::WrongSocket),
            ];
            refusals.into_iter().find(|(code, _)| *code == close.error_code).map(|(_, refusal)| refusal)
        }
        _ => None,
    }
}

/// Whether the connection failed because the other side did not show the expected key.
pub(crate) fn showed_another_key(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::TransportError(error) if error.code == TransportErrorCode::crypto(ACCESS_DENIED))
}
