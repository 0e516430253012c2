//! The task that owns a session: its core, its links and its callers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use pbft_messages::{Configuration, Refusal, RequestNumber, Sequence, View};

use crate::client::ReadPath;
use crate::core::{Abandoned, Answer, Core, Effect, Ticket};
use crate::error::{ClientError, Reach};
use crate::links::{LinkNews, LinkSet, LinkState, Links};
use crate::turnstile::Turn;

/// One call of a handle.
pub(crate) struct Call {
    pub(crate) operations: Vec<Bytes>,
    /// Unordered: there is one operation, and it only reads.
    pub(crate) path: ReadPath,
    pub(crate) deadline: Instant,
    /// The time between the call and its deadline, for the error.
    pub(crate) waited: Duration,
    pub(crate) answer: oneshot::Sender<Vec<Result<Done, ClientError>>>,
    /// Given back when the call is answered.
    pub(crate) _places: OwnedSemaphorePermit,
}

/// What came of one operation.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) sequence: Sequence,
    /// `None` if it was not ordered.
    pub(crate) number: Option<RequestNumber>,
    pub(crate) result: Bytes,
}

/// What handles can see of the session.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) opening: Opening,
    /// How many replicas, f+1 at least, last said that they are too busy to open it.
    pub(crate) shed_by: usize,
    pub(crate) links: Links,
    pub(crate) view: View,
}

/// How far the opening has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Waiting,
    Done,
    Refused(Refusal),
}

/// A call whose operations are on their way.
struct Pending {
    results: Vec<Option<Result<Done, ClientError>>>,
    missing: usize,
    call: Call,
}

/// The task's state. It ends when all handles are gone.
pub(crate) struct Session {
    core: Core,
    links: LinkSet,
    configuration: Arc<Configuration>,
    standing: watch::Sender<Standing>,
    pending: BTreeMap<Ticket, Pending>,
    deadlines: BTreeSet<(Instant, Ticket)>,
    started: Instant,
    effects: Vec<Effect>,
}

impl Standing {
    pub(crate) fn new(n: usize) -> Self {
        let links = vec![LinkState::Connecting; n];
        Self { opening: Opening::Waiting, shed_by: 0, links, view: View(0) }
    }

    /// Whether so many replicas refuse this client for good that a correct one is among them, and the others are no
    /// quorum: then waiting longer leads nowhere.
    pub(crate) fn is_hopeless(&self, configuration: &Configuration) -> bool {
        let permanent =
            |link: &&LinkState| matches!(link, LinkState::Down { reason } if reason.is_permanent());
        let refusing = self.links.iter().filter(permanent).count();
        let others = configuration.n() - refusing;
        configuration.weak_quorum().reached(refusing) && !configuration.quorum().reached(others)
    }
}

impl Session {
    pub(crate) fn new(
        core: Core,
        links: LinkSet,
        configuration: Arc<Configuration>,
        standing: watch::Sender<Standing>,
    ) -> Self {
        Self {
            core,
            links,
            configuration,
            standing,
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            started: Instant::now(),
            effects: Vec::new(),
        }
    }

    /// Serves the session's handles until the last is dropped.
    pub(crate) async fn run(mut self, mut calls: mpsc::UnboundedReceiver<Call>, turn: Turn) {
        let (mut turn, mut opened) = (Some(turn), false);
        // Until its link is up a replica cannot be sent to: what should go to it goes to the others.
        for replica in self.configuration.replicas() {
            self.core.on_link(Duration::ZERO, replica, false, &mut self.effects);
        }
        loop {
            let deadline = self.next_deadline();
            tokio::select! {
                call = calls.recv() => match call {
                    Some(call) => self.on_call(call),
                    None => return,
                },
                news = self.links.news() => self.on_news(news),
                () = wait_until(deadline) => self.on_time(),
                () = comes(turn.as_mut()), if !opened => {
                    opened = true;
                    self.core.open(self.started.elapsed(), &mut self.effects);
                }
            }
            self.apply_effects();
            if self.standing.borrow().opening != Opening::Waiting {
                // Lets the next session of this client be opened.
                turn = None;
            }
        }
    }

    fn on_call(&mut self, mut call: Call) {
        let (now, mut operations) = (self.started.elapsed(), std::mem::take(&mut call.operations));
        let count = operations.len();
        let submitted = match call.path {
            ReadPath::Ordered => self.core.submit(now, operations, &mut self.effects),
            ReadPath::Unordered => {
                self.core.read(now, operations.pop().unwrap_or_default(), &mut self.effects)
            }
        };
        match submitted {
            Ok(ticket) => {
                self.deadlines.insert((call.deadline, ticket));
                self.pending.insert(ticket, Pending { results: vec![None; count], missing: count, call });
            }
            Err(error) => {
                // A caller that is gone needs no answer, here and below.
                let _ = call.answer.send(vec![Err(error.into()); count]);
            }
        }
    }

