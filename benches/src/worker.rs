//! One of those who send: each connection has as many as the bundles that it has under way at a time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use pbft_client::{Answered, Client, ClientError, Executed, KvError, ReadPath};

use crate::arrivals::{Gate, Schedule};
use crate::journal::Journal;
use crate::keys::Keys;
use crate::ledger::{Arrived, Ledger};
use crate::order::Order;
use crate::outcome::Failed;
use crate::request::Request;
use crate::settings::{Extent, Settings};
use crate::tally::Kind;
use crate::values::Values;
use crate::verdict::Violation;
use crate::workload::{Choice, Mix};

/// How long a worker waits after a request that surely had no effect, so that it does not spin on an error that comes
/// at once.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// From when on a request of an open loop is late: all workers were busy when it was due, or the machine was.
const LATE: Duration = Duration::from_millis(1);

/// How long after the end an open loop still sends what was due before: a thread that is slow to wake up must not make
/// it look as if the cluster had not kept up.
const TAIL: Duration = Duration::from_millis(20);

/// What all workers of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    order: Arc<Order>,
    values: Values,
    keys: Arc<Keys>,
    bundle: usize,
    read_path: ReadPath,
    ledger: Mutex<Ledger>,
    /// When an open loop's requests are due; `None` for a closed one.
    pub(crate) gate: Option<Gate>,
    /// Requests that are sent from then on count, or that are due from then on.
    pub(crate) measured_from: Instant,
    /// No request is sent from then on; `None` if their number is what ends the load.
    ends: Option<Instant>,
    /// How many requests may still be sent, of those that count.
    remaining: AtomicU64,
    /// The number of the next write.
    writes: AtomicU64,
    /// How many requests were sent after they were due.
    pub(crate) late: AtomicU64,
    /// How many requests were due before the end and turned away after it.
    pub(crate) shed: AtomicU64,
    /// Set when the load is to end early.
    pub(crate) stop: AtomicBool,
}

/// One who sends a bundle, waits for the answers and sends the next.
pub(crate) struct Worker {
    connection: usize,
    shared: Arc<Shared>,
    client: Client,
    mix: Mix,
    /// The bundle on its way, and whether it counts.
    on_its_way: (Vec<Request>, bool),
}

/// The newest revisions that were known before a bundle was sent: none of its answers may be older.
#[derive(Clone, Copy)]
struct Known {
    /// The store's.
    store: u64,
    /// Of an unordered read, whose answer tells of no other keys: that of the key; 0 if there is none.
    key: u64,
}

/// A bundle that may be sent.
struct Turn {
    /// How many requests.
    size: usize,
    counts: bool,
    /// From when on its latency runs.
    from: Instant,
}

