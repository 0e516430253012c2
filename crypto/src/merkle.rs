use serde::{Deserialize, Serialize};

use crate::{Digest, Domain, Hasher};

/// A binary Merkle tree over a list of leaves. An odd node at the end of a level rises unchanged; the root also
/// binds the number of leaves, so no two lists of leaves share a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleTree {
    /// Level 0 holds the leaves' digests; each next level is half as long, the last has at most one node.
    levels: Vec<Vec<Digest>>,
}

/// The siblings on the way from one leaf to the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MerkleProof {
    /// Bottom up; `None` where the node rose unchanged.
    siblings: Vec<Option<Digest>>,
}

impl MerkleTree {
    /// The digest of a leaf's content.
    #[must_use]
    pub fn leaf(content: &[u8]) -> Digest {
        Digest::of(Domain::MerkleLeaf, content)
    }

    /// The tree over `leaves`, each made by [`MerkleTree::leaf`].
    #[must_use]
    pub fn new(leaves: Vec<Digest>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = below
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => node(left, right),
                    _ => pair[0],
                })
                .collect();
            levels.push(above);
        }
        Self { levels }
    }

    /// The root: one digest for the whole list of leaves.
    #[must_use]
    pub fn root(&self) -> Digest {
        let top = self.levels.last().and_then(|level| level.first());
        seal(top, self.len() as u64)
    }

    /// The number of leaves.
    #[must_use]
    pub fn len(&self) -> usize {
        self.levels[0].len()
    }

    /// Whether the tree has no leaves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels[0].is_empty()
    }

    /// The proof that leaf `index` belongs to the root; `None` if there is no such leaf.
    #[must_use]
    pub fn proof(&self, mut index: usize) -> Option<MerkleProof> {
        if index >= self.len() {
            return None;
        }
        let mut siblings = Vec::with_capacity(self.levels.len() - 1);
        for level in &self.levels[..self.levels.len() - 1] {
            siblings.push(level.get(index ^ 1).copied());
            index /= 2;
        }
        Some(MerkleProof { siblings })
    }
}

impl MerkleProof {
    /// Whether `content` is leaf `index` of the list of `count` leaves under `root`.
    #[must_use]
    pub fn proves(&self, root: &Digest, index: u64, count: u64, content: &[u8]) -> bool {
        if index >= count {
            return false;
        }
        let (mut digest, mut index, mut width) = (MerkleTree::leaf(content), index, count);
        let mut siblings = self.siblings.iter();
        while width > 1 {
            let has_sibling = index ^ 1 < width;
            digest = match (siblings.next(), has_sibling) {
                (Some(Some(sibling)), true) if index % 2 == 0 => node(&digest, sibling),
                (Some(Some(sibling)), true) => node(sibling, &digest),
                (Some(None), false) => digest,
                _ => return false,
            };
            index /= 2;
            width = width.div_ceil(2);
        }
        siblings.next().is_none() && seal(Some(&digest), count) == *root
    }
}

fn node(left: &Digest, right: &Digest) -> Digest {
    Hasher::new(Domain::MerkleNode).bytes(left.as_bytes()).bytes(right.as_bytes()).finish()
}

fn seal(top: Option<&Digest>, count: u64) -> Digest {
    let hasher = Hasher::new(Domain::MerkleRoot).number(count);
    match top {
        Some(top) => hasher.bytes(top.as_bytes()).finish(),
        None => hasher.finish(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(contents: &[Vec<u8>]) -> MerkleTree {
        MerkleTree::new(contents.iter().map(|content| MerkleTree::leaf(content)).collect())
    }

    proptest! {
        #[test]
        fn every_leaf_is_proven_and_nothing_else(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 1..40)) {
            let tree = tree(&contents);
            let count = contents.len() as u64;
            for (index, content) in contents.iter().enumerate() {
                let proof = tree.proof(index).unwrap();
                prop_assert!(proof.proves(&tree.root(), index as u64, count, content));
                prop_assert!(!proof.proves(&tree.root(), index as u64, count, b"other content"));
                prop_assert!(!proof.proves(&tree.root(), index as u64, count + 1, content));
                let other = (index as u64 + 1) % count;
                if contents[other as usize] != *content {
                    prop_assert!(!proof.proves(&tree.root(), other, count, content));
                }
            }
            prop_assert!(tree.proof(contents.len()).is_none());
        }

        #[test]
        fn different_lists_have_different_roots(left in prop::collection::vec(any::<u8>(), 0..9), right in prop::collection::vec(any::<u8>(), 0..9)) {
            let contents = |bytes: &[u8]| bytes.iter().map(|byte| vec![*byte]).collect::<Vec<_>>();
            prop_assert_eq!(tree(&contents(&left)).root() == tree(&contents(&right)).root(), left == right);
        }
    }
}
