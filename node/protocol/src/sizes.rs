//! How full a replica's tables are, for whoever checks their bounds (R1) from outside.

use pbft_messages::Sequence;

use crate::replica::Replica;
use crate::state_transfer::Transfer;

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
    /// The messages of views to come, of the sender of which most are kept.
    pub ahead: usize,
    /// The bodies that are needed and not held.
    pub wanted: usize,
    /// The pieces of evidence of one kind against one replica, of which there are most.
    pub evidence: usize,
    /// The requests that wait for execution.
    pub waiting: usize,
    /// Those of the client that has most of them.
    pub waiting_of_one: usize,
    /// Their operations, in bytes.
    pub waiting_bytes: usize,
    /// The sessions of the client that has most.
    pub sessions: usize,
    /// The replies of the session that has most.
    pub replies: usize,
    /// The unordered reads that wait.
    pub reads: usize,
    /// The parts of a state that the source is asked for that is asked for most.
    pub asked: usize,
    /// The parts of a state that are on their way to the disk.
    pub keeping: usize,
}

impl Replica {
    /// How much this replica's tables hold.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let carried = self.log.len_above(self.log_end());
        let (sessions, replies) = self.ledger.fullest();
        let (asked, keeping) = self.transfer.as_ref().map_or((0, 0), Transfer::under_way);
        Sizes {
            slots: self.log.len() - carried,
            carried,
            highest_slot: self.log.highest(),
            stable: self.stable_when_written(),
            checkpoints: self.checkpoints.len(),
            view_changes: self.view.view_changes.len(),
            ahead: self.ahead.fullest(),
            wanted: self.wanted.len(),
            evidence: self.most_evidence(),
            waiting: self.waiting.len(),
            waiting_of_one: self.waiting.fullest(),
            waiting_bytes: self.waiting.bytes(),
            sessions,
            replies,
            reads: self.reads.len(),
            asked,
            keeping,
        }
    }
}
