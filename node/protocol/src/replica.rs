//! A replica: its state, and the dispatch of what happens to it. Each input has a file of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use pbft_crypto::{Digest, Signed, Signer, Verified, mutant};
use pbft_messages::{
    Accusation, Checkpoint, Configuration, Evidence, Message, NewView, Parameters, Proven, ReplicaId,
    Sequence, StableCertificate, View, ViewChange, VoteSet,
};

use crate::ahead::Ahead;
use crate::durability::Writes;
use crate::execute::InExecution;
use crate::ledger::Ledger;
use crate::log::Log;
use crate::pace::Pace;
use crate::reads::Reads;
use crate::recovery::{Courtesy, Recovery};
use crate::silence::Silence;
use crate::state_transfer::{SourcePatience, Transfer};
use crate::timeouts::{Deadline, Patience};
use crate::timer::Timers;
use crate::vigilance::Vigilance;
use crate::waiting::Waiting;
use crate::{AuditId, Effect, Effects, Halt, Input, Instant, Now, Rejection, Report, Timer};

/// The PBFT state machine of one replica.
///
/// It is pure: [`Replica::handle`] takes an input and the time, and gives effects. The driver's duties are written
/// at [`Effect`]. Methods come in four kinds: `on_…` handle one input, `try_…` go on as far as the state allows and
/// may be called at any time, `send_…` speak to others, and the rest ask or note.
///
/// As it is shown, it tells two states apart.
#[derive(Debug)]
pub struct Replica {
    pub(crate) configuration: Fixed<Arc<Configuration>>,
    pub(crate) me: ReplicaId,
    pub(crate) signer: Fixed<Arc<dyn Signer>>,

    pub(crate) view: ViewState,
    pub(crate) log: Log,
    /// The last stable checkpoint whose certificate is durable: its sequence is h.
    pub(crate) stable: Option<Proven<StableCertificate>>,
    /// Votes for checkpoints above h.
    pub(crate) checkpoints: BTreeMap<Sequence, VoteSet<Checkpoint>>,
    /// The roots of this replica's durable snapshots.
    pub(crate) snapshots: BTreeMap<Sequence, Digest>,
    /// Who fetches which snapshot of this replica, and when it last asked.
    pub(crate) served: BTreeMap<ReplicaId, (Sequence, Instant)>,
    /// Up to where the log was collected.
    pub(crate) collected: Sequence,
    /// Up to where the log will not be executed here, for this replica is too far behind: state is fetched instead.
    pub(crate) unreachable: Sequence,

    pub(crate) last_executed: Sequence,
    pub(crate) executing: Option<InExecution>,
    pub(crate) ledger: Ledger,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) audits: Vec<AuditId>,
    pub(crate) transfer: Option<Transfer>,
    pub(crate) source_patience: SourcePatience,

    pub(crate) waiting: Waiting,
    pub(crate) reads: Reads,
    /// The sequence of this primary's next proposal.
    pub(crate) next_sequence: Sequence,
    pub(crate) pace: Pace,
    pub(crate) patience: Patience,
    pub(crate) vigilance: Vigilance,
    pub(crate) silence: Silence,

    pub(crate) writes: Writes,
    pub(crate) ahead: Ahead,
    /// Bodies that are needed and not held, and where they belong.
    pub(crate) wanted: BTreeSet<(Digest, Sequence)>,
    pub(crate) evidence: BTreeMap<Accusation, Proven<Evidence>>,

    pub(crate) timers: Timers,
    pub(crate) status: crate::status::StatusRound,
    /// Set from a loss of this replica's votes until it may vote again (D8).
    pub(crate) recovery: Option<Recovery>,
    pub(crate) courtesy: Courtesy,
    pub(crate) stopped: bool,
}

/// Which view the replica is in, and which it asks for.
#[derive(Debug)]
pub(crate) struct ViewState {
    /// The last view entered. It never falls (VC8).
    pub(crate) active: View,
    /// Whether entering it is durable; no vote leaves before (D3).
    pub(crate) durable: bool,
    /// The view asked for, above the active one, if a view change is going on.
    pub(crate) pending: Option<View>,
    /// max-s of the active view's NEW-VIEW: at or below it only O's entries count (N2).
    pub(crate) max_s: Sequence,
    /// The NEW-VIEW that opened the active view; view 0 needs none.
    pub(crate) new_view: Option<Verified<NewView>>,
    /// The NEW-VIEW of the highest view above the active one that began when this replica had asked for a higher one. What
    /// is in it was compared: its copies, which anybody may send, are not looked at again.
    pub(crate) missed: Option<Verified<NewView>>,
    /// The VIEW-CHANGEs to the active view: those in it, and of each other replica the first one heard.
    pub(crate) to_active: BTreeMap<ReplicaId, Verified<ViewChange>>,
    /// After a restart: no PREPARE in the active view in (max-s, this] (D2).
    pub(crate) abstains_through: Sequence,
    /// This replica's VIEW-CHANGE to the pending view, durable, to send again in the same bytes.
    pub(crate) own_view_change: Option<Signed<ViewChange>>,
    /// The VIEW-CHANGE of the highest view of each replica (VC3).
    pub(crate) view_changes: BTreeMap<ReplicaId, Verified<ViewChange>>,
    /// The current view timeout: doubled by view changes without progress, capped (VC7).
    pub(crate) timeout: Duration,
    /// Whether something new was executed since the active view was entered.
    pub(crate) progressed: bool,
    /// When the pending view change is given up for the next; set once a quorum asks for it (VC7).
    pub(crate) deadline: Option<Instant>,
}

