//! The handle of a session.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use pbft_crypto::SecretKey;
use pbft_messages::{Configuration, RequestNumber, Sequence, SessionId, Submission, View};

use crate::connector::{ClientSettings, Connector};
use crate::error::{ClientError, Reach};
use crate::links::Links;
use crate::session::{Call, Done, Opening, Standing};

/// A request that was executed, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Where in the total order: the sequence of the batch. Requests of one batch share it.
    pub sequence: Sequence,
    /// The session.
    pub session: SessionId,
    /// The request's number in it. With the session and the client's key it names the request in a replica's log.
    pub number: RequestNumber,
    /// The service's result.
    pub result: Bytes,
}

/// How a read goes. Both ways are linearizable: what is read is no older than anything that anybody was told before the
/// read began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadPath {
    /// As an operation like any other: signed, agreed on, executed in its place in the total order, believed when f+1
    /// replicas say the same. It costs what a write costs.
    ///
    /// The default, for what it costs does not depend on what others do, and its place in the order is exact.
    #[default]
    Ordered,
    /// Every replica answers for itself, from what it has executed; believed when a quorum says the same (N5). It costs
    /// one round trip, no signature and no write to disk, and holds nothing up. Where replicas differ, because what is
    /// read is being written, or where too few answer in time, it is ordered after all, and has cost both.
    Unordered,
}

/// A read that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The way in which the answer came: an unordered read may have been ordered after all.
    pub path: ReadPath,
    /// Ordered: its place in the total order. Unordered: everything up to here shows in the result, and later things
    /// may.
    pub sequence: Sequence,
    /// The service's result.
    pub result: Bytes,
}

/// One session with a cluster. Clones share it; when the last is dropped, its task and its links end.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    timeout: Duration,
}

struct Shared {
    configuration: Arc<Configuration>,
    session: SessionId,
    calls: mpsc::UnboundedSender<Call>,
    standing: watch::Receiver<Standing>,
    /// One permit for each operation that is not answered: the bound of all queues of this session.
    places: Arc<Semaphore>,
}

impl Client {
    /// Opens a session with a cluster.
    ///
    /// A process that opens several should share a [`Connector`]. `identity` must be admitted by the cluster's
    /// configuration, and no other machine with a clock that is ahead should use it.
    ///
    /// # Errors
    /// [`ClientError`]: nothing was executed then.
    pub async fn connect(
        cluster: &Configuration,
        identity: SecretKey,
        settings: ClientSettings,
    ) -> Result<Self, ClientError> {
        Connector::new(cluster, identity, settings)?.open_session().await
    }

    pub(crate) fn new(
        configuration: Arc<Configuration>,
        session: SessionId,
        calls: mpsc::UnboundedSender<Call>,
        standing: watch::Receiver<Standing>,
        settings: &ClientSettings,
    ) -> Self {
        // A submission asks for up to 64 places at once.
        let places = settings.waiting.clamp(Submission::MAXIMUM_REQUESTS, Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(places));
        let shared = Shared { configuration, session, calls, standing, places };
        Self { shared: Arc::new(shared), timeout: settings.timeout }
    }

