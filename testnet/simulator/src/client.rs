//! A simulated client: a session of the client library's core, and what it is to ask for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pbft_client::core::{Core, Effect, Settings, Ticket};
use pbft_crypto::{Signed, Signer, Verified};
use pbft_messages::{ClientId, Configuration, Sequence, SessionId, Submission};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::workload::{Names, Workload};

/// The one session of every client.
pub(crate) const SESSION: SessionId = SessionId(1);

pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) core: Core,
    signer: Arc<dyn Signer>,
    workload: Workload,
    names: Names,
    pub(crate) is_opened: bool,
    /// How many requests it has yet to issue.
    remaining: u64,
    /// How many it keeps in flight.
    depth: usize,
    /// How many are in flight.
    in_flight: usize,
    /// The most operations of one submission.
    together: usize,
    /// What is not answered yet, by its place in its submission.
    pub(crate) waiting: BTreeMap<(Ticket, usize), Waiting>,
    /// How many requests are answered.
    pub(crate) answered: usize,
    /// When it is next woken.
    wakes_at: Option<Duration>,
}

/// What a client waits for.
pub(crate) enum Waiting {
    /// An ordered request, and since when.
    Request(Bytes, Duration),
    /// An unordered read.
    Read {
        operation: Bytes,
        /// What anybody knew of when it began.
        known: Sequence,
    },
    /// A read that is ordered after all.
    OrderedRead(Bytes),
}

impl Client {
    pub(crate) fn new(
        index: usize,
        signer: Arc<dyn Signer>,
        configuration: Arc<Configuration>,
        workload: Workload,
        together: usize,
    ) -> Self {
        let id = signer.public_key().into();
        let settings = Settings::suited_to(&configuration, index as u64);
        Self {
            id,
            core: Core::new(configuration, id, SESSION, settings, Arc::clone(&signer)),
            signer,
            workload,
            names: Names::new(index),
            is_opened: false,
            remaining: 0,
            depth: 1,
            in_flight: 0,
            together,
            waiting: BTreeMap::new(),
            answered: 0,
            wakes_at: None,
        }
    }

    /// Asks it to issue more requests, so many at a time.
    pub(crate) fn issue(&mut self, count: u64, depth: usize) {
        self.remaining += count;
        self.depth = depth;
    }

    pub(crate) fn is_done(&self) -> bool {
        self.unanswered() == 0
    }

    /// How much it has asked for, or is yet to ask for, that is not answered.
    pub(crate) fn unanswered(&self) -> u64 {
        self.remaining + self.waiting.len() as u64
    }

    /// The next operations to submit together, if there are any.
    pub(crate) fn next_operations(&mut self, random: &mut ChaCha8Rng) -> Option<Vec<Bytes>> {
        let room = self.depth.saturating_sub(self.in_flight);
        let most = self.together.min(room).min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        // Where there is no choice, nothing is drawn.
        let count = if most > 1 { random.random_range(1..=most) } else { most };
        self.remaining -= count as u64;
        self.in_flight += count;
        let operations = (0..count).map(|_| self.workload.operation(&mut self.names, random));
        Some(operations.collect()).filter(|it: &Vec<_>| !it.is_empty())
    }

    /// The next unordered read.
    pub(crate) fn next_read(&self, random: &mut ChaCha8Rng) -> Bytes {
        self.workload.read(random)
    }

    /// Opens the session, unless that has been done.
    pub(crate) fn open(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.is_opened, true) {
            self.core.open(now, effects);
        }
    }

    /// Gives up what it has not sent: its session is over.
    pub(crate) fn end(&mut self) {
        self.remaining = 0;
        self.in_flight = 0;
        self.waiting.clear();
    }

    /// What it waited for, now that the answer is there.
    pub(crate) fn on_answered(&mut self, ticket: Ticket, index: usize) -> Option<Waiting> {
        let waiting = self.waiting.remove(&(ticket, index))?;
        if matches!(waiting, Waiting::Request(..)) {
            self.in_flight -= 1;
            self.answered += 1;
        }
        Some(waiting)
    }

    /// Since when the oldest of its requests that are not answered waits.
    pub(crate) fn waits_since(&self) -> Option<Duration> {
        let since = |waiting: &Waiting| match waiting {
            Waiting::Request(_, since) => Some(*since),
            Waiting::Read { .. } | Waiting::OrderedRead(_) => None,
        };
        self.waiting.values().filter_map(since).min()
    }

    /// When it is to be woken, if nobody does so by then.
    pub(crate) fn next_waking(&mut self) -> Option<Duration> {
        let deadline = self.core.deadline()?;
        if self.wakes_at.is_some_and(|at| at <= deadline) {
            return None;
        }
        self.wakes_at = Some(deadline);
        self.wakes_at
    }

    /// It is woken, as planned; says whether that is still what was planned last.
    pub(crate) fn wakes(&mut self, now: Duration) -> bool {
        self.wakes_at.take_if(|at| *at <= now).is_some()
    }

    pub(crate) fn sign(&self, submission: Submission, configuration: &Configuration) -> Signed<Submission> {
        Verified::sign(submission, self.id, &*self.signer, configuration.scope()).signed().clone()
    }
}
