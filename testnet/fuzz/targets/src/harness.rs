//! One replica, its disk and its past, driven by a fuzzer: everything outside of it is drawn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use pbft_crypto::{Digest, Domain, Hasher, Signed};
use pbft_messages::{
    Body, Commit, Configuration, Exclusive, Message, PeerMessage, Prepare, ReplicaId, Sequence, SlotProgress,
    Status, Timestamp, View, ViewChange,
};
use pbft_protocol::{
    Effect, Effects, Input, Instant, LeftBehind, Now, Record, Replica, Timer, Unreadable, WriteId,
    latest_snapshot,
};

use crate::cluster::{INTERVAL, N, configuration, replica_key};
use crate::make::Make;

/// Which replica it is.
pub(crate) const ME: ReplicaId = ReplicaId(1);

/// What is to be written, in order.
enum Pending {
    Write(Vec<Record>),
    Forget(Sequence),
    Sync(WriteId, Vec<Effect>),
}

/// What survives a crash.
#[derive(Default)]
pub(crate) struct Disk {
    records: BTreeMap<Vec<u8>, Record>,
    /// The ledger's part of each snapshot; the service has no state.
    snapshots: BTreeMap<Sequence, Vec<Bytes>>,
}

impl Disk {
    pub(crate) fn new(records: impl IntoIterator<Item = Record>) -> Self {
        let records = records.into_iter().map(|record| (record.key(), record)).collect();
        Self { records, snapshots: BTreeMap::new() }
    }

    /// Puts a snapshot there.
    pub(crate) fn keep_snapshot(&mut self, sequence: Sequence, ledger: Vec<Bytes>) {
        self.snapshots.insert(sequence, ledger);
    }

    fn left_behind(&self) -> LeftBehind {
        let records: Vec<Record> = self.records.values().cloned().collect();
        let ledger =
            latest_snapshot(&records).and_then(|(sequence, _)| self.snapshots.get(&sequence).cloned());
        LeftBehind { records, ledger: ledger.unwrap_or_default(), next_deadline: None }
    }
}

/// A replica under test.
pub(crate) struct Harness {
    configuration: Arc<Configuration>,
    core: Replica,
    disk: Disk,
    pending: VecDeque<Pending>,
    inputs: VecDeque<Input>,
    timers: BTreeMap<Timer, Instant>,
    clock: Duration,
    /// Every statement that has left it, by kind and place.
    said: BTreeMap<(u8, View, Sequence), Bytes>,
    /// Of each replica, the VIEW-CHANGE of the highest view since the last start.
    asked: BTreeMap<ReplicaId, ViewChange>,
    executed: Sequence,
    /// The ledger of the last snapshot that was taken.
    pub(crate) last_ledger: Vec<Bytes>,
    /// Everything that has left it since its last start.
    pub(crate) sent: Vec<PeerMessage>,
    halted: bool,
}

impl Harness {
    /// Starts a replica from its disk.
    pub(crate) fn start(disk: Disk) -> Result<Self, Unreadable> {
        let mut effects = Effects::new();
        let configuration = configuration();
        let core = boot(&configuration, &disk, Duration::ZERO, &mut effects)?;
        let mut harness = Self {
            executed: core.standing().last_executed,
            configuration,
            core,
            disk,
            pending: VecDeque::new(),
            inputs: VecDeque::new(),
            timers: BTreeMap::new(),
            clock: Duration::ZERO,
            said: BTreeMap::new(),
            asked: BTreeMap::new(),
            last_ledger: Vec::new(),
            sent: Vec::new(),
            halted: false,
        };
        harness.carry_out(effects.into());
        Ok(harness)
    }

    /// Plays steps until there is nothing left to draw, or the replica has halted.
    pub(crate) fn play(&mut self, make: &mut Make<'_>) {
        make.innocent = Some(ME);
        let mut steps = 0;
        while !make.draw.is_empty() && !self.halted && steps < 200 {
            steps += 1;
            self.step(make);
            let held = make.draw.rarely();
            if !held {
                self.catch_up();
            }
        }
    }