impl Shared {
    /// A load that begins now. `journal` holds the `written` writes of before.
    pub(crate) fn new(
        settings: &Settings,
        values: Values,
        order: Arc<Order>,
        journal: Journal,
        written: u64,
    ) -> Self {
        let begins = Instant::now();
        let measured_from = begins + settings.warmup;
        let gate = Schedule::new(settings, begins).map(Gate::new);
        let tail = if gate.is_some() { TAIL } else { Duration::ZERO };
        let remaining = match settings.extent {
            Extent::Lasts(_) => u64::MAX,
            Extent::Requests(count) => count,
        };
        Self {
            order,
            values,
            keys: Arc::new(Keys::new(settings.keys, settings.workload.distribution)),
            bundle: settings.bundle,
            read_path: settings.read_path,
            ledger: Mutex::new(Ledger::new(settings.extent, journal, measured_from)),
            gate,
            measured_from,
            ends: settings.extent.end(measured_from).map(|end| end + tail),
            remaining: AtomicU64::new(remaining),
            writes: AtomicU64::new(written),
            late: AtomicU64::default(),
            shed: AtomicU64::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// What is written down. Nothing under the lock panics half-way.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that was written down, when all workers are gone.
    pub(crate) fn into_ledger(self) -> Ledger {
        self.ledger.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a bundle goes: unordered, if that is asked for and it is one read.
    fn path(&self, bundle: &[Request]) -> ReadPath {
        match bundle {
            [request] if request.kind() == Kind::Read => self.read_path,
            _ => ReadPath::Ordered,
        }
    }

    /// Waits until a bundle may be sent; `None` if no more are.
    async fn turn(&self) -> Option<Turn> {
        let due = match &self.gate {
            Some(gate) => Some(gate.next().await?),
            None => None,
        };
        let (now, bundle) = (Instant::now(), self.bundle as u64);
        let from = due.unwrap_or(now);
        let counts = from >= self.measured_from;
        if self.stop.load(Ordering::Relaxed) || self.ends.is_some_and(|ends| now >= ends) {
            // Of an interrupted load, what is due later is no arrival.
            if due.is_some_and(|due| counts && due <= now) {
                self.shed.fetch_add(bundle, Ordering::Relaxed);
            }
            return None;
        }
        if !counts {
            return Some(Turn { size: self.bundle, counts, from });
        }
        let less = |remaining: u64| (remaining > 0).then(|| remaining.saturating_sub(bundle));
        let left = self.remaining.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        // It is no more than the bundle, which is a `usize`.
        let size = left.min(bundle) as usize;
        if now - from > LATE {
            self.late.fetch_add(size as u64, Ordering::Relaxed);
        }
        Some(Turn { size, counts, from })
    }
}

impl Worker {
    /// `number` tells it from all other workers, `connection` is whose it is.
    pub(crate) fn new(
        number: usize,
        connection: usize,
        settings: &Settings,
        shared: Arc<Shared>,
        client: Client,
    ) -> Self {
        let mix = Mix::new(settings.seed, number, settings.workload, shared.keys.clone());
        Self { connection, shared, client, mix, on_its_way: (Vec::new(), false) }
    }

    /// Sends one bundle after the other until the load ends. The future may be dropped at any time: call
    /// [`Worker::abandon`] then.
    pub(crate) async fn run(&mut self) {
        while let Some(Turn { size, counts, from }) = self.shared.turn().await {
            let bundle: Vec<_> = (0..size).map(|_| self.next_request()).collect();
            // A client that has something to write has it already: in a closed loop, the clock starts afterwards.
            let operations = bundle.iter().map(|request| request.operation(&self.shared.values)).collect();
            let path = self.shared.path(&bundle);
            let known = Known {
                store: self.shared.order.newest(),
                key: match path {
                    ReadPath::Ordered => 0,
                    ReadPath::Unordered => self.shared.ledger().journal.newest(bundle[0].key()),
                },
            };
            self.on_its_way = (bundle, counts);
            let from = if self.shared.gate.is_some() { from } else { Instant::now() };
            let results = self.ask(operations, path).await;
            match self.settle(results, known, from) {
                Some(failed) if failed.over => return,
                Some(failed) if !failed.unknown => tokio::time::sleep(AFTER_FAILURE).await,
                _ => {}
            }
        }
    }

    /// Sends a bundle; an unordered one is one read.
    async fn ask(&self, operations: Vec<Bytes>, path: ReadPath) -> Vec<Result<Answered, ClientError>> {
        if path == ReadPath::Unordered {
            let mut answers = Vec::with_capacity(operations.len());
            for operation in operations {
                answers.push(self.client.read(operation, path).await);
            }
            return answers;
        }
        let executed = self.client.execute_bundle(operations).await;
        let answered =
            |Executed { sequence, result, .. }| Answered { path: ReadPath::Ordered, sequence, result };
        executed.into_iter().map(|executed| executed.map(answered)).collect()
    }

    /// Gives up what is still on its way, if anything.
    pub(crate) fn abandon(mut self) {
        let (bundle, counts) = std::mem::take(&mut self.on_its_way);
        let failed = Failed { name: "abandoned", unknown: true, over: true };
        let mut ledger = self.shared.ledger();
        bundle.into_iter().for_each(|request| ledger.failed(request, counts, failed, Instant::now()));
    }

    fn next_request(&mut self) -> Request {
        let number = || self.shared.writes.fetch_add(1, Ordering::Relaxed);
        match self.mix.choose() {
            Choice::Read(key) => Request::Read { key },
            Choice::Scan(key, count) => Request::Scan { key, count },
            Choice::Write(key) => Request::Write { key, number: number() },
            Choice::Modify(key) => Request::Modify { key, number: number() },
        }
    }

    /// Learns from the answers to the bundle on its way. Tells the last of those that are none.
    fn settle(
        &mut self,
        results: Vec<Result<Answered, ClientError>>,
        mut known: Known,
        from: Instant,
    ) -> Option<Failed> {
        let (Shared { order, values, keys, .. }, ended) = (&*self.shared, Instant::now());
        let (bundle, counts) = std::mem::take(&mut self.on_its_way);
        let unordered = self.shared.path(&bundle) == ReadPath::Unordered;
        let mut last_failed = None;
        let mut ledger = self.shared.ledger();
        for (request, result) in bundle.into_iter().zip(results) {
            let told = result
                .map_err(KvError::from)
                .and_then(|answered| Ok((request.told(&answered.result, values)?, answered)));
            match told {
                Ok((told, Answered { path, sequence, .. })) => {
                    let newest_before = match path {
                        ReadPath::Ordered => known.store,
                        ReadPath::Unordered => known.key,
                    };
                    order.answered(request.kind(), newest_before, told.revision);
                    // A bundle's requests are executed in their order.
                    known.store = known.store.max(told.revision);
                    if told.altered {
                        order.report(Violation::Altered { key: request.key() });
                    }
                    if request.write().is_some() {
                        keys.written(request.key());
                    }
                    ledger.answered(
                        request,
                        sequence,
                        told,
                        Arrived {
                            counts,
                            fell_back: unordered && path == ReadPath::Ordered,
                            latency: ended - from,
                            at: ended,
                        },
                    );
                }
                Err(error) => {
                    let failed = Failed::from(&error);
                    ledger.failed(request, counts, failed, ended);
                    if failed.over {
                        ledger.sessions_lost.insert(self.connection);
                    }
                    last_failed = Some(failed);
                }
            }
        }
        last_failed
    }
}
