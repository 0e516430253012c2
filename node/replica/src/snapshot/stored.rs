use pbft_crypto::{Digest, MerkleTree};
use pbft_messages::{LeafPage, Sequence};

/// A snapshot all of whose chunks are held.
#[derive(Debug)]
pub(super) struct Stored {
    sequence: Sequence,
    tree: MerkleTree,
}

impl Stored {
    pub(super) fn new(sequence: Sequence, leaves: Vec<Digest>) -> Self {
        Self { sequence, tree: MerkleTree::new(leaves) }
    }

    /// The Merkle root of the chunks.
    pub(super) fn root(&self) -> Digest {
        self.tree.root()
    }

    /// How many chunks it has.
    pub(super) fn len(&self) -> usize {
        self.tree.len()
    }

    /// The digests of the chunks, in order.
    pub(super) fn leaves(&self) -> impl Iterator<Item = &Digest> {
        (0..).map_while(|page| self.tree.page(page)).flat_map(|(leaves, _)| leaves)
    }

    /// The digest of a chunk, if there is such a one.
    pub(super) fn leaf(&self, index: u64) -> Option<&Digest> {
        let index = usize::try_from(index).ok()?;
        let (leaves, _) = self.tree.page(index / MerkleTree::PAGE)?;
        leaves.get(index % MerkleTree::PAGE)
    }

    /// A page of digests with its proof, if there is such a one.
    pub(super) fn page(&self, page: u64) -> Option<LeafPage> {
        let (leaves, proof) = self.tree.page(usize::try_from(page).ok()?)?;
        let (sequence, count, leaves) = (self.sequence, self.tree.len() as u64, leaves.to_vec());
        Some(LeafPage { sequence, page, count, leaves, proof })
    }
}
