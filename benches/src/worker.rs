//! One connection's closed loop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pbft_client::{Done, KvClient, KvError};
use pbft_service::kv::KeyValue;

use crate::journal::{Journal, Write};
use crate::order::Order;
use crate::outcome::Failed;
use crate::settings::{Extent, Settings};
use crate::tally::{Kind, Tally};
use crate::verdict::Violation;
use crate::workload::{Author, Choice, Mix, Values, key};

/// How long a worker waits after a request that surely had no effect, so that it does not spin on an error that comes
/// at once.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// What all workers of a run share.
pub(crate) struct Shared {
    pub(crate) order: Arc<Order>,
    pub(crate) values: Values,
    /// Requests that are sent from then on count.
    pub(crate) measured_from: Instant,
    /// No request is sent from then on; `None` if their number is what ends the load.
    pub(crate) ends: Option<Instant>,
    /// How many requests may still be sent, of those that count.
    remaining: AtomicU64,
    /// Set when the load is to end early.
    pub(crate) stop: AtomicBool,
}

/// One connection: a session, and what it has measured and learned.
pub(crate) struct Worker {
    number: usize,
    shared: Arc<Shared>,
    store: KvClient,
    mix: Mix,
    /// Looked at by whoever shows the progress.
    tally: Arc<Mutex<Tally>>,
    writes: u32,
    journal: Journal,
    /// When the last counted answer came.
    last_answer: Option<Instant>,
    /// The request on its way, and whether it counts.
    on_its_way: Option<(Request, bool)>,
    session_over: bool,
}

/// What is left of a worker.
pub(crate) struct Finished {
    pub(crate) journal: Journal,
    pub(crate) last_answer: Option<Instant>,
    /// Whether the worker ended early, since its session was of no more use.
    pub(crate) session_over: bool,
}

#[derive(Clone, Copy)]
enum Request {
    Read { key: u32 },
    Write { key: u32, number: u64 },
}

impl Shared {
    /// A load that begins now.
    pub(crate) fn new(settings: &Settings, values: Values, order: Arc<Order>) -> Self {
        let measured_from = Instant::now() + settings.warmup;
        let (ends, remaining) = match settings.extent {
            Extent::Lasts(duration) => (Some(measured_from + duration), u64::MAX),
            Extent::Requests(count) => (None, count),
        };
        let remaining = AtomicU64::new(remaining);
        Self { order, values, measured_from, ends, remaining, stop: AtomicBool::new(false) }
    }

    /// Whether a request may be sent now, and if so, whether it counts.
    fn admit(&self) -> Option<bool> {
        let now = Instant::now();
        if self.stop.load(Ordering::Relaxed) || self.ends.is_some_and(|ends| now >= ends) {
            return None;
        }
        if now < self.measured_from {
            return Some(false);
        }
        let less = |remaining: u64| remaining.checked_sub(1);
        self.remaining.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok().then_some(true)
    }
}

impl Worker {
    pub(crate) fn new(number: usize, settings: &Settings, shared: Arc<Shared>, store: KvClient) -> Self {
        Self {
            number,
            shared,
            store,
            mix: Mix::new(settings, number),
            tally: Arc::default(),
            writes: 0,
            journal: Journal::default(),
            last_answer: None,
            on_its_way: None,
            session_over: false,
        }
    }

    pub(crate) fn tally(&self) -> Arc<Mutex<Tally>> {
        self.tally.clone()
    }

    /// Sends one request after the other until the load ends. The future may be dropped at any time: call
    /// [`Worker::finish`] then, too.
    pub(crate) async fn run(&mut self) {
        while let Some(counts) = self.shared.admit() {
            let request = match self.mix.choose() {
                Choice::Read(key) => Request::Read { key },
                Choice::Write(key) => {
                    let number = Values::number(self.number, self.writes);
                    self.writes += 1;
                    Request::Write { key, number }
                }
            };
            self.on_its_way = Some((request, counts));
            let newest_before = self.shared.order.newest();
            let (started, answer) = self.ask(request).await;
            let ended = Instant::now();
            self.on_its_way = None;
            match answer {
                Ok(done) => {
                    self.on_answer(request, newest_before, &done);
                    if counts {
                        self.count(request, ended - started, &done);
                        self.last_answer = Some(ended);
                    }
                }
                Err(error) => {
                    let failed = Failed::from(&error);
                    self.on_failure(request, counts, failed);
                    if failed.over {
                        self.session_over = true;
                        return;
                    }
                    if !failed.unknown {
                        tokio::time::sleep(AFTER_FAILURE).await;
                    }
                }
            }
        }
    }

    /// What is left. A request that is still on its way then has an unknown outcome.
    pub(crate) fn finish(mut self) -> Finished {
        if let Some((request, counts)) = self.on_its_way.take() {
            self.on_failure(request, counts, Failed { name: "abandoned", unknown: true, over: true });
        }
        Finished { journal: self.journal, last_answer: self.last_answer, session_over: self.session_over }
    }

    /// Sends a request and waits for the answer; tells also when it was sent.
    async fn ask(&self, request: Request) -> (Instant, Result<Done<Option<KeyValue>>, KvError>) {
        // The value is made before the clock starts: a client that has something to write has it already.
        match request {
            Request::Read { key: number } => {
                let key = key(number);
                let started = Instant::now();
                (started, self.store.get(key).await)
            }
            Request::Write { key: place, number } => {
                let (key, value) = (key(place), self.shared.values.value(number));
                let started = Instant::now();
                let put = self.store.put(key, value).await;
                (
                    started,
                    put.map(|Done { sequence, revision, .. }| Done { sequence, revision, answer: None }),
                )
            }
        }
    }

    /// Learns from an answer, whether it counts or not.
    fn on_answer(&mut self, request: Request, newest_before: u64, done: &Done<Option<KeyValue>>) {
        let Done { sequence, revision, answer } = done;
        self.shared.order.answered(request.kind(), newest_before, *revision);
        match request {
            Request::Read { key } => {
                let author = answer.as_ref().map(|entry| self.shared.values.author(&entry.value));
                if author == Some(Author::Altered) {
                    self.shared.order.report(Violation::Altered { key });
                }
            }
            Request::Write { key, number } => {
                self.journal.acknowledge(key, Write { number, revision: *revision, sequence: *sequence });
            }
        }
    }

    fn count(&self, request: Request, latency: Duration, done: &Done<Option<KeyValue>>) {
        let mut tally = locked(&self.tally);
        tally.series_mut(request.kind()).record(latency);
        if matches!(request, Request::Read { .. }) && done.answer.is_none() {
            tally.not_found += 1;
        }
    }

    fn on_failure(&mut self, request: Request, counts: bool, failed: Failed) {
        if let Request::Write { key, number } = request
            && failed.unknown
        {
            self.journal.doubt(key, number);
        }
        if counts {
            let mut tally = locked(&self.tally);
            let series = tally.series_mut(request.kind());
            *if failed.unknown { &mut series.unknown } else { &mut series.failed } += 1;
            *tally.errors.entry(failed.name).or_default() += 1;
        }
    }
}

impl Request {
    fn kind(self) -> Kind {
        match self {
            Self::Read { .. } => Kind::Read,
            Self::Write { .. } => Kind::Write,
        }
    }
}

/// Nothing under this lock panics half-way.
pub(crate) fn locked(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