    /// The same session, with another time-out for calls made through the returned handle.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The session's id.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.shared.session
    }

    /// The cluster.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.shared.configuration
    }

    /// How the links to the replicas are doing.
    #[must_use]
    pub fn links(&self) -> Links {
        self.shared.standing.borrow().links.clone()
    }

    /// The view that f+1 replicas have reached, as far as replies told.
    #[must_use]
    pub fn view(&self) -> View {
        self.shared.standing.borrow().view
    }

    /// Waits until each link is up, or its first attempt has failed.
    pub async fn links_tried(&self) {
        let tried = |standing: &Standing| !standing.links.contains(&crate::LinkState::Connecting);
        // An error means that the task has ended: then nothing more is going to be tried.
        let _ = self.shared.standing.clone().wait_for(tried).await;
    }

    /// Waits until the session is open: for those made by [`Connector::start_session`].
    ///
    /// # Errors
    /// [`ClientError::Unanswered`] or [`ClientError::Unreachable`] when the time is up, the latter also as soon as so
    /// many replicas refuse this client that it can't succeed; [`ClientError::OpeningRefused`].
    pub async fn opened(&self) -> Result<(), ClientError> {
        let mut standing = self.shared.standing.clone();
        let settled = |standing: &Standing| {
            standing.opening != Opening::Waiting || standing.is_hopeless(&self.shared.configuration)
        };
        let started = Instant::now();
        let (opening, waited) = match tokio::time::timeout(self.timeout, standing.wait_for(settled)).await {
            // Nobody wants to read nanoseconds.
            Ok(Ok(standing)) => {
                (standing.opening, Duration::from_millis(started.elapsed().as_millis() as u64))
            }
            Ok(Err(_)) => return Err(ClientError::ShutDown),
            Err(_) => (Opening::Waiting, self.timeout),
        };
        match opening {
            Opening::Done => Ok(()),
            Opening::Refused(refusal) => Err(ClientError::OpeningRefused(refusal)),
            Opening::Waiting => {
                let (reach, standing) = (self.reach(), self.shared.standing.borrow());
                Err(ClientError::not_opened(waited, reach, &standing, &self.shared.configuration))
            }
        }
    }

    /// Has one operation executed. Dropping the future does not take it back.
    ///
    /// # Errors
    /// [`ClientError`]; see [`ClientError::may_have_taken_effect`].
    pub async fn execute(&self, operation: Bytes) -> Result<Executed, ClientError> {
        let mut results = self.execute_bundle(vec![operation]).await;
        results.pop().unwrap_or(Err(ClientError::ShutDown))
    }

    /// Has 1 to 64 operations executed under one signature. They are executed in order, though others may come in
    /// between, and each has a result of its own, in their order.
    ///
    /// Bundles that are under way at one time may be executed in either order.
    pub async fn execute_bundle(&self, operations: Vec<Bytes>) -> Vec<Result<Executed, ClientError>> {
        let done = self.call(operations, ReadPath::Ordered).await;
        let session = self.shared.session;
        let executed = |Done { sequence, number, result }| Executed {
            sequence,
            session,
            // Whatever was executed had been given a number.
            number: number.unwrap_or_default(),
            result,
        };
        done.into_iter().map(|done| done.map(executed)).collect()
    }

    /// Has an operation that only reads answered. An unordered read that falls back is executed like any other
    /// operation, so one that writes must not be given here.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::ReadUnanswered`] when the time of an unordered read is up.
    pub async fn read(&self, operation: Bytes, path: ReadPath) -> Result<Answered, ClientError> {
        let done = self.call(vec![operation], path).await.pop();
        done.unwrap_or(Err(ClientError::ShutDown)).map(|Done { sequence, number, result }| Answered {
            path: if number.is_some() { ReadPath::Ordered } else { ReadPath::Unordered },
            sequence,
            result,
        })
    }

    async fn call(&self, operations: Vec<Bytes>, path: ReadPath) -> Vec<Result<Done, ClientError>> {
        let (count, started) = (operations.len(), Instant::now());
        let all = |error: ClientError| vec![Err(error); count];
        let deadline = started + self.timeout;
        // At most 64 of them can succeed; the core refuses more, so they need no places.
        let places = count.min(Submission::MAXIMUM_REQUESTS) as u32;
        let places = tokio::time::timeout_at(deadline, self.shared.places.clone().acquire_many_owned(places));
        let Ok(Ok(places)) = places.await else {
            return all(ClientError::NotSent { waited: self.timeout, reach: self.reach() });
        };
        let (answer, answered) = oneshot::channel();
        let call = Call { operations, path, deadline, waited: self.timeout, answer, _places: places };
        if self.shared.calls.send(call).is_err() {
            return all(ClientError::ShutDown);
        }
        answered.await.unwrap_or_else(|_| all(ClientError::ShutDown))
    }

    /// Has any number of operations executed, many at a time, gathered into bundles. Results are in the order of
    /// the operations; execution need not be. The time-out is each bundle's.
    pub async fn execute_all(&self, operations: Vec<Bytes>) -> Vec<Result<Executed, ClientError>> {
        let mut results = Vec::with_capacity(operations.len());
        let mut under_way = VecDeque::new();
        for bundle in self.bundles(operations) {
            if under_way.len() == self.bundles_at_once() {
                results.extend(joined(under_way.pop_front()).await);
            }
            let client = self.clone();
            let count = bundle.len();
            under_way.push_back((count, tokio::spawn(async move { client.execute_bundle(bundle).await })));
        }
        while let Some(bundle) = under_way.pop_front() {
            results.extend(joined(Some(bundle)).await);
        }
        results
    }

    /// Splits operations, in order, into bundles for [`Client::execute_bundle`]: small enough that several fit into
    /// the session's window and none exceeds what the cluster takes.
    #[must_use]
    pub fn bundles(&self, operations: Vec<Bytes>) -> Vec<Vec<Bytes>> {
        /// Larger bundles gain nothing: their signatures are a small part of the work already.
        const BYTES: usize = 256 << 10;
        let parameters = self.shared.configuration.parameters();
        let bytes_limit = parameters.batch_bytes.min(BYTES);
        let (mut bundles, mut bytes) = (Vec::<Vec<Bytes>>::new(), 0);
        for operation in operations {
            match bundles.last_mut() {
                Some(last) if last.len() < self.bundle_size() && bytes + operation.len() <= bytes_limit => {
                    bytes += operation.len();
                    last.push(operation);
                }
                _ => {
                    bytes = operation.len();
                    bundles.push(vec![operation]);
                }
            }
        }
        bundles
    }

    /// How many bundles of [`Client::bundles`] to have under way: the window's worth, and as many waiting, so that
    /// the window never runs dry.
    #[must_use]
    pub fn bundles_at_once(&self) -> usize {
        2 * self.window() / self.bundle_size()
    }

    /// A quarter of the window: with the smallest window, four bundles of 16 are on their way at a time.
    fn bundle_size(&self) -> usize {
        (self.window() / 4).clamp(1, Submission::MAXIMUM_REQUESTS)
    }

    /// W; the configuration keeps it within 64 to 4096.
    fn window(&self) -> usize {
        usize::try_from(self.shared.configuration.parameters().session_window).unwrap_or(usize::MAX / 2)
    }

    fn reach(&self) -> Reach {
        Reach { links: self.links(), needed: self.shared.configuration.weak_quorum().get() }
    }
}

type Bundle = (usize, tokio::task::JoinHandle<Vec<Result<Executed, ClientError>>>);

/// A bundle's results.
async fn joined(bundle: Option<Bundle>) -> Vec<Result<Executed, ClientError>> {
    let Some((count, task)) = bundle else { return Vec::new() };
    // The task neither panics nor is aborted, unless the runtime is being shut down.
    task.await.unwrap_or_else(|_| vec![Err(ClientError::ShutDown); count])
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Client(session {})", self.session())
    }
}
