//! Typed events: the one source of logs, metrics, golden transcripts and checks. Nothing parses log text.

use serde::{Deserialize, Serialize};

use pbft_crypto::Digest;
use pbft_messages::{Accusation, ReplicaId, Sequence, View};

/// Something worth knowing happened at this replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Report {
    /// The replica starts, from what its store holds.
    Started {
        /// The view it is in.
        view: View,
        /// Its last stable checkpoint.
        stable: Sequence,
        /// The last sequence that its snapshot and its log let it execute at once.
        last_executed: Sequence,
        /// It does not PREPARE in this view up to this sequence, since it may have before it stopped (D2).
        abstains_through: Option<Sequence>,
    },
    /// This primary proposed a batch.
    Proposed {
        /// In which view.
        view: View,
        /// At which sequence.
        sequence: Sequence,
        /// The batch.
        digest: Digest,
        /// How many requests it holds.
        requests: usize,
    },
    /// A prepared certificate was formed here, or received.
    Prepared {
        /// Of which view.
        view: View,
        /// At which sequence.
        sequence: Sequence,
        /// The batch.
        digest: Digest,
    },
    /// A committed certificate was formed here, or received.
    Committed {
        /// Of which view.
        view: View,
        /// At which sequence.
        sequence: Sequence,
        /// The batch.
        digest: Digest,
    },
    /// A batch was executed.
    Executed {
        /// At which sequence.
        sequence: Sequence,
        /// The batch.
        digest: Digest,
        /// How many of its requests the service executed; the rest were repeated or refused.
        requests: usize,
    },
    /// A snapshot became durable here.
    Checkpoint {
        /// After which sequence.
        sequence: Sequence,
        /// The state's root.
        root: Digest,
    },
    /// A checkpoint became stable.
    Stable {
        /// After which sequence.
        sequence: Sequence,
        /// The state's root.
        root: Digest,
    },
    /// This replica left its view and asks for another.
    ViewChange {
        /// The view asked for.
        view: View,
        /// Why.
        reason: ViewChangeReason,
    },
    /// This replica entered a view.
    ViewEntered {
        /// The view.
        view: View,
        /// Its primary.
        primary: ReplicaId,
        /// How many batches it carries over, null ones included.
        carried_over: usize,
        /// How many of them are null.
        null: usize,
    },
    /// Evidence against a replica was found here or received.
    Evidence(Accusation),
    /// The state is fetched from other replicas, since their log no longer reaches back far enough.
    TransferStarted {
        /// The checkpoint fetched.
        sequence: Sequence,
    },
    /// What the state consists of is known, and what of it is held already: the rest is fetched.
    Gathering {
        /// The checkpoint fetched.
        sequence: Sequence,
        /// How many chunks it has.
        chunks: u64,
        /// How many of them are not held.
        missing: u64,
    },
    /// A source of the state gave a wrong chunk, or none in time, and is asked no more.
    SourceDropped {
        /// Which.
        source: ReplicaId,
    },
    /// The fetched state is installed.
    Transferred {
        /// The checkpoint installed.
        sequence: Sequence,
    },
    /// The replica has lost its votes, and asks the others what it may have signed (D8).
    RecoveryStarted,
    /// Enough others have answered.
    RecoveryBounded {
        /// The lowest view in which it may vote again.
        view: View,
        /// The stable checkpoint above which it may.
        sequence: Sequence,
    },
    /// The replica has recovered.
    Recovered {
        /// The view that it votes in, or asks for and waits for.
        view: View,
    },
    /// A message was refused; nothing else came of it.
    Rejected {
        /// Whose.
        from: ReplicaId,
        /// Why.
        reason: Rejection,
    },
    /// A client's submission was not taken: too many are waiting.
    Shed,
    /// An unordered read was not answered: this replica lags behind, or too many are waiting.
    ReadRefused,
    /// The replica stops for good.
    Halted(Halt),
}

/// Why a replica asks for another view (VC1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ViewChangeReason {
    /// The oldest waiting request waited too long.
    RequestTimeout,
    /// A service deadline is overdue.
    DeadlineOverdue,
    /// The primary lets requests wait, just under the timeout or while it does less than others did (VC9).
    SlowPrimary,
    /// Nothing at all comes from the primary (VC10).
    SilentPrimary,
    /// The view change before it did not end in time.
    ViewChangeTimeout,
    /// The primary contradicted itself in this view.
    Evidence,
    /// The primary itself asked for another view, or recovers (D8).
    PrimaryLeft,
    /// f+1 replicas asked for a higher view.
    Joined,
    /// This replica was the primary, has restarted, and may not propose in its view any more (D2).
    Restarted,
    /// It has recovered, and votes in no view that it may have voted in before (D8).
    Recovered,
}

/// Why a message that was well signed did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rejection {
    /// Of a view that this replica has left.
    OldView,
    /// At a sequence already covered by a stable checkpoint, or executed.
    OldSequence,
    /// At a sequence too far ahead to keep.
    BeyondWindow,
    /// A proposal in the range that the view's NEW-VIEW has filled (VC4).
    NotInNewView,
    /// Another proposal was accepted at this place.
    OtherAccepted,
    /// The proposed time is too far from this replica's clock (N6).
    StaleTime,
    /// Not needed, or not asked for.
    Unasked,
    /// Not the chunk that the stable certificate's root proves.
    WrongChunk,
}

/// Why a replica stops for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Halt {
    /// The state here differs from the one that a quorum certified.
    #[error(
        "the state after sequence {sequence} has root {own}, and a quorum certified {certified}: this replica's state is damaged or its service is not deterministic; let it rejoin by `pbft-node recover --unsafe-discard-store`"
    )]
    Diverged {
        /// After which sequence.
        sequence: Sequence,
        /// The root here.
        own: Digest,
        /// The certified root.
        certified: Digest,
    },
    /// Two different batches have certificates at one place: more than f replicas are faulty (VC8).
    #[error(
        "two different batches are certified at view {view}, sequence {sequence}: more than f replicas are faulty, and nothing is guaranteed any more; keep the evidence and the stores"
    )]
    ConflictingCertificates {
        /// The view.
        view: View,
        /// The sequence.
        sequence: Sequence,
    },
    /// A snapshot that is proven does not decode: the replicas that certified it run another format.
    #[error("the certified snapshot at sequence {sequence} cannot be read: {why}")]
    UnreadableSnapshot {
        /// The checkpoint's sequence.
        sequence: Sequence,
        /// What is wrong.
        why: String,
    },
}
