//! What replicas say to each other: as it travels ([`PeerMessage`]), and as it is believed ([`Message`]).

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use pbft_crypto::{Digest, Malformed, MerkleProof, Rejected, Signature, Signed, Verified};

use crate::statement::ensure;
use crate::{
    Body, Checkpoint, Commit, CommittedCertificate, Configuration, Evidence, EvidenceKind, NewView,
    PrePrepare, Prepare, PreparedCertificate, Proven, RecoveryAnswer, RecoveryNonce, ReplicaId, Sequence,
    StableCertificate, Submission, View, ViewChange, codec,
};

/// A message as it travels between replicas. Its sender is the replica at the other end of the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// A primary's proposal with its body (N2).
    Proposal(Signed<PrePrepare>, Arc<Body>),
    /// A backup's vote, with the primary's signature under the proposal that it is for (N3).
    Prepare(Signed<Prepare>, Signature),
    /// A replica's second vote (N4).
    Commit(Signed<Commit>),
    /// A replica's vote for a state (C1).
    Checkpoint(Signed<Checkpoint>),
    /// A replica asks for a view (VC2).
    ViewChange(Signed<ViewChange>),
    /// A primary opens its view (VC4).
    NewView(Signed<NewView>),
    /// A backup passes a client's submission to the primary (N8).
    Forward(Signed<Submission>),
    /// Where a replica stands, and what it lacks (C4).
    Status(Status),
    /// Asks for the body with this digest.
    FetchBody(Digest),
    /// A body, checked by its digest alone.
    Body(Arc<Body>),
    /// A prepared certificate with its body, for a replica that lacks it (C4).
    Prepared(PreparedCertificate, Arc<Body>),
    /// A committed certificate with its body, for a replica that lacks it (C4).
    Committed(CommittedCertificate, Arc<Body>),
    /// A stable checkpoint, for a replica that is behind it (C4).
    Stable(StableCertificate),
    /// Asks for a part of the snapshot at a stable checkpoint (C3).
    FetchPart(PartId),
    /// What the snapshot's chunks are, proven against its root.
    Leaves(LeafPage),
    /// A chunk, which one of the leaves binds.
    Chunk(Chunk),
    /// The snapshot asked for is not, or no longer, here.
    NoSnapshot(Sequence),
    /// Proof that a replica lied (section E).
    Evidence(Evidence),
    /// A replica that has lost its votes asks what it may have signed (D8).
    AskRecovery(RecoveryNonce),
    /// The answer to it.
    RecoveryAnswer(Signed<RecoveryAnswer>),
}

/// Which part of which snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartId {
    /// The checkpoint's sequence.
    pub sequence: Sequence,
    /// What of it.
    pub part: Part,
}

/// What a snapshot is fetched in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// The page of this number, from 0, of the digests of its chunks.
    Leaves(u64),
    /// The chunk at this place, from 0.
    Chunk(u64),
}

/// The digests of some of a snapshot's chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafPage {
    /// The checkpoint's sequence.
    pub sequence: Sequence,
    /// Which page of [`pbft_crypto::MerkleTree::PAGE`] digests.
    pub page: u64,
    /// How many chunks the snapshot has in all.
    pub count: u64,
    /// The digests.
    pub leaves: Vec<Digest>,
    /// That they belong to the root that the checkpoint certifies.
    pub proof: MerkleProof,
}

/// One chunk of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The checkpoint's sequence.
    pub sequence: Sequence,
    /// Its place in the snapshot, from 0.
    pub index: u64,
    /// The content.
    pub content: Bytes,
}

/// Where a replica stands (C4). Unsigned: a hint for whoever can help, and binding on nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The last view entered.
    pub view: View,
    /// The view asked for, in a view change.
    pub pending: Option<View>,
    /// h, the last stable checkpoint.
    pub stable: Sequence,
    /// The last sequence executed.
    pub last_executed: Sequence,
    /// Set when `last_executed` has not moved since the last status: every replica then sends its own votes above
    /// it again, and the one named here, another each time, hands over proposals, certificates and bodies.
    pub asks: Option<ReplicaId>,
    /// How far each of the sequences after `last_executed` has come, as far as known.
    pub slots: Vec<SlotProgress>,
    /// Set while the replica recovers and votes nothing (D8): the stable checkpoint that it waits for, 0 until it
    /// knows.
    pub recovering: Option<Sequence>,
    /// Against whom it holds evidence, and of which kinds, ascending: others hand over what it lacks (section E).
    pub proven: Vec<(ReplicaId, EvidenceKind)>,
}

