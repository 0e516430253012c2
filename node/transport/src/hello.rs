//! The signed hello and its answer, which come first on each connection.
//!
//! | hello, from the dialing side | bytes | answer, from the listening side | bytes |
//! |---|---|---|---|
//! | magic `PBFT` | 4 | magic `PBFT` | 4 |
//! | version | 2 | version | 2 |
//! | role | 1 | | |
//! | cluster id | 32 | | |
//! | session (0 for peers) | 8 | | |
//! | signature | 64 | signature | 64 |
//!
//! Both signatures are the identity keys' over a tag of their own, key material that TLS exports for this connection
//! alone, and all fields of the hello: they cannot be carried to another connection, nor taken for a protocol
//! message. Numbers are little-endian. Magic and version keep their place in all versions, so that a listening side
//! can tell a dialing side of another version what it speaks.

use quinn::{Connection, ReadExactError, RecvStream, SendStream};

use pbft_crypto::{Digest, PublicKey, SecretKey, Signature, Signer};
use pbft_messages::SessionId;

use crate::close::Refusal;
use crate::tls::Protocol;

/// The version of what travels, frames and the messages in them, which both sides must have in common.
pub const VERSION: u16 = 3;

const MAGIC: [u8; 4] = *b"PBFT";
const HELLO_TAG: &[u8] = b"pbft/hello/1\0";
const ANSWER_TAG: &[u8] = b"pbft/hello-answer/1\0";
const EXPORTER_LABEL: &[u8] = b"EXPORTER-pbft-hello";

/// Magic and version.
const PREFIX: usize = 6;
/// Role, cluster and session.
const FIELDS: usize = 1 + Digest::LENGTH + 8;

/// What the dialing side says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// What the connection is for.
    pub(crate) protocol: Protocol,
    /// The cluster that the dialing side means.
    pub(crate) cluster: Digest,
    /// The session that the connection serves; 0 between peers.
    pub(crate) session: SessionId,
}

/// A hello was not answered as it should be.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("the answer to the hello is malformed or wrongly signed")]
    BadAnswer,
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
}

impl Hello {
    /// The fields between version and signature.
    fn fields(&self) -> [u8; FIELDS] {
        let mut fields = [0; FIELDS];
        fields[0] = match self.protocol {
            Protocol::Peer => 1,
            Protocol::Client => 2,
        };
        fields[1..1 + Digest::LENGTH].copy_from_slice(self.cluster.as_bytes());
        fields[1 + Digest::LENGTH..].copy_from_slice(&self.session.0.to_le_bytes());
        fields
    }

    fn from_fields(fields: &[u8; FIELDS]) -> Option<Self> {
        let protocol = match fields[0] {
            1 => Protocol::Peer,
            2 => Protocol::Client,
            _ => return None,
        };
        let cluster = Digest::from_bytes(*fields[1..].first_chunk()?);
        let session = SessionId(u64::from_le_bytes(*fields.last_chunk()?));
        Some(Self { protocol, cluster, session })
    }

    /// The bytes that a signature under `tag` covers on `connection`.
    fn signed(&self, tag: &[u8], version: u16, connection: &Connection) -> Option<Vec<u8>> {
        let mut exported = [0; 32];
        connection.export_keying_material(&mut exported, EXPORTER_LABEL, b"").ok()?;
        Some([tag, &exported, &version.to_le_bytes(), &self.fields()].concat())
    }

    /// The hello as it goes over `connection`, and no other; `None` if TLS has no key material to export.
    pub(crate) fn encode(
        &self,
        version: u16,
        connection: &Connection,
        identity: &SecretKey,
    ) -> Option<Vec<u8>> {
        let signature = identity.sign(&self.signed(HELLO_TAG, version, connection)?).to_bytes();
        Some([&MAGIC[..], &version.to_le_bytes(), &self.fields(), &signature].concat())
    }