    /// Lets the others ask for the first view that it leads, and hand it what it may lack to open it.
    pub(crate) fn lead(&mut self, make: &mut Make<'_>) {
        make.innocent = Some(ME);
        while !make.draw.is_empty() && !self.halted {
            let sender = self.other(make);
            let message = match make.draw.below(4) {
                1 => PeerMessage::Body(make.body()),
                2 => {
                    let sequence = Sequence((1 + make.draw.below(3)) * INTERVAL);
                    PeerMessage::Stable(make.stable_at(sequence))
                }
                _ => PeerMessage::ViewChange(make.view_change_to(View(ME.0.into()), sender)),
            };
            self.deliver(sender, message);
            self.catch_up();
        }
    }

    /// Lets the others hand it a decided batch.
    pub(crate) fn decide(&mut self, sequence: Sequence) {
        let body = Make::new(&[sequence.0 as u8]).body();
        let certificate = Make::new(&[]).committed_at(View(0), sequence, body.digest());
        self.deliver(ReplicaId(0), PeerMessage::Committed(certificate, body));
        self.catch_up();
    }

    fn step(&mut self, make: &mut Make<'_>) {
        let standing = self.core.standing();
        match make.draw.below(20) {
            12 => {
                let submission = make.submission();
                if let Ok(verified) = submission.verify(&self.configuration) {
                    self.input(Input::Submission(verified));
                }
            }
            13 => self.expire(),
            14 => self.clock += Duration::from_millis(make.draw.number().min(10_000)),
            15 => self.crash(),
            16 => {
                let message = self.question(make);
                self.receive(make, message);
            }
            17 => {
                let asked = make.recovery_answer();
                self.receive(make, PeerMessage::RecoveryAnswer(asked));
            }
            18 => self.input(Input::Shutdown),
            19 => self.catch_up(),
            _ => {
                let sender = self.other(make);
                let view = standing.pending.unwrap_or(standing.view);
                let view = if make.draw.rarely() { make.view() } else { view };
                let place = standing.last_executed.plus(1 + make.draw.below(5));
                if let Some(message) = make.message_at(view, place, sender) {
                    self.deliver(sender, message);
                }
            }
        }
    }

    /// What is unsigned, and binds nobody.
    fn question(&mut self, make: &mut Make<'_>) -> PeerMessage {
        match make.draw.below(4) {
            0 => PeerMessage::FetchBody(make.digest()),
            1 => PeerMessage::AskRecovery(pbft_messages::RecoveryNonce([make.draw.byte(); 32])),
            2 => PeerMessage::NoSnapshot(Sequence(INTERVAL)),
            _ => PeerMessage::Status(Status {
                view: View(make.draw.number()),
                pending: (make.draw.below(2) == 1).then(|| View(make.draw.number())),
                stable: Sequence(make.draw.number()),
                last_executed: Sequence(make.draw.number()),
                asks: (make.draw.below(2) == 1).then_some(ME),
                slots: (0..make.draw.below(5)).map(|_| SlotProgress::Unproposed).collect(),
                proven: Default::default(),
                recovering: (make.draw.below(4) == 1).then(|| Sequence(make.draw.number())),
            }),
        }
    }

    fn other(&self, make: &mut Make<'_>) -> ReplicaId {
        let number = make.draw.below(u64::from(N) - 1) as u16;
        if number >= ME.0 { ReplicaId(number + 1) } else { ReplicaId(number) }
    }

    fn receive(&mut self, make: &mut Make<'_>, message: PeerMessage) {
        let from = self.other(make);
        self.deliver(from, message);
    }

    /// Lets a message arrive, if it is one that a replica believes.
    pub(crate) fn deliver(&mut self, from: ReplicaId, message: PeerMessage) {
        if let Ok(message) = message.verify(&self.configuration) {
            if let Message::ViewChange(it) = &message {
                self.asks(it.signer(), it.value());
            }
            self.input(Input::Message { from, message });
        }
    }

