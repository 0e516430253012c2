//! Frames put together from the pieces in which they come: the part of reading a stream that needs no stream.

use bytes::{Bytes, BytesMut};

use crate::limits::PIECE;

/// A frame's length, as far as it has come in: four bytes, little-endian.
#[derive(Debug, Default)]
pub struct PartialLength {
    bytes: [u8; 4],
    received: usize,
}

impl PartialLength {
    /// The bytes of a length.
    pub const BYTES: usize = 4;

    /// Takes what it lacks from the front of `piece`. Gives the length once it is whole.
    pub fn take(&mut self, piece: &mut Bytes) -> Option<usize> {
        let taken = piece.len().min(Self::BYTES - self.received);
        self.bytes[self.received..self.received + taken].copy_from_slice(&piece.split_to(taken));
        self.received += taken;
        (self.received == Self::BYTES).then(|| u32::from_le_bytes(self.bytes) as usize)
    }

    /// How many bytes of it have come in.
    #[must_use]
    pub fn received(&self) -> usize {
        self.received
    }
}

/// The bytes of a frame whose length is known, as far as they have come in. The buffer grows with them, so that an
/// announcement alone costs the reader nothing (R4).
#[derive(Debug)]
pub struct PartialBody {
    length: usize,
    bytes: BytesMut,
}

impl PartialBody {
    /// A frame of `length` bytes, which the caller has compared with its limit; none of them has come in.
    #[must_use]
    pub fn new(length: usize) -> Self {
        Self { length, bytes: BytesMut::new() }
    }

    /// Takes what it lacks from the front of `piece`. Gives the frame once it is whole.
    pub fn take(&mut self, piece: &mut Bytes) -> Option<Bytes> {
        if self.bytes.is_empty() && self.length <= piece.len() {
            // A copy, since a slice would keep alive all the datagrams that were received together.
            return Some(Bytes::copy_from_slice(&piece.split_to(self.length)));
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.length.min(PIECE));
        }
        let taken = piece.len().min(self.length - self.bytes.len());
        self.bytes.extend_from_slice(&piece.split_to(taken));
        (self.bytes.len() == self.length).then(|| self.bytes.split().freeze())
    }

    /// How many bytes of it have come in.
    #[must_use]
    pub fn received(&self) -> usize {
        self.bytes.len()
    }
}
