//! One running replica: the core, its service, its disk, and perhaps a strategy.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use pbft_byzantine::Strategy;
use pbft_crypto::{Digest, Signer};
use pbft_messages::{Configuration, RecoveryNonce, ReplicaId, Sequence};
use pbft_protocol::{
    Effects, Execution, Input, Instant, LeftBehind, Now, Replica, Timer, initial_records, latest_snapshot,
    ledger_chunks, recovery_records,
};
use pbft_service::{Context, Service};

use crate::archive::State;
use crate::clock::{Pace, WallClock};
use crate::disk::Disk;

/// One of the processes that run: the replicas' own come first, in order, and then the twins, in the order in which the
/// settings name them. It is shown as a replica is: the first twin of four replicas is `r4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub usize);

impl From<ReplicaId> for InstanceId {
    fn from(replica: ReplicaId) -> Self {
        Self(replica.index())
    }
}

/// Whether it is the replica's own instance.
impl PartialEq<ReplicaId> for InstanceId {
    fn eq(&self, replica: &ReplicaId) -> bool {
        *self == Self::from(*replica)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "r{}", self.0)
    }
}

pub(crate) struct Instance {
    /// Whose name it goes by.
    pub(crate) replica: ReplicaId,
    signer: Arc<dyn Signer>,
    pub(crate) disk: Disk,
    /// For each step that it took, how many writes were not synced then.
    pub(crate) steps: Vec<usize>,
    pub(crate) strategy: Option<Box<dyn Strategy>>,
    pub(crate) clock: WallClock,
    pub(crate) pace: Pace,
    /// How long its processor takes for each input, and when it is done with the last one.
    pub(crate) starved: Option<(Duration, Duration)>,
    /// An earlier state of its disk.
    pub(crate) saved: Option<Disk>,
    new_service: fn() -> Box<dyn Service>,
    /// `None` while it is down.
    pub(crate) running: Option<Running>,
    /// Grows with each start and stop, so that what belongs to an earlier run is recognized.
    pub(crate) run: u64,
    /// Whether it ever had a strategy: from then on it is not held to the invariants.
    pub(crate) malicious: bool,
}

pub(crate) struct Running {
    pub(crate) core: Replica,
    pub(crate) service: Box<dyn Service>,
    /// The sequence that the service's state is of.
    pub(crate) through: Sequence,
    pub(crate) timers: BTreeMap<Timer, Instant>,
    /// Since when it asks for the view that it asks for.
    pub(crate) asks_since: Option<Duration>,
    /// The snapshots in the making, oldest first: gone with the run.
    pub(crate) snapshots: VecDeque<(Sequence, State)>,
    /// When the last of them is on the disk: none is before an earlier one.
    pub(crate) snapshots_until: Duration,
    /// The roots that were asked for.
    pub(crate) audits: VecDeque<(Sequence, Digest)>,
    /// Whether it was told to stop: it waits for its writes, and listens to nobody any more.
    pub(crate) is_stopping: bool,
}

impl Instance {
    pub(crate) fn new(
        replica: ReplicaId,
        signer: Arc<dyn Signer>,
        new_service: fn() -> Box<dyn Service>,
    ) -> Self {
        let disk = Disk::new(initial_records());
        Self {
            replica,
            signer,
            disk,
            steps: Vec::new(),
            strategy: None,
            clock: WallClock::default(),
            pace: Pace::default(),
            starved: None,
            saved: None,
            new_service,
            running: None,
            run: 0,
            malicious: false,
        }
    }

    /// Ends its run: its memory is gone, and what its disk had not synced.
    pub(crate) fn stop(&mut self) {
        self.running = None;
        self.disk.crash();
        self.run += 1;
    }

    /// Takes its disk away, and gives it one that is made to recover.
    pub(crate) fn wipe(&mut self, nonce: RecoveryNonce) {
        self.stop();
        self.disk = Disk::new(recovery_records(nonce));
    }

    /// Starts it from its disk.
    pub(crate) fn start(&mut self, configuration: &Arc<Configuration>, now: Now) -> Effects {
        let mut service = (self.new_service)();
        let records = self.disk.records();
        let (mut ledger, mut through) = (Vec::new(), Sequence(0));
        if let Some((sequence, root)) = latest_snapshot(&records) {
            let chunks = self.disk.archive.load(sequence, root).expect("a recorded snapshot is on disk");
            (ledger, through) = (restore(&mut *service, chunks), sequence);
        }
        let mut effects = Effects::new();
        let signer = Arc::clone(&self.signer);
        let left = LeftBehind { records, ledger, next_deadline: service.next_deadline() };
        let core = Replica::start(Arc::clone(configuration), self.replica, signer, left, now, &mut effects)
            .expect("a disk that was written by a replica is readable");
        self.run += 1;
        self.running = Some(Running {
            core,
            service,
            through,
            timers: BTreeMap::new(),
            asks_since: None,
            snapshots: VecDeque::new(),
            snapshots_until: Duration::ZERO,
            audits: VecDeque::new(),
            is_stopping: false,
        });
        self.outgoing(now, effects)
    }

    pub(crate) fn handle(&mut self, now: Now, input: Input) -> Effects {
        let Some(running) = &mut self.running else { return Effects::new() };
        running.is_stopping |= matches!(input, Input::Shutdown);
        let mut effects = Effects::new();
        match &mut self.strategy {
            None => running.core.handle(now, input, &mut effects),
            Some(strategy) => {
                let mut heard = VecDeque::new();
                strategy.hear(now, input, &mut heard);
                heard.into_iter().for_each(|input| running.core.handle(now, input, &mut effects));
            }
        }
        self.outgoing(now, effects)
    }

    /// Lets the strategy have its way with effects.
    pub(crate) fn outgoing(&mut self, now: Now, effects: Effects) -> Effects {
        match &mut self.strategy {
            Some(strategy) => strategy.effects(now, effects),
            None => effects,
        }
    }
}

impl Running {
    /// Lets the service execute a batch.
    pub(crate) fn execute(&mut self, execution: &Execution) -> Input {
        let Execution { sequence, time, operations } = execution;
        self.through = *sequence;
        self.service.begin_batch(*sequence, *time);
        let results = operations
            .iter()
            .map(|it| {
                let time = time.unwrap_or_default();
                let context = Context { sequence: *sequence, time, client: it.client, session: it.session };
                self.service.execute(&context, &it.operation).result
            })
            .collect();
        Input::Executed { sequence: *sequence, results, next_deadline: self.service.next_deadline() }
    }

    /// Installs a fetched snapshot.
    pub(crate) fn install(&mut self, sequence: Sequence, chunks: Vec<Bytes>) -> Input {
        let ledger = restore(&mut *self.service, chunks);
        self.through = sequence;
        Input::Installed { sequence, ledger, next_deadline: self.service.next_deadline() }
    }

    /// The whole state.
    pub(crate) fn state(&mut self, ledger: Vec<Bytes>) -> State {
        State { ledger, service: self.service.snapshot() }
    }
}

/// Lets the service restore from its part of a snapshot; gives the replica's own part.
fn restore(service: &mut dyn Service, mut chunks: Vec<Bytes>) -> Vec<Bytes> {
    let count = ledger_chunks(&chunks[0]).expect("a proven snapshot is readable");
    service.restore(&mut chunks.drain(count..)).expect("a proven snapshot is readable");
    chunks
}