/// Where a replica stands, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The last view entered.
    pub view: View,
    /// The view asked for, in a view change.
    pub pending: Option<View>,
    /// The primary of the last view entered.
    pub primary: ReplicaId,
    /// h, the last stable checkpoint.
    pub stable: Sequence,
    /// The last sequence executed.
    pub last_executed: Sequence,
    /// How many requests wait for execution.
    pub waiting: usize,
    /// The state transfer under way.
    pub transferring: Option<Transferring>,
    /// The stable checkpoint that the replica waits for before it votes again, after it has lost its votes; 0 until
    /// it knows which (D8).
    pub recovering: Option<Sequence>,
}

/// How far a state transfer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transferring {
    /// The checkpoint that is fetched.
    pub sequence: Sequence,
    /// How many chunks its snapshot has, once that is known.
    pub chunks: Option<u64>,
    /// How many of them are held.
    pub held: u64,
    /// Whether all are, and the service is restoring from them.
    pub installing: bool,
}

/// What does not change while a replica runs, and so is not shown with its state.
pub(crate) struct Fixed<T>(pub(crate) T);

impl<T> Deref for Fixed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Fixed<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("..")
    }
}

impl Replica {
    /// Handles one input at time `now`; what is to be done is added to `effects`, in order.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Effects) {
        if self.stopped && !matches!(input, Input::Durable(_)) {
            return;
        }
        match input {
            Input::Message { from, message } => {
                self.on_message(from, message, now, effects);
                self.heard(from);
            }
            Input::Submission(submission) => self.on_submission(submission, now, effects),
            Input::Read { client, session, read } => self.on_read(client, session, read, now, effects),
            Input::Timer(timer) => self.on_timer(timer, now, effects),
            Input::Durable(id) => self.on_durable(id, now, effects),
            Input::Executed { sequence, results, next_deadline } => {
                self.on_executed(sequence, results, next_deadline, now, effects);
            }
            Input::SnapshotTaken { sequence, root } => self.on_snapshot_taken(sequence, root, effects),
            Input::Gathering { sequence, missing } => self.on_gathering(sequence, missing, effects),
            Input::ChunkKept { sequence, index } => self.on_chunk_kept(sequence, index, effects),
            Input::Installed { sequence, ledger, next_deadline } => {
                self.on_installed(sequence, &ledger, next_deadline, now, effects);
            }
            Input::Audit(id) => self.audits.push(id),
            Input::Shutdown => return self.on_shutdown(effects),
        }
        // One that has stopped proposes nothing either: what it wrote about its votes is all that there is (D2).
        if !self.stopped {
            self.settle(now, effects);
        }
    }

    /// Where the replica stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing {
            view: self.view.active,
            pending: self.view.pending,
            primary: self.primary(),
            stable: self.stable_sequence(),
            last_executed: self.last_executed,
            waiting: self.waiting.len(),
            transferring: self.transfer.as_ref().map(Transfer::progress),
            recovering: self.recovering(),
        }
    }

    pub(crate) fn on_message(&mut self, from: ReplicaId, message: Message, now: Now, effects: &mut Effects) {
        match message {
            Message::Proposal(header, body) => self.on_pre_prepare(from, header, body, now, effects),
            Message::RefusedProposal(header) => self.on_refused_proposal(&header, now, effects),
            Message::Prepare(vote, signature) => self.on_prepare(from, vote, signature, now, effects),
            Message::Commit(vote) => self.on_commit(from, vote, now, effects),
            Message::Checkpoint(vote) => self.on_checkpoint(from, vote, now, effects),
            Message::ViewChange(view_change) => self.on_view_change(view_change, now, effects),
            Message::NewView(new_view) => self.on_new_view(from, new_view, now, effects),
            Message::Forward(submission) => self.on_forward(from, submission, now, effects),
            Message::Status(status) => self.on_status(from, &status, now, effects),
            Message::FetchBody(digest) => self.on_fetch_body(from, digest, effects),
            Message::Body(body) => self.on_body(from, body, now, effects),
            Message::Prepared(certificate, body) => self.on_prepared(from, certificate, body, now, effects),
            Message::Committed(certificate, body) => self.on_committed(certificate, body, now, effects),
            Message::Stable(certificate) => {
                self.compare_stable(certificate.get(), now, effects);
                self.on_stable(certificate, effects);
            }
            Message::FetchPart(id) => self.on_fetch_part(from, id, now, effects),
            Message::Leaves(page) => self.on_leaves(from, page, effects),
            Message::Chunk(chunk) => self.on_chunk(from, chunk, effects),
            Message::NoSnapshot(sequence) => self.on_no_snapshot(from, sequence, effects),
            Message::Evidence(evidence) => self.on_evidence(evidence, now, effects),
            Message::AskRecovery(nonce) => self.on_ask_recovery(from, nonce, effects),
            Message::RecoveryAnswer(answer) => self.on_recovery_answer(from, &answer, effects),
        }
    }

    fn on_timer(&mut self, timer: Timer, now: Now, effects: &mut Effects) {
        if !self.timers.expired(timer, now.instant) {
            return;
        }
        match timer {
            Timer::Request => self.on_request_timeout(now, effects),
            Timer::ViewChange => self.on_view_change_timeout(now, effects),
            Timer::Status => self.on_status_timer(now, effects),
            // An idle primary proposes an empty timed batch as it settles, a busy one the batch that it held back.
            Timer::Deadline => self.estimate_deadline(now),
        }
    }

    /// Goes on as far as the state allows, after every input.
    pub(crate) fn settle(&mut self, now: Now, effects: &mut Effects) {
        self.try_install(effects);
        self.try_end_recovery(now, effects);
        self.try_execute(effects);
        self.try_read(now, effects);
        self.try_propose(now, effects);
        self.rearm(now, effects);
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        self.configuration.parameters()
    }

    /// The primary of the last view entered.
    pub(crate) fn primary(&self) -> ReplicaId {
        self.configuration.primary(self.view.active)
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.primary() == self.me
    }

    /// h, the low watermark.
    pub(crate) fn stable_sequence(&self) -> Sequence {
        self.stable.as_ref().map_or(Sequence(0), |certificate| certificate.get().statement.sequence)
    }

    /// H, the high watermark: no vote above it (C1).
    pub(crate) fn high(&self) -> Sequence {
        self.stable_sequence().plus(self.parameters().window)
    }

    /// Whether this replica may vote in its active view: entering it is durable, it has not left it (D3), and it knows
    /// what it has voted for (D8).
    pub(crate) fn may_vote(&self) -> bool {
        let left = self.view.pending.is_some() && !mutant!("view-left-is-voted-in");
        self.view.durable && !left && self.recovery.is_none()
    }

    /// Why nothing at `sequence` is kept, if so: the log reaches one window beyond H, for a replica whose
    /// checkpoints lag behind the others' must not drop their proposals (fault 18).
    pub(crate) fn out_of_log(&self, sequence: Sequence) -> Option<Rejection> {
        if sequence <= self.stable_sequence().min(self.last_executed).max(self.unreachable) {
            Some(Rejection::OldSequence)
        } else if sequence > self.log_end() {
            Some(Rejection::BeyondWindow)
        } else {
            None
        }
    }

    /// Where the log ends. Above it there is only what a NEW-VIEW takes from a checkpoint that is still being written.
    pub(crate) fn log_end(&self) -> Sequence {
        self.high().plus(if mutant!("dropped-beyond-h") { 0 } else { self.parameters().window })
    }

    /// Signs a statement of this replica.
    pub(crate) fn sign<T>(&self, value: T) -> Verified<T>
    where
        T: pbft_crypto::Statement<Signer = ReplicaId>,
    {
        Verified::sign(value, self.me, &**self.signer, self.configuration.scope())
    }

    /// Reports that a message was refused.
    pub(crate) fn reject(&self, from: ReplicaId, reason: Rejection, effects: &mut Effects) {
        effects.report(Report::Rejected { from, reason });
    }

    /// Stops for good: nothing is sent after this.
    pub(crate) fn halt(&mut self, halt: Halt, effects: &mut Effects) {
        self.stopped = true;
        effects.report(Report::Halted(halt.clone()));
        effects.push(Effect::Halt(halt));
    }
}

/// The requests of every batch that stands in the log above a sequence, as far as bodies are held.
pub(crate) fn requests_in_log(log: &Log, above: Sequence) -> BTreeSet<pbft_messages::RequestId> {
    let mut requests = BTreeSet::new();
    for (_, slot) in log.above(above) {
        let accepted = slot.accepted.as_ref().map(|header| header.value().digest);
        let committed = slot.committed.as_ref().map(|certificate| certificate.get().statement.digest);
        for body in [accepted, committed].into_iter().flatten().filter_map(|digest| slot.body(&digest)) {
            requests.extend(body.request_ids());
        }
    }
    requests
}
