//! How full a replica's tables are, for whoever checks their bounds (R1) from outside.

use pbft_messages::Sequence;

use crate::replica::Replica;

/// How much a replica's tables hold. `node/BOUNDS.md` tells the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The slots of the log, those carried over apart.
    pub slots: usize,
    /// The slots above the log: what a NEW-VIEW carries over, or will, from a checkpoint that is still being written.
    pub carried: usize,
    /// The highest of both.
    pub highest_slot: Sequence,
    /// h, as it is when all that is on its way to the disk is there.
    pub stable: Sequence,
    /// The sequences above h for which votes for checkpoints are kept.
    pub checkpoints: usize,
    /// The VIEW-CHANGEs.
    pub view_changes: usize,
    /// The messages of views to come.
    pub ahead: usize,
    /// The bodies that are needed and not held.
    pub wanted: usize,
    /// The pieces of evidence.
    pub evidence: usize,
    /// The requests that wait for execution.
    pub waiting: usize,
}

impl Replica {
    /// How much this replica's tables hold.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let carried = self.log.len_above(self.log_end());
        Sizes {
            slots: self.log.len() - carried,
            carried,
            highest_slot: self.log.highest(),
            stable: self.stable_when_written(),
            checkpoints: self.checkpoints.len(),
            view_changes: self.view.view_changes.len(),
            ahead: self.ahead.len(),
            wanted: self.wanted.len(),
            evidence: self.evidence.len(),
            waiting: self.waiting.len(),
        }
    }
}
