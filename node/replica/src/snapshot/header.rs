//! The first bytes of a snapshot file: whose snapshot it is, and where its chunks lie.

use pbft_crypto::Digest;
use pbft_messages::Sequence;

/// What every snapshot file begins with.
const MAGIC: [u8; 8] = *b"PBFTSNAP";
/// The format that this program writes, and the only one that it reads.
const FORMAT: u32 = 1;
/// Magic, format, sequence, root, number of chunks.
const FIXED: usize = 8 + 4 + 8 + 32 + 8;
const CHECKSUM: usize = 4;

/// A header, which is followed by the chunks and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sequence: Sequence,
    pub(super) root: Digest,
    /// The chunks' lengths, in order.
    pub(super) lengths: Vec<u32>,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.sequence.0.to_le_bytes());
        bytes.extend(self.root.as_bytes());
        bytes.extend((self.lengths.len() as u64).to_le_bytes());
        bytes.extend(self.lengths.iter().flat_map(|length| length.to_le_bytes()));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the header of a file's content; with it comes the rest, the chunks.
    pub(super) fn decode(content: &[u8]) -> Result<(Self, &[u8]), String> {
        let (fixed, rest) = content.split_at_checked(FIXED).ok_or("it is cut short")?;
        if fixed[..8] != MAGIC {
            return Err("it is no snapshot".into());
        }
        // The ranges are within the fixed part, and of the lengths asked for.
        let number = |at: usize| u64::from_le_bytes(fixed[at..at + 8].try_into().expect("eight bytes"));
        let mut root = [0; Digest::LENGTH];
        root.copy_from_slice(&fixed[20..52]);
        let count = usize::try_from(number(52)).unwrap_or(usize::MAX);
        // The lengths are there before anything is allocated for them.
        let listed = count.checked_mul(4).filter(|listed| *listed <= rest.len()).ok_or("it is cut short")?;
        let (lengths, rest) = rest.split_at(listed);
        let (checksum, chunks) = rest.split_first_chunk::<CHECKSUM>().ok_or("it is cut short")?;
        if crc32fast::hash(&content[..FIXED + listed]) != u32::from_le_bytes(*checksum) {
            return Err("its header does not match its checksum".into());
        }
        let format = u32::from_le_bytes(fixed[8..12].try_into().expect("four bytes"));
        if format != FORMAT {
            return Err(format!("it has format {format}, and this program reads format {FORMAT}"));
        }
        let lengths =
            lengths.as_chunks().0.iter().map(|length| u32::from_le_bytes(*length)).collect::<Vec<u32>>();
        if lengths.iter().map(|length| u64::from(*length)).sum::<u64>() != chunks.len() as u64 {
            return Err("its length is not what its header says".into());
        }
        Ok((Self { sequence: Sequence(number(12)), root: Digest::from_bytes(root), lengths }, chunks))
    }

    /// How many bytes the header takes.
    pub(super) fn size(&self) -> u64 {
        (FIXED + self.lengths.len() * 4 + CHECKSUM) as u64
    }
}
