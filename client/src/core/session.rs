use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::{SeedableRng as _, rngs::StdRng};

use pbft_crypto::{Signer, Verified};
use pbft_messages::{
    ClientId, ClientMessage, Configuration, Outcome, Refusal, ReplicaId, ReplicaMessage, Reply, RequestId,
    RequestNumber, Sequence, SessionId, Submission, View,
};

use super::believed_view::BelievedView;
use super::flight::{Addressed, Flight};
use super::reads::{Reads, Settled};
use super::votes::Votes;
use super::{Abandoned, Answer, Effect, Settings, SubmitError, Ticket};

/// Where the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its opening is not answered: what is submitted waits.
    Opening,
    /// It is open.
    Open,
    /// It was refused or has expired: nothing new is sent.
    Over,
}

/// One session of one client (N1, N5, N8).
pub struct Core {
    configuration: Arc<Configuration>,
    client: ClientId,
    session: SessionId,
    settings: Settings,
    signer: Arc<dyn Signer>,
    random: StdRng,
    phase: Phase,
    view: BelievedView,
    /// Replicas that are known to be out of reach.
    unreachable: BTreeSet<ReplicaId>,
    /// Submissions on their way, by their first number; the opening has number 0.
    flights: BTreeMap<RequestNumber, Flight>,
    /// Submissions that wait for the opening or for the window, in order.
    queue: VecDeque<(Ticket, Vec<Bytes>)>,
    reads: Reads,
    /// When f+1 replicas last agreed on an answer.
    last_answered: Option<Duration>,
    next_number: RequestNumber,
    next_ticket: u64,
}

impl Core {
    /// A session that is not open yet: call [`Core::open`]. `client` is the identity of `signer`'s key. `session`
    /// must be above every session that this client opened, or it will be refused.
    #[must_use]
    pub fn new(
        configuration: Arc<Configuration>,
        client: ClientId,
        session: SessionId,
        settings: Settings,
        signer: Arc<dyn Signer>,
    ) -> Self {
        Self {
            view: BelievedView::new(configuration.n()),
            random: StdRng::seed_from_u64(settings.seed),
            configuration,
            client,
            session,
            settings,
            signer,
            phase: Phase::Opening,
            unreachable: BTreeSet::new(),
            flights: BTreeMap::new(),
            queue: VecDeque::new(),
            reads: Reads::default(),
            last_answered: None,
            next_number: RequestNumber(1),
            next_ticket: 0,
        }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The view that f+1 replicas have reached, as far as replies told.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.get()
    }

    /// The believed view's primary.
    #[must_use]
    pub fn primary(&self) -> ReplicaId {
        self.configuration.primary(self.view())
    }