    /// Lets something happen to it.
    pub(crate) fn input(&mut self, input: Input) {
        let (mut effects, view) = (Effects::new(), self.core.standing().view);
        self.core.handle(self.now(), input, &mut effects);
        assert!(self.core.standing().view >= view, "its view goes down");
        self.carry_out(effects.into());
    }

    fn now(&self) -> Now {
        now(self.clock)
    }

    /// Lets the time pass until the next timer expires.
    fn expire(&mut self) {
        let Some((timer, at)) =
            self.timers.iter().min_by_key(|(_, at)| **at).map(|(timer, at)| (*timer, *at))
        else {
            return;
        };
        self.timers.remove(&timer);
        self.clock = self.clock.max(at.since_start());
        self.input(Input::Timer(timer));
    }

    /// Lets everything that is under way come to its end.
    pub(crate) fn catch_up(&mut self) {
        for _ in 0..200 {
            if self.halted {
                return;
            }
            if let Some(input) = self.inputs.pop_front() {
                self.input(input);
            } else if !self.write_next() {
                return self.opens_its_view();
            }
        }
    }

    /// Makes the oldest write durable; `false` if there is none.
    fn write_next(&mut self) -> bool {
        let Some(pending) = self.pending.pop_front() else { return false };
        match pending {
            Pending::Write(records) => {
                self.disk.records.extend(records.into_iter().map(|record| (record.key(), record)));
            }
            Pending::Forget(through) => {
                let log = Record::key_above(Record::LOG, through);
                let snapshots = Record::key_above(Record::SNAPSHOT, Sequence(through.0.saturating_sub(1)));
                self.disk.records.retain(|key, _| {
                    !(key[0] == Record::LOG && *key < log || key[0] == Record::SNAPSHOT && *key < snapshots)
                });
            }
            Pending::Sync(id, then) => {
                self.carry_out(then);
                self.input(Input::Durable(id));
            }
        }
        true
    }

