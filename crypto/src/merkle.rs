use serde::{Deserialize, Serialize};

use crate::{Digest, Domain, Hasher};

/// A binary Merkle tree over a list of leaves. An odd node at the end of a level rises unchanged; the root also
/// binds the number of leaves, so no two lists of leaves share a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleTree {
    /// Level 0 holds the leaves' digests; each next level is half as long, the last has at most one node.
    levels: Vec<Vec<Digest>>,
}

/// That a page of leaves belongs to a root: the siblings on the way from the page's subtree up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MerkleProof {
    /// Bottom up; `None` where the node rose unchanged.
    siblings: Vec<Option<Digest>>,
}

/// The level whose nodes are the pages' subtrees.
const PAGE_LEVEL: u32 = 12;

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
        seal(self.top(), self.len() as u64)
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

    /// How many leaves a page has; the last one may have fewer.
    pub const PAGE: usize = 1 << PAGE_LEVEL;

    /// A page of leaves, with the proof that they belong to the root; `None` if there is no such page.
    #[must_use]
    pub fn page(&self, page: usize) -> Option<(&[Digest], MerkleProof)> {
        self.subtree(PAGE_LEVEL, page)
    }

    fn subtree(&self, level: u32, mut index: usize) -> Option<(&[Digest], MerkleProof)> {
        let first = index.checked_mul(1 << level).filter(|first| *first < self.len())?;
        let leaves = &self.levels[0][first..self.len().min(first + (1 << level))];
        // The topmost level has no siblings.
        let above = self.levels.iter().take(self.levels.len() - 1).skip(level as usize);
        let siblings = above.map(|level| {
            let sibling = level.get(index ^ 1).copied();
            index /= 2;
            sibling
        });
        Some((leaves, MerkleProof { siblings: siblings.collect() }))
    }

    /// The digest of the whole tree, which does not bind the number of leaves.
    fn top(&self) -> Option<&Digest> {
        self.levels.last().and_then(|level| level.first())
    }
}

impl MerkleProof {
    /// Whether `leaves` are page `page` of the list of `count` leaves under `root`.
    #[must_use]
    pub fn proves_page(&self, root: &Digest, page: u64, count: u64, leaves: &[Digest]) -> bool {
        self.proves_subtree(PAGE_LEVEL, root, page, count, leaves)
    }

    fn proves_subtree(
        &self,
        level: u32,
        root: &Digest,
        mut index: u64,
        count: u64,
        leaves: &[Digest],
    ) -> bool {
        let full = 1 << level;
        let rest = index.checked_mul(full).and_then(|first| count.checked_sub(first));
        if rest.is_none_or(|rest| rest == 0 || leaves.len() as u64 != rest.min(full)) {
            return false;
        }
        let subtree = MerkleTree::new(leaves.to_vec());
        let Some(mut digest) = subtree.top().copied() else { return false };
        let mut width = count.div_ceil(full);
        let mut siblings = self.siblings.iter();
        while width > 1 {
            let has_sibling = index ^ 1 < width;
            digest = match (siblings.next(), has_sibling) {
                (Some(Some(sibling)), true) if index.is_multiple_of(2) => node(&digest, sibling),
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
        fn every_page_is_proven_and_nothing_else(count in 1_u64..70, level in 0_u32..4) {
            let tree = tree(&(0..count).map(|leaf| leaf.to_le_bytes().to_vec()).collect::<Vec<_>>());
            let (root, pages) = (tree.root(), count.div_ceil(1 << level));
            for page in 0..pages {
                let (leaves, proof) = tree.subtree(level, page as usize).unwrap();
                let proves = |page, count, leaves: &[Digest]| proof.proves_subtree(level, &root, page, count, leaves);
                prop_assert!(proves(page, count, leaves));
                prop_assert!(!proves(page, count + 1, leaves));
                prop_assert!(!proves(page, count, &leaves[1..]));
                prop_assert!(!proves((page + 1) % pages, count, leaves) || pages == 1);
                prop_assert!(!proves(u64::MAX, count, leaves));
                let mut other = leaves.to_vec();
                other[leaves.len() / 2] = MerkleTree::leaf(b"other content");
                prop_assert!(!proves(page, count, &other));
            }
            prop_assert!(tree.subtree(level, pages as usize).is_none());
        }

        #[test]
        fn different_lists_have_different_roots(left in prop::collection::vec(any::<u8>(), 0..9), right in prop::collection::vec(any::<u8>(), 0..9)) {
            let contents = |bytes: &[u8]| bytes.iter().map(|byte| vec![*byte]).collect::<Vec<_>>();
            prop_assert_eq!(tree(&contents(&left)).root() == tree(&contents(&right)).root(), left == right);
        }
    }
}
