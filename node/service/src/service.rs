use std::sync::Arc;

use bytes::Bytes;

use pbft_messages::{ClientId, Sequence, SessionId, Timestamp};

use crate::{RestoreError, Snapshot};

/// A deterministic state machine: the application that the cluster replicates.
///
/// Every replica holds one, starts it in the same state and feeds it the same operations in the same order. The
/// cluster's promise, that a client gets the answer of a single never-failing server, rests on the service
/// behaving the same everywhere. What follows is therefore a contract.
///
/// # Determinism
/// Results, events, the next deadline and the snapshot's chunks must depend on nothing but the state at the start
/// and the calls since then. In particular a service must not
/// - read a clock: the time to use is the one given with the batch, which all replicas agree on;
/// - draw random numbers, unless they derive from what was ordered (the sequence, the operation);
/// - iterate over a `HashMap` or `HashSet`, whose order differs between processes: use a `BTreeMap`, or an
///   `imbl::OrdMap`, which also makes snapshots cheap;
/// - compute with floats, whose results may differ between processors and compilers;
/// - look at addresses, thread ids, environment variables, files or the network;
/// - put texts into results that a library made up (`error.to_string()`): another version may word them
///   differently, and replicas are not upgraded at one instant.
///
/// Parameters given at construction belong to the state: they must be equal at all replicas, and should be part
/// of the snapshot so that a wrong one is found out by [`Service::restore`].
///
/// # Order of calls
/// One thread makes all calls that take `&mut self`, in the order of the sequence. For each batch there is one
/// [`Service::begin_batch`], then one [`Service::execute`] for each operation of it. Sequences rise by one a
/// batch, and after [`Service::restore`] go on with the one after the snapshot's.
/// A request is executed once, however often its client sent it: the caller filters repetitions out.
/// [`Service::reader`], [`Service::next_deadline`] and [`Service::snapshot`] are called between batches only, so
/// they never see half a batch. A replica that restarts builds the service anew, restores it from its last stable
/// snapshot and executes again what was committed since; so nothing outside of the state may depend on an
/// operation being executed only once in the life of a machine.
///
/// # What may fail
/// Nothing but [`Service::restore`]. An operation that makes no sense, is not permitted or comes at the wrong time
/// is answered with a *result* that says so, the same at all replicas. Operations come from clients, who may send
/// any bytes: a panic on one of them would stop every replica at the same place, again after each restart. The
/// same goes for results: bound their size (the built-in services stay within 1 MiB), since a result that exceeds
/// what a frame may carry can't be sent.
///
/// # Example
/// ```
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use pbft_service::{Context, Output, Reader, RestoreError, Service, Snapshot, WholeSnapshot};
///
/// /// Adds the bytes of every operation up.
/// #[derive(Clone)]
/// struct Sum(u64);
///
/// impl Service for Sum {
///     fn execute(&mut self, _: &Context, operation: &[u8]) -> Output {
///         self.0 = operation.iter().fold(self.0, |sum, byte| sum.wrapping_add(u64::from(*byte)));
///         self.query(&[]).into()
///     }
///     fn reader(&self) -> Arc<dyn Reader> {
///         Arc::new(self.clone())
///     }
///     fn snapshot(&mut self) -> Box<dyn Snapshot> {
///         Box::new(WholeSnapshot::new(self.query(&[])))
///     }
///     fn restore(&mut self, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), RestoreError> {
///         let bytes = WholeSnapshot::collect(chunks, 8)?;
///         let sum = bytes.as_slice().try_into().map_err(|_| RestoreError::Incomplete)?;
///         self.0 = u64::from_le_bytes(sum);
///         Ok(())
///     }
/// }
///
/// impl Reader for Sum {
///     fn query(&self, _: &[u8]) -> Bytes {
///         Bytes::copy_from_slice(&self.0.to_le_bytes())
///     }
/// }
/// ```
pub trait Service: Send + 'static {
    /// Begins the batch at `sequence`. Called once before the operations of each batch, also for a batch without
    /// operations: it is the place to expire what was due.
    ///
    /// `time` is the batch's agreed time. It rises strictly from one timed batch to the next; `None` means a null
    /// batch, which fills a gap after a change of view and has neither a time nor operations (N6).
    fn begin_batch(&mut self, sequence: Sequence, time: Option<Timestamp>) {
        let _ = (sequence, time);
    }

    /// Executes one ordered operation. Never panics; an operation that can't be done has a result that says so.
    fn execute(&mut self, context: &Context, operation: &[u8]) -> Output;

    /// Tells whether anybody wants events; until it is called, somebody may. What nobody wants may be left out of
    /// [`Output::events`].
    fn watch(&mut self, watched: bool) {
        let _ = watched;
    }

    /// The state as it is now, for unordered reads, in (nearly) no time: executing stands still meanwhile.
    ///
    /// It is asked on other threads while this service executes further, and must not change thereby: share the state
    /// as for [`Service::snapshot`]. It is kept for as long as somebody reads, and until the next batch at most
    /// otherwise, so that old states do not fill the memory.
    fn reader(&self) -> Arc<dyn Reader>;

    /// When the service next needs a batch to be executed, even if no client sends anything: a lease runs out, a
    /// timer fires. `None`, the default, means never.
    ///
    /// An idle primary proposes an empty timed batch once its clock reaches this time, and
    /// [`Service::begin_batch`] sees it. Until then the service must not act on time passing. A deadline that was
    /// dealt with must go away, or the cluster goes on proposing empty batches.
    fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Takes a snapshot of the whole state, in (nearly) no time: executing stands still meanwhile.
    ///
    /// Turning the state into bytes is left to the [`Snapshot`], on another thread, while this service executes
    /// further; the snapshot must not change thereby. Normally each one is asked for its leaves, in the order in
    /// which they were taken, so what changed from one to the next can be remembered here; but one may as well be
    /// dropped unasked. Persistent collections such as `imbl::OrdMap` make that
    /// easy, their `clone` shares everything until one side is written to. A service with a small state may just
    /// serialize it here and return a [`WholeSnapshot`](crate::WholeSnapshot).
    fn snapshot(&mut self) -> Box<dyn Snapshot>;

    /// Replaces the whole state with that of a snapshot, made by any replica. Afterwards this service behaves,
    /// and is snapshotted, exactly like the one the snapshot was taken of.
    ///
    /// The chunks come in order and were checked against a root that a quorum signed, so damage means a mistake
    /// in the program or in its configuration; it must be noticed nevertheless.
    ///
    /// # Errors
    /// [`RestoreError`] if the chunks make no valid state; the old state is then untouched.
    fn restore(&mut self, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), RestoreError>;
}

