//! The one encoding of everything on the wire and on disk, and the one module that names its library.
//!
//! Integers have a fixed width and are little-endian; lengths are eight bytes. The encoding is canonical: a value
//! has one encoding, and bytes that decode are that value's encoding. Reading is bounded: nothing is allocated
//! beyond [`LIMIT`] or beyond what the given bytes hold, and trailing bytes are an error.

use bincode::Options;
use serde::{Serialize, de::DeserializeOwned};

use pbft_crypto::Malformed;

/// The most bytes that any one encoded value may have: 64 MiB. Frames on the wire have a limit of their own,
/// which the configuration sets no higher than this.
pub const LIMIT: u64 = 64 << 20;

/// Room for what most messages need.
const USUAL: usize = 256;

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding().with_limit(LIMIT).reject_trailing_bytes()
}

/// Encodes a value.
///
/// # Panics
/// If the value is larger than [`LIMIT`] or of a shape that has no encoding; both are errors of this program,
/// since whatever comes from outside has been measured when it was read.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL);
    // The limit is looked at when the length is known: else the library goes through the value twice.
    let written = options().with_no_limit().serialize_into(&mut bytes, value);
    written.expect("values that this program makes have an encoding");
    assert!(bytes.len() as u64 <= LIMIT, "values that this program makes are within the codec's limit");
    // What was signed is kept for long, and growth leaves up to as much again behind it.
    if bytes.len() > USUAL {
        bytes.shrink_to_fit();
    }
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

    #[test]
    fn a_long_encoding_has_no_slack() {
        let bytes = encode(&Bytes::from(vec![0; 100_000]));
        assert_eq!(bytes.capacity(), bytes.len());
        let bytes = encode(&vec![7u64; 10_000]);
        assert_eq!(bytes.capacity(), bytes.len());
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