impl Status {
    /// The most sequences that one status describes.
    pub const MOST_SLOTS: usize = 128;

    /// As long as a replica needs at most: whoever receives it goes through it.
    fn check(&self, configuration: &Configuration) -> Result<(), Malformed> {
        ensure(self.slots.len() <= Self::MOST_SLOTS, || "a status with too many slots".into())?;
        // No more, then, than there are kinds for each replica.
        let known = self.proven.last().is_none_or(|(last, _)| configuration.member(*last).is_some());
        ensure(known && self.proven.is_sorted_by(|one, next| one < next), || {
            "a status whose evidence is not in order".into()
        })
    }
}

/// How far a sequence has come at a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SlotProgress {
    /// Nothing, or a proposal without its body.
    Unproposed,
    /// Accepted, and not yet prepared.
    Proposed,
    /// Prepared, and not yet committed.
    Prepared,
    /// Committed, body included.
    Committed,
}

/// A message that a replica may act on: what is signed in it has been verified, and its certificates are proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A proposal whose body belongs to it and holds only admitted clients' submissions.
    Proposal(Verified<PrePrepare>, Arc<Body>),
    /// The header of a proposal that is refused for its body: its primary has signed it all the same (section E).
    RefusedProposal(Verified<PrePrepare>),
    /// A vote. The primary's signature beside it is *not* verified: who needs it makes
    /// [`PrePrepare::voted_for`] of it and verifies that.
    Prepare(Verified<Prepare>, Signature),
    /// A vote.
    Commit(Verified<Commit>),
    /// A vote.
    Checkpoint(Verified<Checkpoint>),
    /// A VIEW-CHANGE, good in every part (VC3).
    ViewChange(Verified<ViewChange>),
    /// A NEW-VIEW, good in every part (VC5).
    NewView(Verified<NewView>),
    /// A submission of an admitted client.
    Forward(Verified<Submission>),
    /// A hint.
    Status(Status),
    /// A question.
    FetchBody(Digest),
    /// A body; its submissions' signatures are not verified.
    Body(Arc<Body>),
    /// A certificate and the body that belongs to it.
    Prepared(Proven<PreparedCertificate>, Arc<Body>),
    /// A certificate and the body that belongs to it.
    Committed(Proven<CommittedCertificate>, Arc<Body>),
    /// A certificate.
    Stable(Proven<StableCertificate>),
    /// A question.
    FetchPart(PartId),
    /// Digests, not yet proven: that needs the root.
    Leaves(LeafPage),
    /// A chunk, not yet compared with its digest.
    Chunk(Chunk),
    /// An answer.
    NoSnapshot(Sequence),
    /// Evidence that holds.
    Evidence(Proven<Evidence>),
    /// A question.
    AskRecovery(RecoveryNonce),
    /// An answer whose bounds are shown; whether it was asked for, the asker knows.
    RecoveryAnswer(Verified<RecoveryAnswer>),
}

