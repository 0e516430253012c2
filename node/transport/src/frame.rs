//! Frames on a stream: a length of four bytes, little-endian, then as many bytes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use tokio::time::{Instant, timeout_at};

use crate::framing::{PartialBody, PartialLength};
use crate::limits::PIECE;
use crate::outbox::Outbox;

/// A frame that has begun must be complete after this time, and the time that its size takes at [`SLOWEST`]. A slow
/// drip (fault 47) therefore holds a buffer for a bounded time, while a link that is clogged for seconds is not cut.
const GRACE: Duration = Duration::from_secs(10);

/// The slowest rate that a begun frame is waited for, in bytes a second.
const SLOWEST: u32 = 256 << 10;

/// Frames up to this size are copied into one buffer before they are sent; larger ones are handed over as they are.
const SMALL: usize = 4 << 10;

/// The most bytes that one write takes from the queue, beyond its first frame.
const BATCH: usize = 256 << 10;

/// Why no further frame can be read from a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The announced length is above the limit.
    #[error("a frame of {length} bytes was announced; the limit is {limit}")]
    Oversize { length: usize, limit: usize },
    /// A frame began and did not come in.
    #[error("a frame of {length} bytes stalled after {received}")]
    Stalled { length: usize, received: usize },
    /// The other side ended the stream, which it has no reason to.
    #[error("the stream was ended")]
    Ended,
    /// The stream or its connection was lost.
    #[error("the stream was lost: {0}")]
    Lost(#[from] ReadError),
}

impl FrameError {
    /// Whether the other side broke a rule, rather than went away.
    pub(crate) fn is_offence(&self) -> bool {
        match self {
            Self::Oversize { .. } | Self::Stalled { .. } | Self::Ended => true,
            Self::Lost(error) => !matches!(error, ReadError::ConnectionLost(_)),
        }
    }
}

/// Reads frames from a stream.
pub(crate) struct FrameReader {
    stream: RecvStream,
    limit: usize,
    /// Bytes that QUIC delivered and no frame has taken yet.
    chunk: Bytes,
}

impl FrameReader {
    /// A reader of frames up to `limit` bytes.
    pub(crate) fn new(stream: RecvStream, limit: usize) -> Self {
        Self { stream, limit, chunk: Bytes::new() }
    }

    /// Changes the limit for frames to come.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Reads one byte: the tag that opens a peer's stream.
    pub(crate) async fn tag(&mut self) -> Result<u8, FrameError> {
        self.fill().await?;
        Ok(self.chunk.split_to(1)[0])
    }

    /// Reads the length of the next frame, and waits for it as long as it takes. Nothing is allocated for the frame
    /// before [`FrameReader::body`], so the caller can make room first.
    pub(crate) async fn length(&mut self) -> Result<usize, FrameError> {
        self.fill().await?;
        let mut partial = PartialLength::default();
        let deadline = Instant::now() + GRACE;
        let length = loop {
            if let Some(length) = partial.take(&mut self.chunk) {
                break length;
            }
            let stalled =
                |_| FrameError::Stalled { length: PartialLength::BYTES, received: partial.received() };
            timeout_at(deadline, self.fill()).await.map_err(stalled)??;
        };
        if length > self.limit { Err(FrameError::Oversize { length, limit: self.limit }) } else { Ok(length) }
    }

    /// Reads the bytes of a frame whose length was read.
    pub(crate) async fn body(&mut self, length: usize) -> Result<Bytes, FrameError> {
        let deadline =
            Instant::now() + GRACE + Duration::from_secs(1).mul_f64(length as f64 / f64::from(SLOWEST));
        let mut partial = PartialBody::new(length);
        loop {
            if let Some(frame) = partial.take(&mut self.chunk) {
                return Ok(frame);
            }
            let stalled = |_| FrameError::Stalled { length, received: partial.received() };
            timeout_at(deadline, self.fill()).await.map_err(stalled)??;
        }
    }

    /// Makes sure that a byte is at hand.
    async fn fill(&mut self) -> Result<(), FrameError> {
        while self.chunk.is_empty() {
            self.chunk = self.stream.read_chunk(PIECE, true).await?.ok_or(FrameError::Ended)?.bytes;
        }
        Ok(())
    }
}

/// Sends all that comes into `outbox`, until the stream fails. What waits together is written together; what comes
/// alone is sent at once.
pub(crate) async fn send_all(stream: &mut SendStream, outbox: &Outbox) -> Result<(), WriteError> {
    let mut frames = Vec::new();
    let mut chunks = Vec::new();
    loop {
        outbox.take(BATCH, &mut frames).await;
        let bytes = frames.iter().map(|frame| frame.len() as u64).sum();
        let count = frames.len() as u64;
        encode(frames.drain(..), &mut chunks);
        stream.write_all_chunks(&mut chunks).await?;
        chunks.clear();
        outbox.count_sent(count, bytes);
    }
}

/// Turns frames into chunks for the stream: small frames and lengths gathered, large frames in pieces.
fn encode(frames: impl Iterator<Item = Bytes>, chunks: &mut Vec<Bytes>) {
    let mut gathered = BytesMut::new();
    for mut frame in frames {
        let length =
            u32::try_from(frame.len()).expect("the outbox admits no frame above its limit, which fits");
        gathered.extend_from_slice(&length.to_le_bytes());
        if frame.len() <= SMALL {
            gathered.extend_from_slice(&frame);
            continue;
        }
        while gathered.len() > PIECE {
            chunks.push(gathered.split_to(PIECE).freeze());
        }
        chunks.push(gathered.split().freeze());
        while frame.len() > PIECE {
            chunks.push(frame.split_to(PIECE));
        }
        chunks.push(frame);
    }
    while gathered.len() > PIECE {
        chunks.push(gathered.split_to(PIECE).freeze());
    }
    if !gathered.is_empty() {
        chunks.push(gathered.freeze());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_the_frames_with_their_lengths() {
        let sizes = [0, 1, 100, SMALL, SMALL + 1, PIECE, 3 * PIECE + 7, 5];
        let frames: Vec<Bytes> = sizes.iter().map(|size| Bytes::from(vec![*size as u8; *size])).collect();
        let expected: Vec<u8> = frames
            .iter()
            .flat_map(|frame| [&(frame.len() as u32).to_le_bytes()[..], frame].concat())
            .collect();
        let mut chunks = Vec::new();
        encode(frames.into_iter(), &mut chunks);
        assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= PIECE));
        assert_eq!(chunks.concat(), expected);
    }

    #[test]
    fn many_small_frames_make_few_chunks() {
        let mut chunks = Vec::new();
        encode((0..1000).map(|_| Bytes::from_static(&[7; 200])), &mut chunks);
        assert_eq!(chunks.len(), (1000 * 204usize).div_ceil(PIECE));
    }
}
