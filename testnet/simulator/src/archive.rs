//! A replica's snapshots on disk: chunks by their digest, and which of them each snapshot consists of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use pbft_crypto::{Digest, MerkleTree};
use pbft_messages::{Chunk, LeafPage, Part, PartId, PeerMessage, Sequence};
use pbft_service::Snapshot;

/// The snapshots, and what a state transfer has gathered so far. All of it is durable.
#[derive(Clone, Default)]
pub(crate) struct Archive {
    chunks: BTreeMap<Digest, Bytes>,
    snapshots: BTreeMap<Sequence, Arc<[Digest]>>,
    gathering: Option<(Sequence, Arc<[Digest]>)>,
}

/// A state as it was: the replica's own part, and the service's.
pub(crate) struct State {
    pub(crate) ledger: Vec<Bytes>,
    pub(crate) service: Box<dyn Snapshot>,
}

impl State {
    pub(crate) fn root(mut self) -> Digest {
        MerkleTree::new(self.leaves()).root()
    }

    fn leaves(&mut self) -> Vec<Digest> {
        let ledger = self.ledger.iter().map(|chunk| MerkleTree::leaf(chunk));
        ledger.chain(self.service.leaves()).collect()
    }

    fn chunk(&self, index: usize) -> Bytes {
        match index.checked_sub(self.ledger.len()) {
            None => self.ledger[index].clone(),
            Some(index) => self.service.chunk(index),
        }
    }
}

impl Archive {
    /// Stores a snapshot, of which the service serializes only what is not stored; gives its root.
    pub(crate) fn keep(&mut self, sequence: Sequence, mut state: State) -> Digest {
        let leaves = state.leaves();
        for (index, leaf) in leaves.iter().enumerate() {
            self.chunks.entry(*leaf).or_insert_with(|| state.chunk(index));
        }
        self.snapshots.insert(sequence, leaves.clone().into());
        MerkleTree::new(leaves).root()
    }

    /// The chunks of a snapshot, in order, if its root is the one given.
    pub(crate) fn load(&self, sequence: Sequence, root: Digest) -> Option<Vec<Bytes>> {
        let leaves = self.snapshots.get(&sequence)?;
        let chunks = leaves.iter().map(|leaf| self.chunks.get(leaf).cloned()).collect();
        (MerkleTree::new(leaves.to_vec()).root() == root).then_some(chunks).flatten()
    }

    /// Removes the snapshots below a sequence but those of `keep`, and a gathering that came too late.
    pub(crate) fn collect(&mut self, through: Sequence, keep: &BTreeSet<Sequence>) {
        self.snapshots.retain(|sequence, _| *sequence >= through || keep.contains(sequence));
        self.gathering.take_if(|(sequence, _)| *sequence <= through);
        self.remove_unnamed();
    }

    /// Begins a gathering; gives the places of the chunks that are not held.
    pub(crate) fn gather(&mut self, sequence: Sequence, leaves: Arc<[Digest]>) -> BTreeSet<u64> {
        let missing = (0..).zip(leaves.iter()).filter(|(_, leaf)| !self.chunks.contains_key(leaf));
        let missing = missing.map(|(index, _)| index).collect();
        self.gathering = Some((sequence, leaves));
        self.remove_unnamed();
        missing
    }

    /// Stores a chunk of the gathering.
    pub(crate) fn keep_chunk(&mut self, content: Bytes) {
        self.chunks.insert(MerkleTree::leaf(&content), content);
    }

    /// Makes the gathering, which is complete, a snapshot.
    pub(crate) fn finish(&mut self) {
        self.snapshots.extend(self.gathering.take());
    }

    /// What to answer to a replica that asks for a part of a snapshot.
    pub(crate) fn answer(&self, id: PartId) -> PeerMessage {
        self.part(id).unwrap_or(PeerMessage::NoSnapshot(id.sequence))
    }

    fn part(&self, PartId { sequence, part }: PartId) -> Option<PeerMessage> {
        let leaves = self.snapshots.get(&sequence)?;
        Some(match part {
            Part::Leaves(page) => {
                let tree = MerkleTree::new(leaves.to_vec());
                let (page_leaves, proof) = tree.page(usize::try_from(page).ok()?)?;
                let (count, leaves) = (leaves.len() as u64, page_leaves.to_vec());
                PeerMessage::Leaves(LeafPage { sequence, page, count, leaves, proof })
            }
            Part::Chunk(index) => {
                let content = self.chunks.get(leaves.get(usize::try_from(index).ok()?)?)?.clone();
                PeerMessage::Chunk(Chunk { sequence, index, content })
            }
        })
    }

    fn remove_unnamed(&mut self) {
        let gathering = self.gathering.iter().map(|(_, leaves)| leaves);
        let named: BTreeSet<_> =
            self.snapshots.values().chain(gathering).flat_map(|leaves| leaves.iter().copied()).collect();
        self.chunks.retain(|digest, _| named.contains(digest));
    }
}