impl PeerMessage {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`Malformed`] unless the bytes are exactly one message.
    pub fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        codec::decode(frame)
    }

    /// The frame to send.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        codec::encode(self).into()
    }

    /// Whether the message carries bodies, state or evidence, which travel apart from votes so as not to delay them.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        matches!(
            self,
            Self::Proposal(..)
                | Self::Forward(_)
                | Self::Body(_)
                | Self::Prepared(..)
                | Self::Committed(..)
                | Self::Leaves(_)
                | Self::Chunk(_)
                | Self::Evidence(_)
        )
    }

    /// The header, if this is a proposal: if it is refused for its body, the header goes on by itself, as a
    /// [`Message::RefusedProposal`].
    #[must_use]
    pub fn header(&self) -> Option<Signed<PrePrepare>> {
        match self {
            Self::Proposal(header, _) => Some(header.clone()),
            _ => None,
        }
    }

    /// Checks everything in the message that can be checked without a replica's state. This is the costly part of
    /// receiving, made to run on any thread.
    ///
    /// A NEW-VIEW that its primary signed and that is wrong comes back as the evidence that it is.
    ///
    /// # Errors
    /// [`Rejected`], with the first thing wrong.
    pub fn verify(self, configuration: &Configuration) -> Result<Message, Rejected> {
        let belongs = |certified: Digest, body: &Body| {
            if certified == body.digest() {
                Ok(())
            } else {
                Err(Malformed("a body that is not the certified one".into()))
            }
        };
        Ok(match self {
            Self::Proposal(header, body) => {
                let header = header.verify(configuration)?;
                belongs(header.value().digest, &body)?;
                body.check_fresh(configuration)?;
                Message::Proposal(header, body)
            }
            Self::Prepare(vote, signature) => Message::Prepare(vote.verify(configuration)?, signature),
            Self::Commit(vote) => Message::Commit(vote.verify(configuration)?),
            Self::Checkpoint(vote) => Message::Checkpoint(vote.verify(configuration)?),
            Self::ViewChange(signed) => Message::ViewChange(signed.verify(configuration)?),
            Self::NewView(signed) => match signed.clone().verify(configuration) {
                Ok(verified) => Message::NewView(verified),
                Err(Rejected::Malformed(_)) => {
                    Message::Evidence(Proven::new(Evidence::WrongNewView(signed), configuration)?)
                }
                Err(other) => return Err(other),
            },
            Self::Forward(submission) => Message::Forward(submission.verify(configuration)?),
            Self::Status(status) => {
                status.check(configuration)?;
                Message::Status(status)
            }
            Self::FetchBody(digest) => Message::FetchBody(digest),
            Self::Body(body) => Message::Body(body),
            Self::Prepared(certificate, body) => {
                belongs(certificate.proposal().digest, &body)?;
                Message::Prepared(Proven::new(certificate, configuration)?, body)
            }
            Self::Committed(certificate, body) => {
                belongs(certificate.statement.digest, &body)?;
                Message::Committed(Proven::new(certificate, configuration)?, body)
            }
            Self::Stable(certificate) => Message::Stable(Proven::new(certificate, configuration)?),
            Self::FetchPart(id) => Message::FetchPart(id),
            Self::Leaves(page) => Message::Leaves(page),
            Self::Chunk(chunk) => Message::Chunk(chunk),
            Self::NoSnapshot(sequence) => Message::NoSnapshot(sequence),
            Self::Evidence(evidence) => Message::Evidence(Proven::new(evidence, configuration)?),
            Self::AskRecovery(nonce) => Message::AskRecovery(nonce),
            Self::RecoveryAnswer(signed) => Message::RecoveryAnswer(signed.verify(configuration)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::configuration;

    #[test]
    fn a_status_is_no_longer_than_one_can_be() {
        let verifies = |slots, proven: &[(u16, EvidenceKind)]| {
            let status = Status {
                view: View(0),
                pending: None,
                stable: Sequence(0),
                last_executed: Sequence(0),
                asks: None,
                slots: vec![SlotProgress::Proposed; slots],
                recovering: None,
                proven: proven.iter().map(|(replica, kind)| (ReplicaId(*replica), *kind)).collect(),
            };
            PeerMessage::Status(status).verify(&configuration(4)).is_ok()
        };
        let (commit, omission) = (EvidenceKind::Commit, EvidenceKind::Omission);
        assert!(verifies(128, &[]) && !verifies(129, &[]));
        assert!(verifies(0, &[(1, commit), (1, omission), (3, commit)]));
        for (bad, why) in [
            (vec![(1, commit); 2], "the same twice"),
            (vec![(1, omission), (1, commit)], "out of order"),
            (vec![(4, commit)], "a stranger"),
        ] {
            assert!(!verifies(0, &bad), "{why}");
        }
    }
}
