//! The thread that owns the service.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use pbft_messages::Sequence;
use pbft_protocol::{AuditId, Execution, Input, Query};
use pbft_service::{Context, Reader, Service};

use super::reads::{Place, Places, READS, Reads};
use super::snapshots::{Archive, Snapshots, State};
use super::{contained, restore, service};
use crate::RunError;
use crate::inbound::{Event, Inbound};

/// Tasks that wait for the service. The protocol executes one batch at a time, so they are few but for reads, which have
/// [`READS`] places of them at most: the driver, which gives the tasks, never waits for one.
const QUEUE: usize = READS + 256;

enum Task {
    Execute(Execution),
    Snapshot { sequence: Sequence, ledger: Vec<Bytes>, audit: Option<AuditId> },
    Install(Sequence),
    Query(Query, Place),
}

/// The handle of the thread. Tasks are done in the order in which they are given.
pub(crate) struct Executor {
    tasks: SyncSender<Task>,
    thread: JoinHandle<()>,
    places: Places,
    inbound: Inbound,
}

impl Executor {
    /// Starts the thread with a service that stands where the replica's execution does.
    pub(crate) fn start(mut service: Box<dyn Service>, archive: Archive) -> io::Result<Self> {
        // There is nobody yet to whom events could be told.
        service.watch(false);
        let (tasks, queue) = sync_channel(QUEUE);
        let inbound = archive.inbound.clone();
        let snapshots = Snapshots::start(archive.clone())?;
        let reads = Reads::start(inbound.clone())?;
        let thread = thread::Builder::new().name("pbft-execute".into()).spawn(move || {
            let inbound = archive.inbound.clone();
            let worker = Worker { service, archive, snapshots: &snapshots, reads: &reads, reader: None };
            contained("pbft-execute", &inbound, || run(worker, &queue));
            snapshots.stop();
            reads.stop();
        })?;
        Ok(Self { tasks, thread, places: Places::default(), inbound })
    }

    /// [`pbft_protocol::Effect::Execute`].
    pub(crate) fn execute(&self, execution: Execution) {
        self.give(Task::Execute(execution));
    }

    /// [`pbft_protocol::Effect::Snapshot`].
    pub(crate) fn snapshot(&self, sequence: Sequence, ledger: Vec<Bytes>) {
        self.give(Task::Snapshot { sequence, ledger, audit: None });
    }

    /// [`pbft_protocol::Effect::Audit`].
    pub(crate) fn audit(&self, id: AuditId, sequence: Sequence, ledger: Vec<Bytes>) {
        self.give(Task::Snapshot { sequence, ledger, audit: Some(id) });
    }

    /// [`pbft_protocol::Effect::Install`].
    pub(crate) fn install(&self, sequence: Sequence) {
        self.give(Task::Install(sequence));
    }

    /// [`pbft_protocol::Effect::Query`]. Never waits for a place: reads hold nothing up (fault 36).
    pub(crate) fn query(&self, query: Query) {
        match self.places.take(query.client) {
            Some(place) => self.give(Task::Query(query, place)),
            None => self.inbound.event(Event::Effect(query.refused())),
        }
    }

    fn give(&self, task: Task) {
        // The thread ends before its handle only after it has reported a failure, which stops the replica.
        let _ = self.tasks.send(task);
    }

    /// Finishes what waits and ends the threads.
    pub(crate) fn stop(self) {
        drop(self.tasks);
        // A panic of the thread was reported as a failure by the thread itself.
        let _ = self.thread.join();
    }
}

struct Worker<'a> {
    service: Box<dyn Service>,
    archive: Archive,
    snapshots: &'a Snapshots,
    reads: &'a Reads,
    /// The present state, if a read has asked for it. Held no longer, so that the service need not copy what it changes.
    reader: Option<Arc<dyn Reader>>,
}

fn run(mut worker: Worker<'_>, tasks: &Receiver<Task>) {
    for task in tasks {
        let done = match task {
            Task::Execute(execution) => worker.execute(&execution).map(Some),
            Task::Snapshot { sequence, ledger, audit } => {
                worker.snapshot(sequence, ledger, audit).map(|()| None)
            }
            Task::Install(sequence) => worker.install(sequence).map(Some),
            Task::Query(query, place) => worker.query(query, place).map(|()| None),
        };
        match done {
            Ok(Some(input)) => worker.archive.inbound.event(Event::Input(input)),
            Ok(None) => {}
            // The service may be half-way through a batch, so nothing may be asked of it any more.
            Err(error) => return worker.archive.inbound.event(Event::Failed(error)),
        }
    }
}

impl Worker<'_> {
    fn execute(&mut self, execution: &Execution) -> Result<Input, RunError> {
        let Execution { sequence, time, operations } = execution;
        let sequence = *sequence;
        self.reader = None;
        let doing = || format!("executing the batch at sequence {sequence}");
        service(doing, || {
            self.service.begin_batch(sequence, *time);
            // A batch without a time has no operations (N6), so the default is never used.
            let time = time.unwrap_or_default();
            let execute = |operation: &pbft_protocol::Operation| {
                let context =
                    Context { sequence, time, client: operation.client, session: operation.session };
                self.service.execute(&context, &operation.operation).result
            };
            let results = operations.iter().map(execute).collect();
            Input::Executed { sequence, results, next_deadline: self.service.next_deadline() }
        })
    }

    fn snapshot(
        &mut self,
        sequence: Sequence,
        ledger: Vec<Bytes>,
        audit: Option<AuditId>,
    ) -> Result<(), RunError> {
        if let Some(id) = audit.filter(|_| !self.snapshots.is_idle()) {
            // Whoever asked asks again: execution waits for a checkpoint at most, never for a curious operator.
            self.archive.audits.forget(id);
            return Ok(());
        }
        let doing = || format!("taking the snapshot at sequence {sequence}");
        let handle = service(doing, || self.service.snapshot())?;
        self.snapshots.take(State { sequence, ledger, handle, audit });
        Ok(())
    }

    fn query(&mut self, query: Query, place: Place) -> Result<(), RunError> {
        let state = match &self.reader {
            Some(state) => Arc::clone(state),
            None => {
                let doing = || format!("sharing its state after sequence {}", query.sequence);
                Arc::clone(self.reader.insert(service(doing, || self.service.reader())?))
            }
        };
        self.reads.answer(query, state, place);
        Ok(())
    }

    fn install(&mut self, sequence: Sequence) -> Result<Input, RunError> {
        self.archive.chunks.finish(sequence)?;
        self.reader = None;
        let ledger = restore(&mut *self.service, &self.archive.chunks, sequence)?;
        let doing = || format!("telling its next deadline at sequence {sequence}");
        let next_deadline = service(doing, || self.service.next_deadline())?;
        Ok(Input::Installed { sequence, ledger, next_deadline })
    }
}
