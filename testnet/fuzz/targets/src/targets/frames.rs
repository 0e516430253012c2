//! Frames on a stream.

use bytes::Bytes;

use pbft_transport::{PartialBody, PartialLength};

/// The largest frame that this reader takes.
const LIMIT: usize = 300;

/// How large pieces are: the first byte says how many more sizes follow, and what follows them is the stream.
pub(super) fn pieces(bytes: &[u8]) {
    let Some((count, rest)) = bytes.split_first() else { return };
    let (sizes, stream) = rest.split_at((*count as usize).min(rest.len()));
    let whole = read(&mut std::iter::once(Bytes::copy_from_slice(stream)));
    assert_eq!(whole, by_the_book(stream));
    let mut left = Bytes::copy_from_slice(stream);
    let mut sizes = sizes.iter().copied().chain(std::iter::repeat(1));
    let mut pieces = std::iter::from_fn(|| {
        let size = (sizes.next()? as usize).min(left.len());
        (!left.is_empty()).then(|| left.split_to(size))
    });
    assert_eq!(read(&mut pieces), whole, "the frames depend on the pieces");
}

/// The frames of a stream, and the length at which it is given up, if it is.
type Read = (Vec<Bytes>, Option<usize>);

/// Reads as the transport does.
fn read(pieces: &mut dyn Iterator<Item = Bytes>) -> Read {
    let mut frames = Vec::new();
    let mut piece = Bytes::new();
    loop {
        let mut partial = PartialLength::default();
        let length = loop {
            if let Some(length) = partial.take(&mut piece) {
                break length;
            }
            assert!(piece.is_empty() && partial.received() < PartialLength::BYTES);
            let Some(next) = pieces.next() else { return (frames, None) };
            piece = next;
        };
        if length > LIMIT {
            return (frames, Some(length));
        }
        let mut partial = PartialBody::new(length);
        frames.push(loop {
            if let Some(frame) = partial.take(&mut piece) {
                break frame;
            }
            assert!(piece.is_empty() && partial.received() < length);
            let Some(next) = pieces.next() else { return (frames, None) };
            piece = next;
        });
    }
}

/// Reads a stream that is there as a whole.
fn by_the_book(mut stream: &[u8]) -> Read {
    let mut frames = Vec::new();
    while let Some((length, rest)) = stream.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        if length > LIMIT {
            return (frames, Some(length));
        }
        let Some((frame, rest)) = rest.split_at_checked(length) else { break };
        frames.push(Bytes::copy_from_slice(frame));
        stream = rest;
    }
    (frames, None)
}