/// A state that can be asked, on any thread, while the service goes on; from [`Service::reader`].
pub trait Reader: Send + Sync {
    /// Answers an operation that only reads, without ordering it. One that would write gets a result that says so.
    ///
    /// The client accepts the answer when a quorum of replicas gives the same bytes (N5), so it must depend on the
    /// state alone; and it should tell no more than what was asked for, or replicas that differ in something else by a
    /// batch differ in their answers. A slow one holds up other reads, and nothing else: bound its work. The rest of
    /// the contract holds for it too: it never panics, and bounds the size of what it answers.
    fn query(&self, operation: &[u8]) -> Bytes;
}

/// Where an operation stands in the order, and whose it is. The same at all replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The sequence of the operation's batch; all operations of a batch share it.
    pub sequence: Sequence,
    /// The time of the operation's batch, as [`Service::begin_batch`] was told it.
    pub time: Timestamp,
    /// The client whose signature the operation bears.
    pub client: ClientId,
    /// The client's session: what belongs to a session may end with it.
    pub session: SessionId,
}

/// What executing an operation gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The answer for the client.
    pub result: Bytes,
    /// What happened, for those who watch, in the order in which it happened.
    pub events: Vec<Event>,
}

impl From<Bytes> for Output {
    fn from(result: Bytes) -> Self {
        Self { result, events: Vec::new() }
    }
}

impl From<Vec<u8>> for Output {
    fn from(result: Vec<u8>) -> Self {
        Bytes::from(result).into()
    }
}

/// Something that a watching client may want to be told. Like results, events are the same at all replicas, so
/// that a watcher can believe what f + 1 of them say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about; watchers choose topics by equality or by prefix. The key-value store uses the key.
    pub topic: Bytes,
    /// What happened, in the service's own encoding.
    pub content: Bytes,
}
