//! For `#[serde(with = "…")]`: an array of 32 bytes, in binary formats eight bytes at a time. In a format whose integers
//! are little-endian and of fixed width, as ours are, it comes out as the array itself would, for a quarter of the work.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes the bytes.
///
/// # Errors
/// The format's.
pub fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        return bytes.serialize(serializer);
    }
    let (words, _) = bytes.as_chunks();
    <[u64; 4]>::serialize(&std::array::from_fn(|index| u64::from_le_bytes(words[index])), serializer)
}

/// Reads the bytes.
///
/// # Errors
/// The format's.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    if deserializer.is_human_readable() {
        return Deserialize::deserialize(deserializer);
    }
    let words = <[u64; 4]>::deserialize(deserializer)?;
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    Ok(bytes)
}
