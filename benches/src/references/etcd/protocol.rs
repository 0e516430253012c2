//! The little of etcd's protocol that a load of puts needs: gRPC over HTTP/2, and protocol buffers by hand.

use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{Method, Request, StatusCode, Version};
use tokio::net::TcpStream;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    #[error(transparent)]
    Http(#[from] h2::Error),
    #[error("gRPC status {0}")]
    Status(String),
    #[error("its answer cannot be read")]
    Unreadable,
}

/// A connection with one node. Clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    address: SocketAddr,
    sender: SendRequest<Bytes>,
}

/// What a node says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NodeStatus {
    /// Whether it leads.
    pub(super) leads: bool,
    /// The number of the last election that it knows of.
    pub(super) term: u64,
}

impl NodeStatus {
    fn read(answer: &[u8]) -> Result<Self, CallError> {
        let (own, leader) = (header(answer)?.number(2)?, Message(answer).number(4)?);
        Ok(Self { leads: own == leader && leader != 0, term: Message(answer).number(6)? })
    }
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self, CallError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        // It ends with the last clone of the sender; what goes wrong shows in the calls.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { address, sender })
    }

    /// Sets a key's value; the store's revision after that.
    pub(super) async fn put(&self, key: &[u8], value: &[u8]) -> Result<u64, CallError> {
        let mut message = BytesMut::with_capacity(key.len() + value.len() + 16);
        put_field(&mut message, 1, key);
        put_field(&mut message, 2, value);
        let answer = self.call("/etcdserverpb.KV/Put", &message).await?;
        header(&answer)?.number(3)
    }

    /// Asks a node who leads.
    pub(super) async fn status(&self) -> Result<NodeStatus, CallError> {
        let answer = self.call("/etcdserverpb.Maintenance/Status", &[]).await?;
        NodeStatus::read(&answer)
    }

    async fn call(&self, path: &str, message: &[u8]) -> Result<Vec<u8>, CallError> {
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        // Not compressed, and its length.
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).map_err(|_| CallError::Unreadable)?);
        framed.put_slice(message);
        let request = Request::builder()
            .version(Version::HTTP_2)
            .method(Method::POST)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|error| CallError::Status(error.to_string()))?;
        let (response, mut body) = self.sender.clone().ready().await?.send_request(request, false)?;
        body.send_data(framed.freeze(), true)?;
        let response = response.await?;
        if response.status() != StatusCode::OK {
            return Err(CallError::Status(response.status().to_string()));
        }
        // An error without an answer has its status among the headers.
        let early = response.headers().get("grpc-status").cloned();
        let mut body = response.into_body();
        let mut answer = Vec::new();
        while let Some(part) = body.data().await {
            let part = part?;
            body.flow_control().release_capacity(part.len())?;
            answer.extend_from_slice(&part);
        }
        let late = body.trailers().await?.and_then(|trailers| trailers.get("grpc-status").cloned());
        match early.or(late) {
            Some(status) if status == "0" => {}
            status => return Err(CallError::Status(format!("{status:?}"))),
        }
        answer.get(5..).map(<[u8]>::to_vec).ok_or(CallError::Unreadable)
    }
}

/// The header of an answer.
fn header(answer: &[u8]) -> Result<Message<'_>, CallError> {
    Message(answer)
        .fields()
        .find(|field| field.number == 1)
        .map(|field| Message(field.bytes))
        .ok_or(CallError::Unreadable)
}

/// The bytes of a protocol buffer.
struct Message<'a>(&'a [u8]);

struct Field<'a> {
    number: u64,
    /// Of a number.
    value: u64,
    /// Of text, bytes and inner messages.
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// A number; one that is absent is 0.
    fn number(&self, wanted: u64) -> Result<u64, CallError> {
        Ok(self.fields().find(|field| field.number == wanted).map_or(0, |field| field.value))
    }

    /// The fields up to the end, or to the first that cannot be read.
    fn fields(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let tag = varint(&mut rest)?;
            let (number, value) = (tag >> 3, varint(&mut rest)?);
            match tag & 7 {
                0 => Some(Field { number, value, bytes: &[] }),
                2 => {
                    let (bytes, after) = rest.split_at_checked(usize::try_from(value).ok()?)?;
                    rest = after;
                    Some(Field { number, value: 0, bytes })
                }
                // etcd's answers to these calls have no others.
                _ => None,
            }
        })
    }
}

fn put_field(message: &mut BytesMut, number: u8, bytes: &[u8]) {
    message.put_u8(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        message.put_u8(length as u8 | 0x80);
        length >>= 7;
    }
    message.put_u8(length as u8);
    message.put_slice(bytes);
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_they_are_read() {
        let mut message = BytesMut::new();
        put_field(&mut message, 1, b"key");
        put_field(&mut message, 2, &[7; 300]);
        let fields: Vec<_> = Message(&message).fields().map(|it| (it.number, it.bytes.to_vec())).collect();
        assert_eq!(fields, [(1, b"key".to_vec()), (2, vec![7; 300])]);
    }

    #[test]
    fn an_answer_tells_its_revision() {
        // PutResponse { header: { cluster_id: 1, member_id: 300, revision: 128, raft_term: 2 } }
        let answer = [0x0a, 10, 0x08, 1, 0x10, 0xac, 2, 0x18, 0x80, 1, 0x20, 2];
        assert_eq!(header(&answer).unwrap().number(3).unwrap(), 128);
        assert_eq!(header(&answer).unwrap().number(9).unwrap(), 0, "absent");
        assert!(header(&[]).is_err());
        // StatusResponse { header: { member_id: 300 }, version: "3", leader: 300, raftTerm: 7 }
        let status = [0x0a, 3, 0x10, 0xac, 2, 0x12, 1, b'3', 0x20, 0xac, 2, 0x30, 7];
        assert_eq!(NodeStatus::read(&status).unwrap(), NodeStatus { leads: true, term: 7 });
        assert_eq!(Message(&[0x0a, 200, 1]).fields().count(), 0, "cut off");
    }
}