    /// Whether nothing new can be submitted, because the session was refused or has expired.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// When [`Core::tick`] is next due; `None` while nothing is on its way.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.flights.values().map(|flight| flight.due).chain(self.reads.deadline()).min()
    }

    /// Sends the opening of the session. To be called once, first.
    pub fn open(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.launch(now, None, RequestNumber(0), Submission::Open { session: self.session }, effects);
    }

    /// Takes operations as one submission: they get consecutive numbers and are executed in order, each answered
    /// by itself. Sent at once if the session is open and the window allows, else kept until then; submissions
    /// are sent in the order of the calls, though the cluster may execute two of them in either order.
    ///
    /// # Errors
    /// [`SubmitError`] if the cluster would not take them; nothing is signed or sent then.
    pub fn submit(
        &mut self,
        now: Duration,
        operations: Vec<Bytes>,
        effects: &mut Vec<Effect>,
    ) -> Result<Ticket, SubmitError> {
        check(&operations, &self.configuration)?;
        if self.is_over() {
            return Err(SubmitError::SessionOver);
        }
        let ticket = self.next_ticket();
        self.queue.push_back((ticket, operations));
        self.send_queued(now, effects);
        Ok(ticket)
    }

    /// Asks all replicas, unordered, what the service answers to an operation that only reads (N5). If no quorum of
    /// them agrees in the time in which a request is sent again, the operation is submitted as by [`Core::submit`].
    ///
    /// # Errors
    /// As of [`Core::submit`].
    pub fn read(
        &mut self,
        now: Duration,
        operation: Bytes,
        effects: &mut Vec<Effect>,
    ) -> Result<Ticket, SubmitError> {
        check(std::slice::from_ref(&operation), &self.configuration)?;
        if self.is_over() {
            return Err(SubmitError::SessionOver);
        }
        let ticket = self.next_ticket();
        let message = self.reads.start(ticket, operation, now + self.settings.retry_after);
        effects.push(Effect::Send { to: self.reachable(), message });
        Ok(ticket)
    }

    fn next_ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    /// Ends a caller's interest in its submission, since its time is up.
    pub fn abandon(&mut self, ticket: Ticket) -> Abandoned {
        if let Some(place) = self.queue.iter().position(|(queued, _)| *queued == ticket) {
            self.queue.remove(place);
            return Abandoned::NeverSent;
        }
        if self.reads.abandon(ticket) {
            return Abandoned::Read;
        }
        if self.flights.values().any(|flight| flight.ticket == Some(ticket)) {
            return Abandoned::Sent;
        }
        Abandoned::Answered
    }

    /// How many replicas last said of a submission that they are too busy for it; `None` is the opening. 0 if they are
    /// fewer than f+1, which may all be lying.
    #[must_use]
    pub fn shed_by(&self, ticket: Option<Ticket>) -> usize {
        let flight = self.flights.values().find(|flight| flight.ticket == ticket);
        let replicas = flight.map_or(0, |flight| flight.shed_by.len());
        if self.configuration.weak_quorum().reached(replicas) { replicas } else { 0 }
    }

    /// Takes a message that came over the channel of replica `from`, which authenticates it.
    pub fn on_message(
        &mut self,
        now: Duration,
        from: ReplicaId,
        message: &ReplicaMessage,
        effects: &mut Vec<Effect>,
    ) {
        match message {
            ReplicaMessage::Replies(replies) => {
                let (session, before) = (self.session, self.flights.len());
                for reply in replies.iter().filter(|reply| reply.session == session) {
                    self.view.report(from, reply.view, &self.configuration);
                    self.on_reply(now, from, reply, effects);
                }
                self.send_shed(now, before - self.flights.len(), effects);
                self.send_queued(now, effects);
            }
            ReplicaMessage::Read(answer) => {
                let settled = self.reads.on_answer(from, answer, &self.configuration);
                if let Some(settled) = settled {
                    self.settle_read(now, settled, effects);
                }
            }
            ReplicaMessage::Busy { session, first } => {
                if *session == self.session
                    && let Some(flight) = self.flights.get_mut(first)
                {
                    flight.on_busy(now, from, &self.configuration, &self.settings, &mut self.random);
                }
            }
        }
    }

    /// Learns that the link to a replica is up or down. Links that nothing was heard of count as up, so a driver
    /// without links need not call this.
    pub fn on_link(&mut self, now: Duration, replica: ReplicaId, up: bool, effects: &mut Vec<Effect>) {
        if !up {
            self.unreachable.insert(replica);
            return;
        }
        self.unreachable.remove(&replica);
        // What was sent into the dead link is lost, and so are this replica's answers to what others passed on.
        for flight in self.flights.values() {
            effects.push(Effect::Send { to: vec![replica], message: flight.message.clone() });
        }
        for message in self.reads.unanswered_by(replica) {
            effects.push(Effect::Send { to: vec![replica], message: message.clone() });
        }
        self.send_queued(now, effects);
    }

    /// Sends again what has gone unanswered for too long. Due at [`Core::deadline`]; harmless at other times.
    ///
    /// While answers come, only the oldest submission goes to all: it starts the timers of the backups, which the
    /// others would not do any sooner (N8). A cluster that has too much to do would have far more to do if all that
    /// waits were sent to every replica. Of the others, the primary is asked again for what was shed, which it may
    /// not have.
    pub fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let served = self.last_answered.is_some_and(|at| now < at + self.settings.retry_after);
        let oldest = self.flights.keys().next().copied();
        let due = self.flights.iter().filter(|(_, flight)| flight.due <= now);
        for first in due.map(|(first, _)| *first).collect::<Vec<_>>() {
            if let Some(flight) = self.flights.get_mut(&first)
                && served
                && Some(first) != oldest
                && flight.goes_to_all()
            {
                if !flight.is_shed() {
                    flight.put_off(now, &self.settings, &mut self.random);
                    continue;
                }
                flight.spare_others();
            }
            self.send(now, first, effects);
        }
        for settled in self.reads.give_up(now) {
            self.settle_read(now, settled, effects);
        }
    }

    fn settle_read(&mut self, now: Duration, settled: Settled, effects: &mut Vec<Effect>) {
        match settled {
            Settled::Answered(ticket, answer) => {
                effects.push(Effect::Answered { ticket, index: 0, number: None, answer });
            }
            Settled::FellBack(ticket, operation, reason) => {
                effects.push(Effect::FellBack { ticket, reason });
                self.queue.push_back((ticket, vec![operation]));
                if self.is_over() {
                    self.end(effects);
                } else {
                    self.send_queued(now, effects);
                }
            }
        }
    }

    /// Counts one reply, and passes the answer on if it completes f+1 equal ones.
    fn on_reply(&mut self, now: Duration, from: ReplicaId, reply: &Reply, effects: &mut Vec<Effect>) {
        if from.index() >= self.configuration.n() {
            return;
        }
        let Some((first, flight)) = self.flights.range_mut(..=reply.number).next_back() else { return };
        let (first, index) = (*first, (reply.number.0 - first.0) as usize);
        flight.shed_by.remove(&from);
        let Some(slot) = flight.votes.get_mut(index) else { return };
        let Some(votes) = slot else { return };
        let Some((sequence, outcome)) = votes.insert(from, reply, self.configuration.weak_quorum()) else {
            return;
        };
        *slot = None;
        let ticket = flight.ticket;
        self.last_answered = Some(now);
        if flight.first_unanswered().is_none() {
            self.flights.remove(&first);
        }
        match ticket {
            None => self.on_opening_answered(sequence, outcome, effects),
            Some(ticket) => {
                let answer = match outcome {
                    Outcome::Executed(result) => Answer::Executed { sequence, result },
                    Outcome::Refused(Refusal::SessionExpired) => Answer::Expired { sent: true },
                    Outcome::Refused(refusal) => Answer::Refused { sequence, refusal },
                    // Votes for it are not counted.
                    Outcome::Opened => return,
                };
                let expired = matches!(answer, Answer::Expired { .. });
                let number = Some(reply.number);
                effects.push(Effect::Answered { ticket, index, number, answer });
                if expired {
                    self.end(effects);
                }
            }
        }
    }

    fn on_opening_answered(&mut self, sequence: Sequence, outcome: Outcome, effects: &mut Vec<Effect>) {
        if let Outcome::Refused(refusal) = outcome {
            effects.push(Effect::OpeningRefused(refusal));
            self.end(effects);
        } else {
            self.phase = Phase::Open;
            effects.push(Effect::Opened { sequence });
        }
    }

    /// Sends nothing new any more. What is on its way stays so: it may have been executed before, and its
    /// answers tell.
    fn end(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Over;
        for (ticket, operations) in self.queue.drain(..) {
            for index in 0..operations.len() {
                let answer = Answer::Expired { sent: false };
                effects.push(Effect::Answered { ticket, index, number: None, answer });
            }
        }
    }

    /// Sends what waits, as far as the window allows: the last number of a submission may be W above the last
    /// below which everything is answered, so that replicas need to keep W replies only (N1).
    ///
    /// Numbers are given here and not earlier, so that what is abandoned in the queue leaves no gap.
    fn send_queued(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Open || self.unreachable.len() == self.configuration.n() {
            return;
        }
        while let Some((_, operations)) = self.queue.front() {
            let last = self.next_number.0 + operations.len() as u64 - 1;
            if last > self.answered_through() + self.configuration.parameters().session_window {
                return;
            }
            let Some((ticket, operations)) = self.queue.pop_front() else { return };
            let first = self.next_number;
            self.next_number = RequestNumber(last + 1);
            let submission = Submission::Requests { session: self.session, first, operations };
            self.launch(now, Some(ticket), first, submission, effects);
        }
    }

    /// The number up to which every request is answered.
    fn answered_through(&self) -> u64 {
        match self.flights.first_key_value() {
            Some((first, flight)) => {
                (first.0 + flight.first_unanswered().unwrap_or(0) as u64).saturating_sub(1)
            }
            None => self.next_number.0 - 1,
        }
    }

    /// Signs a submission, once, and sends it.
    fn launch(
        &mut self,
        now: Duration,
        ticket: Option<Ticket>,
        first: RequestNumber,
        submission: Submission,
        effects: &mut Vec<Effect>,
    ) {
        let (client, session) = (self.client, self.session);
        let votes = submission.requests().map(|request| {
            let id = RequestId { client, session, number: request.number };
            Some(Votes::new(id.digest(request.operation)))
        });
        let votes = votes.collect();
        let signed = Verified::sign(submission, client, &*self.signer, self.configuration.scope());
        let message = ClientMessage::Submit(signed.signed().clone());
        self.flights.insert(first, Flight::new(ticket, message, votes));
        self.send(now, first, effects);
    }

    /// Asks the busy primary again for the oldest submissions that were shed: as many as were just answered, which made
    /// room for so many. The pauses of what is shed are for when there are no answers to go by.
    fn send_shed(&mut self, now: Duration, answered: usize, effects: &mut Vec<Effect>) {
        let shed = self.flights.iter().filter(|(_, flight)| flight.backs_off());
        let shed: Vec<_> = shed.take(answered).map(|(first, flight)| (*first, flight.due)).collect();
        for (first, pause_ends) in shed {
            self.send(now, first, effects);
            if let Some(flight) = self.flights.get_mut(&first) {
                flight.hurry(pause_ends);
            }
        }
    }

    fn reachable(&self) -> Vec<ReplicaId> {
        self.configuration.replicas().filter(|replica| !self.unreachable.contains(replica)).collect()
    }

    /// Sends a submission that is on its way, for the first time or again.
    fn send(&mut self, now: Duration, first: RequestNumber, effects: &mut Vec<Effect>) {
        let primary = self.primary();
        let primary_reachable = !self.unreachable.contains(&primary);
        let Some(flight) = self.flights.get_mut(&first) else { return };
        let message = flight.message.clone();
        let addressed = flight.address(now, primary, primary_reachable, &self.settings, &mut self.random);
        let to: Vec<ReplicaId> = match addressed {
            Addressed::Primary(primary) => vec![primary],
            Addressed::All => self.reachable(),
        };
        if !to.is_empty() {
            effects.push(Effect::Send { to, message });
        }
    }
}

/// Checks what replicas would refuse to read, before anything is signed.
fn check(operations: &[Bytes], configuration: &Configuration) -> Result<(), SubmitError> {
    let parameters = configuration.parameters();
    if !(1..=Submission::MAXIMUM_REQUESTS).contains(&operations.len()) {
        return Err(SubmitError::Count(operations.len()));
    }
    let limit = parameters.operation_bytes;
    if let Some((index, operation)) =
        operations.iter().enumerate().find(|(_, operation)| operation.len() > limit)
    {
        return Err(SubmitError::OperationTooLarge { index, bytes: operation.len(), limit });
    }
    let (bytes, limit) = (operations.iter().map(Bytes::len).sum(), parameters.batch_bytes);
    if bytes > limit { Err(SubmitError::SubmissionTooLarge { bytes, limit }) } else { Ok(()) }
}