    /// The dialing side's part: says the hello on a new stream and waits for a good answer. A refusal is the close
    /// of the connection. The caller bounds the time.
    pub(crate) async fn say(
        &self,
        connection: &Connection,
        identity: &SecretKey,
        listener: &PublicKey,
    ) -> Result<(SendStream, RecvStream), HelloError> {
        self.say_as(VERSION, connection, identity, listener).await
    }

    /// As [`Hello::say`], for a version that tests choose.
    pub(crate) async fn say_as(
        &self,
        version: u16,
        connection: &Connection,
        identity: &SecretKey,
        listener: &PublicKey,
    ) -> Result<(SendStream, RecvStream), HelloError> {
        let hello = self.encode(version, connection, identity).ok_or(HelloError::BadAnswer)?;
        let (mut send, mut receive) = connection.open_bi().await?;
        // If writing or reading fails, the connection's close says more than the stream's error does.
        if send.write_all(&hello).await.is_err() {
            return Err(connection.closed().await.into());
        }
        let mut answer = [0; PREFIX + Signature::LENGTH];
        match receive.read_exact(&mut answer).await {
            Ok(()) => {}
            Err(ReadExactError::ReadError(quinn::ReadError::ConnectionLost(error))) => {
                return Err(error.into());
            }
            Err(_) => return Err(HelloError::BadAnswer),
        }
        let signed = self.signed(ANSWER_TAG, version, connection).ok_or(HelloError::BadAnswer)?;
        let signature = answer.last_chunk().map(Signature::from_bytes).ok_or(HelloError::BadAnswer)?;
        let good = answer.starts_with(&[&MAGIC[..], &version.to_le_bytes()].concat());
        if good && listener.verifies(&signed, &signature) {
            Ok((send, receive))
        } else {
            Err(HelloError::BadAnswer)
        }
    }

    /// The listening side's part: reads a hello of the holder of `dialer`, and compares it with what this side is.
    ///
    /// # Errors
    /// The refusal to close the connection with.
    pub(crate) async fn read(
        connection: &Connection,
        dialer: &PublicKey,
        protocol: Protocol,
        cluster: &Digest,
    ) -> Result<(Self, SendStream, RecvStream), Refusal> {
        let (send, mut receive) = connection.accept_bi().await.map_err(|_| Refusal::BadHello)?;
        let mut prefix = [0; PREFIX];
        receive.read_exact(&mut prefix).await.map_err(|_| Refusal::BadHello)?;
        if !prefix.starts_with(&MAGIC) {
            return Err(Refusal::BadHello);
        }
        if !prefix.ends_with(&VERSION.to_le_bytes()) {
            return Err(Refusal::Version { theirs: VERSION });
        }
        let mut rest = [0; FIELDS + Signature::LENGTH];
        receive.read_exact(&mut rest).await.map_err(|_| Refusal::BadHello)?;
        let hello = rest.first_chunk().and_then(Self::from_fields).ok_or(Refusal::BadHello)?;
        let signature = rest.last_chunk().map(Signature::from_bytes).ok_or(Refusal::BadHello)?;
        let signed = hello.signed(HELLO_TAG, VERSION, connection).ok_or(Refusal::BadHello)?;
        if !dialer.verifies(&signed, &signature) {
            return Err(Refusal::BadHello);
        }
        if hello.protocol != protocol {
            return Err(Refusal::WrongSocket);
        }
        if hello.cluster != *cluster {
            return Err(Refusal::WrongCluster);
        }
        Ok((hello, send, receive))
    }

    /// The listening side's answer, once it decided to take the connection.
    pub(crate) async fn accept(
        &self,
        connection: &Connection,
        identity: &SecretKey,
        send: &mut SendStream,
    ) -> Result<(), Refusal> {
        let signed = self.signed(ANSWER_TAG, VERSION, connection).ok_or(Refusal::BadHello)?;
        let signature = identity.sign(&signed).to_bytes();
        let answer = [&MAGIC[..], &VERSION.to_le_bytes(), &signature].concat();
        send.write_all(&answer).await.map_err(|_| Refusal::BadHello)
    }
}