    /// The power goes, and comes back.
    pub(crate) fn crash(&mut self) {
        self.pending.clear();
        self.inputs.clear();
        self.timers.clear();
        self.sent.clear();
        self.asked.clear();
        let mut effects = Effects::new();
        self.core = boot(&self.configuration, &self.disk, self.clock, &mut effects)
            .expect("what a replica has written, it can read");
        self.executed = self.core.standing().last_executed;
        self.carry_out(effects.into());
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { message, .. } | Effect::Broadcast(message) => self.leaves(message),
                Effect::Persist { id, records, then } => {
                    self.pending.push_back(Pending::Write(records));
                    self.pending.push_back(Pending::Sync(id, then));
                }
                Effect::Note(records) => self.pending.push_back(Pending::Write(records)),
                Effect::Collect { through, .. } => self.pending.push_back(Pending::Forget(through)),
                Effect::SetTimer { timer, at: Some(at) } => {
                    self.timers.insert(timer, at);
                }
                Effect::SetTimer { timer, at: None } => {
                    self.timers.remove(&timer);
                }
                Effect::Execute(execution) => {
                    assert_eq!(execution.sequence, self.executed.next(), "it executes out of order");
                    self.executed = execution.sequence;
                    let results = execution.operations.iter().map(|it| it.operation.clone()).collect();
                    let done = Input::Executed { sequence: execution.sequence, results, next_deadline: None };
                    self.inputs.push_back(done);
                }
                Effect::Snapshot { sequence, ledger } => {
                    let root = root(&ledger);
                    self.last_ledger.clone_from(&ledger);
                    self.disk.snapshots.insert(sequence, ledger);
                    self.inputs.push_back(Input::SnapshotTaken { sequence, root });
                }
                Effect::Gather { sequence, leaves } => {
                    let missing = (0..leaves.len() as u64).collect();
                    self.inputs.push_back(Input::Gathering { sequence, missing });
                }
                Effect::KeepChunk(chunk) => {
                    let kept = Input::ChunkKept { sequence: chunk.sequence, index: chunk.index };
                    self.inputs.push_back(kept);
                }
                Effect::Halt(_) => self.halted = true,
                Effect::Audit { .. }
                | Effect::ServePart { .. }
                | Effect::Install(_)
                | Effect::Reply { .. }
                | Effect::Busy { .. }
                | Effect::Query(_)
                | Effect::AnswerRead { .. }
                | Effect::Report(_) => {}
            }
        }
    }

    /// Whatever it says is held against what it said before.
    fn leaves(&mut self, message: PeerMessage) {
        match &message {
            PeerMessage::Proposal(it, _) => self.says(it),
            PeerMessage::Prepare(it, _) => self.says(it),
            PeerMessage::Commit(it) => {
                self.says(it);
                self.holds_what_it_commits_to(it);
            }
            PeerMessage::Checkpoint(it) => self.says(it),
            PeerMessage::ViewChange(it) => {
                self.says(it);
                if let Ok(value) = it.peek() {
                    self.asks(it.claimed_signer(), &value);
                }
            }
            PeerMessage::NewView(it) => self.says(it),
            _ => {}
        }
        self.sent.push(message);
    }

    fn asks(&mut self, replica: ReplicaId, value: &ViewChange) {
        if self.asked.get(&replica).is_none_or(|before| before.view < value.view) {
            self.asked.insert(replica, value.clone());
        }
    }

    /// VC4: when nothing is under way any more, it has opened the view that it asks for and is to lead, if there is a
    /// quorum that shows nothing above its checkpoint: no body can be missing then.
    fn opens_its_view(&self) {
        let standing = self.core.standing();
        let leads = |view: &View| self.configuration.primary(*view) == ME && standing.recovering.is_none();
        let Some(view) = standing.pending.filter(leads) else { return };
        let covered = |it: &ViewChange| {
            it.prepared.iter().all(|certificate| certificate.proposal().sequence <= standing.stable)
        };
        let asking = self.asked.values().filter(|it| it.view == view && covered(it)).count();
        let enough = self.configuration.quorum().reached(asking);
        assert!(self.halted || !enough, "{asking} ask for view {view}, and it does not open it");
    }

    /// D1: a COMMIT stands for a certificate that is on disk, with its body.
    fn holds_what_it_commits_to(&self, signed: &Signed<Commit>) {
        let Ok(Commit { view, sequence, digest }) = signed.peek() else { return };
        let certified = Prepare { view, sequence, digest };
        let (mut certificate, mut body) = (false, digest == Body::null_digest());
        for record in self.disk.records.values() {
            match record {
                Record::Prepared(it) => certificate |= it.prepares.statement == certified,
                Record::Body(at, it) => body |= *at == sequence && it.digest() == digest,
                _ => {}
            }
        }
        assert!(
            certificate && body,
            "it commits to {sequence} in view {view}: certificate {certificate}, body {body}"
        );
    }

    fn says<T: Exclusive>(&mut self, signed: &Signed<T>) {
        if signed.claimed_signer() != ME {
            return;
        }
        let value = signed.clone().verify(&self.configuration).expect("what it signs, others accept");
        let (view, sequence) = value.value().place();
        let before = self.said.entry((T::KIND, view, sequence)).or_insert_with(|| signed.payload().clone());
        assert_eq!(
            before,
            signed.payload(),
            "it contradicts itself: kind {}, view {view}, sequence {sequence}",
            T::KIND
        );
    }
}

fn boot(
    configuration: &Arc<Configuration>,
    disk: &Disk,
    clock: Duration,
    effects: &mut Effects,
) -> Result<Replica, Unreadable> {
    let signer = Arc::new(replica_key(ME));
    Replica::start(Arc::clone(configuration), ME, signer, disk.left_behind(), now(clock), effects)
}

fn now(clock: Duration) -> Now {
    Now { instant: Instant::after_start(clock), wall: Timestamp(clock.as_nanos() as u64) }
}

/// Stands for the Merkle root, which needs chunks of a service too.
fn root(ledger: &[Bytes]) -> Digest {
    let hasher = Hasher::new(Domain::MerkleRoot);
    ledger.iter().fold(hasher, |hasher, chunk| hasher.sized(chunk)).finish()
}
