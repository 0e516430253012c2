//! How a record lies in the table: a checksum over its key and its bytes, then its bytes.

use pbft_messages::codec;
use pbft_protocol::Record;

/// The value stored under `key` for `bytes`.
pub(super) fn seal(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut value = checksum(key, bytes).to_le_bytes().to_vec();
    value.extend_from_slice(bytes);
    value
}

/// The bytes in a stored value, or what is wrong with it.
pub(super) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], String> {
    let (stored, bytes) =
        value.split_first_chunk().ok_or_else(|| format!("record {} is cut short", name(key)))?;
    if u32::from_le_bytes(*stored) == checksum(key, bytes) {
        Ok(bytes)
    } else {
        Err(format!("record {} does not match its checksum", name(key)))
    }
}

/// Reads a record, which must be the one that belongs under its key (a write can go to a wrong place).
pub(super) fn read(key: &[u8], value: &[u8]) -> Result<Record, String> {
    let record: Record =
        codec::decode(unseal(key, value)?).map_err(|error| format!("record {} is {error}", name(key)))?;
    if record.key() == key {
        Ok(record)
    } else {
        Err(format!("record {} lies under another's key", name(key)))
    }
}

/// A record's name for people: its key, and the sequence that it is of, if it is of one.
fn name(key: &[u8]) -> String {
    let digits = hex::encode(&key[..key.len().min(16)]);
    match key.split_first().and_then(|(kind, rest)| Some((*kind, *rest.first_chunk()?))) {
        Some((Record::LOG | Record::SNAPSHOT, sequence)) => {
            format!("{digits} of sequence {}", u64::from_be_bytes(sequence))
        }
        _ => digits,
    }
}

fn checksum(key: &[u8], bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(bytes);
    hasher.finalize()
}
