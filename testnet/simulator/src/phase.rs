//! Where in the protocol a message belongs.

use pbft_messages::{PeerMessage, Sequence, View};

/// A phase of the protocol, in the order in which a view goes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    ViewChange,
    NewView,
    PrePrepare,
    Prepare,
    Commit,
    Checkpoint,
}

/// A phase of one view and one sequence; 0 where the phase has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) phase: Phase,
    pub(crate) view: View,
    pub(crate) sequence: Sequence,
}

/// Where a message belongs: a certificate where its votes do. `None` for what belongs to no phase: questions, bodies,
/// state, statuses.
pub(crate) fn place(message: &PeerMessage) -> Option<Place> {
    let at = |phase, view, sequence| Some(Place { phase, view, sequence });
    match message {
        PeerMessage::Proposal(header, _) => {
            header.peek().ok().and_then(|it| at(Phase::PrePrepare, it.view, it.sequence))
        }
        PeerMessage::Prepare(vote, _) => {
            vote.peek().ok().and_then(|it| at(Phase::Prepare, it.view, it.sequence))
        }
        PeerMessage::Prepared(certificate, _) => {
            let it = certificate.proposal();
            at(Phase::Prepare, it.view, it.sequence)
        }
        PeerMessage::Commit(vote) => vote.peek().ok().and_then(|it| at(Phase::Commit, it.view, it.sequence)),
        PeerMessage::Committed(certificate, _) => {
            at(Phase::Commit, certificate.statement.view, certificate.statement.sequence)
        }
        PeerMessage::Checkpoint(vote) => {
            vote.peek().ok().and_then(|it| at(Phase::Checkpoint, View(0), it.sequence))
        }
        PeerMessage::Stable(certificate) => at(Phase::Checkpoint, View(0), certificate.statement.sequence),
        PeerMessage::ViewChange(signed) => {
            signed.peek().ok().and_then(|it| at(Phase::ViewChange, it.view, Sequence(0)))
        }
        PeerMessage::NewView(signed) => {
            signed.peek().ok().and_then(|it| at(Phase::NewView, it.view, Sequence(0)))
        }
        _ => None,
    }
}
