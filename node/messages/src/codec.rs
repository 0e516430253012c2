//! The one encoding of everything on the wire and on disk, and the one module that names its library.
//!
//! Integers have a fixed width and are little-endian; lengths are eight bytes. The encoding is canonical: a value
//! has one encoding, and bytes that decode are that value's encoding. Reading is bounded: nothing is allocated
//! beyond [`LIMIT`] or beyond what the given bytes hold, and trailing bytes are an error.

use std::cell::RefCell;

use bincode::Options;
use serde::{Serialize, de::DeserializeOwned};

use pbft_crypto::Malformed;

/// The most bytes that any one encoded value may have: 64 MiB. Frames on the wire have a limit of their own,
/// which the configuration sets no higher than this.
pub const LIMIT: u64 = 64 << 20;

thread_local! {
    /// Where a value is encoded while its length is not known. A buffer that grows as it fills is copied again and again,
    /// and ends with slack that is kept for as long as what was signed.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The most bytes that a thread keeps for encoding.
const SCRATCH_BYTES: usize = 256 << 10;

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding().with_limit(LIMIT).reject_trailing_bytes()
}

/// Encodes a value.
///
/// # Panics
/// If the value is larger than [`LIMIT`] or of a shape that has no encoding; both are errors of this program,
/// since whatever comes from outside has been measured when it was read.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    // Taken, and not borrowed, as encoding a value may encode another one.
    let mut scratch = SCRATCH.take();
    // The limit is looked at when the length is known: else the library goes through the value twice.
    let written = options().with_no_limit().serialize_into(&mut scratch, value);
    written.expect("values that this program makes have an encoding");
    assert!(scratch.len() as u64 <= LIMIT, "values that this program makes are within the codec's limit");
    if scratch.capacity() > SCRATCH_BYTES {
        scratch.shrink_to_fit();
        return scratch;
    }
    let bytes = scratch.as_slice().to_vec();
    scratch.clear();
    SCRATCH.set(scratch);
    bytes
}

/// Decodes a value.
///
/// # Errors
/// [`Malformed`] unless `bytes` are exactly one encoded value within the limit.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    options().deserialize(bytes).map_err(|error| Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn trailing_and_missing_bytes_are_errors() {
        let bytes = encode(&(7u64, Bytes::from_static(b"abc")));
        assert_eq!(decode::<(u64, Bytes)>(&bytes), Ok((7, Bytes::from_static(b"abc"))));
        assert!(decode::<(u64, Bytes)>(&[&bytes[..], &[0]].concat()).is_err());
        assert!(decode::<(u64, Bytes)>(&bytes[..bytes.len() - 1]).is_err());
    }

    /// They are written eight bytes at a time.
    #[test]
    fn arrays_of_bytes_are_written_as_they_are() {
        let bytes: [u8; 64] = std::array::from_fn(|index| index as u8);
        let signature = pbft_crypto::Signature::from_bytes(&bytes);
        assert_eq!(encode(&signature), bytes);
        assert_eq!(decode(&bytes), Ok(signature));
        let half: [u8; 32] = std::array::from_fn(|index| index as u8);
        assert_eq!(encode(&pbft_crypto::Digest::from_bytes(half)), half);
        assert_eq!(decode(&half), Ok(pbft_crypto::Digest::from_bytes(half)));
        assert_eq!(encode(&crate::ClientId(half)), half);
        assert_eq!(decode(&half), Ok(crate::ClientId(half)));
    }

    #[test]
    fn a_long_encoding_has_no_slack() {
        for length in [10_000, 100, SCRATCH_BYTES, 2 * SCRATCH_BYTES, 100_000, 0] {
            let bytes = encode(&Bytes::from(vec![7; length]));
            assert_eq!((bytes.len(), bytes.capacity()), (8 + length, 8 + length));
            assert!(SCRATCH.with_borrow(Vec::capacity) <= SCRATCH_BYTES);
        }
    }

    #[test]
    fn a_value_may_encode_another_while_it_is_encoded() {
        struct Sealed(u64);
        impl Serialize for Sealed {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Bytes::from(encode(&self.0)).serialize(serializer)
            }
        }
        let bytes = encode(&(1u8, Sealed(2), 3u8));
        assert_eq!(
            decode::<(u8, Bytes, u8)>(&bytes),
            Ok((1, Bytes::copy_from_slice(&2u64.to_le_bytes()), 3))
        );
    }

    /// A length that promises more than is there fails before anything of that size is allocated.
    #[test]
    fn length_bombs_are_errors() {
        for length in [u64::MAX, u64::MAX / 2, 1 << 40, LIMIT + 1, 100] {
            assert!(decode::<Bytes>(&length.to_le_bytes()).is_err());
            assert!(decode::<Vec<u64>>(&length.to_le_bytes()).is_err());
            assert!(decode::<Vec<Vec<u64>>>(&length.to_le_bytes()).is_err());
            assert!(decode::<String>(&length.to_le_bytes()).is_err());
        }
    }
}
