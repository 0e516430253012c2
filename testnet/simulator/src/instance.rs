//! One running replica: the core, its service, its disk, and perhaps a strategy.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use pbft_byzantine::Strategy;
use pbft_crypto::Digest;
use pbft_messages::{Configuration, RecoveryNonce, ReplicaId, Sequence};
use pbft_protocol::{
    Effects, Execution, Input, Instant, LeftBehind, Now, Replica, Timer, initial_records, latest_snapshot,
    ledger_chunks, recovery_records,
};
use pbft_service::{Context, Service};

use crate::clock::WallClock;
use crate::disk::Disk;
use crate::settings::replica_key;

pub(crate) struct Instance {
    pub(crate) id: ReplicaId,
    pub(crate) disk: Disk,
    /// For each step that it took, how many writes were not synced then.
    pub(crate) steps: Vec<usize>,
    pub(crate) strategy: Option<Box<dyn Strategy>>,
    pub(crate) clock: WallClock,
    new_service: fn() -> Box<dyn Service>,
    /// `None` while it is down.
    pub(crate) running: Option<Running>,
    /// Grows with each start, so that what belongs to an earlier run is recognized.
    pub(crate) run: u64,
    /// Whether it ever had a strategy: from then on it is not held to the invariants.
    pub(crate) malicious: bool,
}

pub(crate) struct Running {
    pub(crate) core: Replica,
    pub(crate) service: Box<dyn Service>,
    pub(crate) timers: BTreeMap<Timer, Instant>,
    /// The roots that were asked for.
    pub(crate) audits: VecDeque<(Sequence, Digest)>,
}

impl Instance {
    pub(crate) fn new(id: ReplicaId, new_service: fn() -> Box<dyn Service>) -> Self {
        let disk = Disk::new(initial_records());
        Self {
            id,
            disk,
            steps: Vec::new(),
            strategy: None,
            clock: WallClock::default(),
            new_service,
            running: None,
            run: 0,
            malicious: false,
        }
    }

    /// Takes its disk away, and gives it one that is made to recover.
    pub(crate) fn wipe(&mut self, nonce: RecoveryNonce) {
        self.running = None;
        self.disk = Disk::new(recovery_records(nonce));
    }

    /// Starts it from its disk.
    pub(crate) fn start(&mut self, configuration: &Arc<Configuration>, now: Now) -> Effects {
        let mut service = (self.new_service)();
        let records = self.disk.records();
        let mut ledger = Vec::new();
        if let Some((sequence, root)) = latest_snapshot(&records) {
            let chunks = self.disk.archive.load(sequence, root).expect("a recorded snapshot is on disk");
            ledger = restore(&mut *service, chunks);
        }
        let mut effects = Effects::new();
        let signer = Arc::new(replica_key(self.id));
        let left = LeftBehind { records, ledger, next_deadline: service.next_deadline() };
        let core = Replica::start(Arc::clone(configuration), self.id, signer, left, now, &mut effects)
            .expect("a disk that was written by a replica is readable");
        self.run += 1;
        self.running = Some(Running { core, service, timers: BTreeMap::new(), audits: VecDeque::new() });
        self.outgoing(now, effects)
    }

    pub(crate) fn handle(&mut self, now: Now, input: Input) -> Effects {
        let Some(running) = &mut self.running else { return Effects::new() };
        let mut effects = Effects::new();
        let mut heard = VecDeque::new();
        match &mut self.strategy {
            Some(strategy) => strategy.hear(now, input, &mut heard),
            None => heard.push_back(input),
        }
        heard.into_iter().for_each(|input| running.core.handle(now, input, &mut effects));
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
        Input::Installed { sequence, ledger, next_deadline: self.service.next_deadline() }
    }

    /// The whole state as chunks.
    pub(crate) fn chunks(&mut self, ledger: Vec<Bytes>) -> Vec<Bytes> {
        ledger.into_iter().chain(self.service.snapshot().chunks()).collect()
    }
}

/// Lets the service restore from its part of a snapshot; gives the replica's own part.
fn restore(service: &mut dyn Service, mut chunks: Vec<Bytes>) -> Vec<Bytes> {
    let count = ledger_chunks(&chunks[0]).expect("a proven snapshot is readable");
    service.restore(&mut chunks.drain(count..)).expect("a proven snapshot is readable");
    chunks
}
