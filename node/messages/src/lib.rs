//! What replicas and clients say to each other: identifiers, the cluster's configuration, every message,
//! certificates and vote sets, and the one bounded codec.
//!
//! Two ideas run through all of it. What has been checked has a type of its own ([`pbft_crypto::Verified`],
//! [`Proven`]) that nothing but the check makes; and a signed statement names no author, the verified key does.

mod agreement;
mod batch;
mod certificate;
mod client;
mod cluster_file;
pub mod codec;
mod configuration;
mod conviction;
mod evidence;
mod ids;
mod omission;
mod peer;
mod quorum;
mod recovery;
mod reserve;
mod statement;
mod submission;
#[cfg(test)]
mod testing;
mod view_change;
mod words;

pub use agreement::{Checkpoint, Commit, Exclusive, PrePrepare, Prepare};
pub use batch::{Body, OrderedSubmission};
pub use certificate::{
    Certificate, CommittedCertificate, Endorsed, PreparedCertificate, Proven, StableCertificate, VoteSet,
};
pub use client::{
    ClientMessage, Outcome, Read, ReadAnswer, ReadId, ReadOutcome, Refusal, ReplicaMessage, Reply,
};
pub use cluster_file::{ClientTable, ClusterFile, ParametersTable, ReplicaTable};
pub use configuration::{Configuration, InvalidConfiguration, Member, Parameters};
pub use conviction::Conviction;
pub use evidence::{Accusation, Conflict, Evidence, EvidenceKind};
pub use ids::{ClientId, NoReplicaName, ReplicaId, RequestNumber, Sequence, SessionId, Timestamp, View};
pub use omission::Omission;
pub use peer::{Chunk, LeafPage, Message, Part, PartId, PeerMessage, SlotProgress, Status};
pub use quorum::{Quorum, WeakQuorum, faults_tolerated};
pub use recovery::{RecoveryAnswer, RecoveryNonce, ShownView, VIEWS_ABOVE_SHOWN};
pub use reserve::Reserve;
pub use submission::{Request, RequestId, Submission};
pub use view_change::{CarriedOver, ConflictingCertificates, NewView, ViewChange};
