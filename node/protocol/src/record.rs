//! What a replica keeps on disk. A store holds at most one record a key and knows nothing of their meaning.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use pbft_crypto::{Digest, Signed};
use pbft_messages::{
    Body, CommittedCertificate, Evidence, NewView, PrePrepare, PreparedCertificate, RecoveryNonce, Sequence,
    StableCertificate, View, ViewChange,
};

/// One durable record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The last view entered, and the NEW-VIEW that opened it; none for view 0 (D3).
    View(View, Option<Signed<NewView>>),
    /// PRE-PREPAREs and PREPAREs may have left in this view up to this sequence (D2). It never falls.
    Reservation(View, Sequence),
    /// This replica's last VIEW-CHANGE, in its exact bytes (D3).
    ViewChange(Signed<ViewChange>),
    /// The prepared certificate of the highest view at its sequence (D1).
    Prepared(PreparedCertificate),
    /// A batch's body, at a sequence where a certificate needs it.
    Body(Sequence, Arc<Body>),
    /// The batch at this sequence is decided (D4).
    Committed(CommittedCertificate),
    /// The last stable checkpoint (C1).
    Stable(StableCertificate),
    /// A durable snapshot of this replica, and its root (C1).
    Snapshot(Sequence, Digest),
    /// How the last run ended: in good order, with all that it voted on; or `None`, not so (D2).
    Shutdown(Option<CleanShutdown>),
    /// Proof that a replica lied.
    Evidence(Evidence),
    /// Whether the replica recovers and votes nothing, and the number that it asks the others with (D8). `None` once
    /// it has recovered.
    Recovery(Option<RecoveryNonce>),
}

/// What a replica that stops in good order knows, so that it need not abstain when it starts again (D2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanShutdown {
    /// The view it was active in.
    pub view: View,
    /// Every proposal of that view that it accepted above its stable checkpoint, ascending.
    pub accepted: Vec<Signed<PrePrepare>>,
}

impl Record {
    /// The record's key. Keys of the log, which [`crate::Effect::Collect`] forgets, start with the byte
    /// [`Record::LOG`] and their sequence as eight big-endian bytes, so that they sort by sequence; snapshots'
    /// start with [`Record::SNAPSHOT`] in the same way.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let at = |prefix: u8, sequence: Sequence, kind: u8| {
            // A body's digest follows.
            let mut key = Vec::with_capacity(1 + 8 + 1 + Digest::LENGTH);
            key.push(prefix);
            key.extend_from_slice(&sequence.0.to_be_bytes());
            key.push(kind);
            key
        };
        match self {
            Self::View(..) => vec![1],
            Self::Reservation(..) => vec![2],
            Self::ViewChange(_) => vec![3],
            Self::Stable(_) => vec![4],
            Self::Shutdown(_) => vec![5],
            Self::Recovery(_) => vec![6],
            Self::Prepared(certificate) => at(Self::LOG, certificate.proposal().sequence, 1),
            Self::Committed(certificate) => at(Self::LOG, certificate.statement.sequence, 2),
            Self::Body(sequence, body) => {
                let mut key = at(Self::LOG, *sequence, 3);
                key.extend_from_slice(body.digest().as_bytes());
                key
            }
            Self::Snapshot(sequence, _) => at(Self::SNAPSHOT, *sequence, 0),
            Self::Evidence(evidence) => {
                let mut key = vec![Self::EVIDENCE];
                key.extend(pbft_messages::codec::encode(&evidence.accusation().ok()));
                key
            }
        }
    }

    /// The first byte of the keys of log records.
    pub const LOG: u8 = 10;
    /// The first byte of the keys of snapshot records.
    pub const SNAPSHOT: u8 = 11;
    /// The first byte of the keys of evidence.
    pub const EVIDENCE: u8 = 12;

    /// The first key above those of `prefix` ([`Record::LOG`] or [`Record::SNAPSHOT`]) at or below `sequence`.
    #[must_use]
    pub fn key_above(prefix: u8, sequence: Sequence) -> Vec<u8> {
        let mut key = vec![prefix];
        key.extend_from_slice(&sequence.next().0.to_be_bytes());
        key
    }
}