    fn on_news(&mut self, news: LinkNews) {
        let now = self.started.elapsed();
        match news {
            LinkNews::Message(from, message) => {
                self.core.on_message(now, from, &message, &mut self.effects);
                let known = (self.core.view(), self.core.shed_by(None));
                self.standing.send_if_modified(|standing| {
                    let before = (standing.view, standing.shed_by);
                    (standing.view, standing.shed_by) = known;
                    before != known
                });
            }
            LinkNews::State(replica, state) => {
                tracing::debug!(%replica, ?state, "link");
                self.core.on_link(now, replica, matches!(state, LinkState::Up { .. }), &mut self.effects);
                self.standing.send_modify(|standing| standing.links[replica.index()] = state);
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let retry = self.core.deadline().map(|deadline| self.started + deadline);
        let call = self.deadlines.first().map(|(deadline, _)| *deadline);
        retry.into_iter().chain(call).min()
    }

    fn on_time(&mut self) {
        self.core.tick(self.started.elapsed(), &mut self.effects);
        let now = Instant::now();
        while let Some((deadline, ticket)) = self.deadlines.first().copied().filter(|(when, _)| *when <= now)
        {
            self.deadlines.remove(&(deadline, ticket));
            self.give_up(ticket);
        }
    }

    /// Answers a call whose time is up, as far as it is not answered.
    fn give_up(&mut self, ticket: Ticket) {
        let (abandoned, shed_by) = (self.core.abandon(ticket), self.core.shed_by(Some(ticket)));
        let Some(Pending { results, call, .. }) = self.pending.remove(&ticket) else { return };
        let standing = self.standing.borrow();
        let reach = Reach { links: standing.links.clone(), needed: self.configuration.weak_quorum().get() };
        let waited = call.waited;
        let error = match abandoned {
            _ if call.path == ReadPath::Unordered => {
                let reach = Reach { needed: self.configuration.quorum().get(), ..reach };
                ClientError::ReadUnanswered { waited, reach }
            }
            Abandoned::Sent if shed_by > 0 => {
                ClientError::Busy { waited, replicas: shed_by, sent: true, reach }
            }
            Abandoned::Sent | Abandoned::Answered | Abandoned::Read => {
                ClientError::OutcomeUnknown { waited, reach }
            }
            Abandoned::NeverSent if standing.opening == Opening::Done && reach.reachable() > 0 => {
                ClientError::NotSent { waited, reach }
            }
            Abandoned::NeverSent => ClientError::not_opened(waited, reach, &standing, &self.configuration),
        };
        let results = results.into_iter().map(|result| result.unwrap_or_else(|| Err(error.clone())));
        let _ = call.answer.send(results.collect());
    }

    fn apply_effects(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Send { to, message } => self.links.send(&to, &message),
                Effect::Opened { .. } => {
                    self.standing.send_modify(|standing| standing.opening = Opening::Done);
                }
                Effect::OpeningRefused(refusal) => {
                    self.standing.send_modify(|standing| standing.opening = Opening::Refused(refusal));
                }
                Effect::FellBack { reason, .. } => {
                    tracing::debug!(?reason, "an unordered read is ordered after all");
                }
                Effect::Answered { ticket, index, number, answer } => {
                    let result = match answer {
                        Answer::Executed { sequence, result } => Ok(Done { sequence, number, result }),
                        Answer::Read { sequence, result } => Ok(Done { sequence, number: None, result }),
                        Answer::Refused { sequence, refusal } => {
                            Err(ClientError::Refused { sequence, refusal })
                        }
                        Answer::Expired { sent } => Err(ClientError::SessionExpired { sent }),
                    };
                    self.on_result(ticket, index, result);
                }
            }
        }
    }

    fn on_result(&mut self, ticket: Ticket, index: usize, result: Result<Done, ClientError>) {
        // The caller of an abandoned submission has been told already.
        let Some(pending) = self.pending.get_mut(&ticket) else { return };
        pending.results[index] = Some(result);
        pending.missing -= 1;
        if pending.missing == 0
            && let Some(Pending { results, call, .. }) = self.pending.remove(&ticket)
        {
            self.deadlines.remove(&(call.deadline, ticket));
            let _ = call.answer.send(results.into_iter().flatten().collect());
        }
    }
}

/// Waits until `deadline`, for ever if there is none.
async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits for the session's turn to be opened.
async fn comes(turn: Option<&mut Turn>) {
    match turn {
        Some(turn) => turn.comes().await,
        None => std::future::pending().await,
    }
}
