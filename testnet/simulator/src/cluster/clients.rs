//! The clients' side: what they send, and what they are answered.

use std::rc::Rc;
use std::time::Duration;

use pbft_byzantine::{ClientIdentity, ClientStrategy};
use pbft_client::core::{Answer, Effect};
use pbft_messages::{
    ClientId, ClientMessage, ReplicaId, ReplicaMessage, Request, RequestId, SessionId, Submission, codec,
};
use pbft_protocol::Input;

use super::{Cluster, Event, Receiver};
use crate::client::{Client, SESSION, Waiting};
use crate::question::Question;
use crate::violation::Invariant;

/// A session that no honest client has.
const FOREIGN: SessionId = SessionId(u64::MAX);

/// How often a malicious client may act.
const ACT: Duration = Duration::from_millis(10);

impl Cluster {
    /// Lets every client issue so many requests more, `depth` at a time.
    pub fn load(&mut self, requests: u64, depth: usize) {
        for client in 0..self.clients.len() {
            self.load_from(client, requests, depth);
        }
    }

    /// Lets one client issue so many requests more, `depth` at a time.
    pub fn load_from(&mut self, client: usize, requests: u64, depth: usize) {
        self.clients[client].issue(requests, depth);
        self.with_client(client, |_, _, _| {});
    }

    /// Lets a client begin an unordered read after each interval, so many times. If no quorum answers one, it is ordered.
    pub fn read(&mut self, client: usize, times: u64, interval: Duration) {
        if let Some(more) = times.checked_sub(1) {
            self.plan(interval, Event::Reader { client, more, interval });
        }
    }

    /// Lets a client send a submission of its own making to some replicas, beside what its library does.
    pub fn submit(&mut self, client: usize, submission: Submission, to: &[ReplicaId]) {
        let (id, session) = (self.clients[client].id, submission.session());
        let signed = self.clients[client].sign(submission, &self.configuration);
        self.ask((id, session), &ClientMessage::Submit(signed), to);
    }

    /// Whom a malicious client speaks for, who has the keys of some of the clients: those should do nothing else.
    ///
    /// # Panics
    /// Without any clients, or with some that there are not.
    #[must_use]
    pub fn client_identity(&self, clients: &[usize]) -> ClientIdentity {
        let signers: Vec<_> = clients.iter().map(|client| self.keys.clients[*client].clone()).collect();
        let client = self.clients[clients[0]].id;
        ClientIdentity { client, signers, configuration: self.configuration.clone() }
    }

    /// Lets a malicious client loose.
    pub fn attack(&mut self, strategy: Box<dyn ClientStrategy>) {
        self.tell(|| format!("a malicious client attacks: {}", strategy.name()));
        self.attackers.push(strategy);
        self.plan(Duration::ZERO, Event::Attack { attacker: self.attackers.len() - 1 });
    }

    /// Stops all malicious clients.
    pub fn end_attacks(&mut self) {
        self.attackers.clear();
    }

    pub(super) fn on_attack(&mut self, attacker: usize) {
        let Some(strategy) = self.attackers.get_mut(attacker) else { return };
        let mut shots = Vec::new();
        strategy.act(self.now, &mut shots);
        // Of whoever it is that reads, the answers are all the same to an attacker.
        let reader = self.clients.last().map_or(ClientId([0; 32]), |client| client.id);
        // What it tells several replicas is made once.
        for alike in shots.chunk_by(|one, other| one.message == other.message) {
            let message = &alike[0].message;
            let Some(question) = Question::new((reader, FOREIGN), message, &self.configuration) else {
                continue;
            };
            let to: Vec<_> = alike.iter().map(|shot| shot.to).collect();
            self.send_question(&question, &to);
        }
        self.plan(ACT, Event::Attack { attacker });
    }

    pub(super) fn on_reader(&mut self, client: usize, more: u64, interval: Duration) {
        self.reads_begun += 1;
        let known = self.checker.known();
        let operation = self.clients[client].next_read(&mut self.random);
        self.with_client(client, |client, now, effects| {
            if let Ok(ticket) = client.core.read(now, operation.clone(), effects) {
                client.waiting.insert((ticket, 0), Waiting::Read { operation, known });
            }
        });
        self.read(client, more, interval);
    }

    pub(super) fn on_waking(&mut self, client: usize) {
        if self.clients[client].wakes(self.now) {
            self.with_client(client, |client, now, effects| client.core.tick(now, effects));
        }
    }

    /// An answer arrives.
    pub(super) fn on_answer(&mut self, from: ReplicaId, to: Receiver, frame: &[u8]) {
        let Ok(message) = codec::decode::<ReplicaMessage>(frame) else { return };
        match to {
            Receiver::Client(client) => {
                self.with_client(client, |client, now, effects| {
                    client.core.on_message(now, from, &message, effects);
                });
                let client = &self.clients[client];
                self.checker.believes(client.id, client.core.view());
            }
            Receiver::Attackers => {
                self.attackers.iter_mut().for_each(|attacker| attacker.hear(from, &message));
            }
        }
    }

    /// Lets a client's library do something, and carries out what it wants done. It then issues what it may.
    fn with_client(&mut self, index: usize, act: impl FnOnce(&mut Client, Duration, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        let client = &mut self.clients[index];
        client.open(self.now, &mut effects);
        act(client, self.now, &mut effects);
        loop {
            self.carry_out_for(index, std::mem::take(&mut effects));
            let client = &mut self.clients[index];
            let Some(operations) = client.next_operations(&mut self.random) else { break };
            match client.core.submit(self.now, operations.clone(), &mut effects) {
                Ok(ticket) => {
                    let waiting = operations.into_iter().map(|it| Waiting::Request(it, self.now));
                    client.waiting.extend((0..).map(|index| (ticket, index)).zip(waiting));
                }
                // It was told so, which is a violation.
                Err(_) => client.end(),
            }
        }
        if let Some(at) = self.clients[index].next_waking() {
            self.plan(at.saturating_sub(self.now), Event::Waking { client: index });
        }
    }

    fn carry_out_for(&mut self, index: usize, effects: Vec<Effect>) {
        for effect in effects {
            let client = &mut self.clients[index];
            let id = client.id;
            match effect {
                Effect::Send { to, message } => self.ask((id, SESSION), &message, &to),
                Effect::Opened { .. } => {}
                Effect::OpeningRefused(refusal) => {
                    client.end();
                    self.checker.violated(Invariant::I5, format!("client {id} was refused: {refusal}"));
                }
                Effect::FellBack { ticket, .. } => {
                    if let Some(Waiting::Read { operation, .. }) = client.waiting.remove(&(ticket, 0)) {
                        client.waiting.insert((ticket, 0), Waiting::OrderedRead(operation));
                    }
                }
                Effect::Answered { ticket, index, answer, .. } => {
                    if let Some(waiting) = client.on_answered(ticket, index) {
                        self.on_answered(id, waiting, answer);
                    }
                }
            }
        }
    }

    fn on_answered(&mut self, client: ClientId, waiting: Waiting, answer: Answer) {
        match (waiting, answer) {
            (Waiting::Read { operation, known }, Answer::Read { result, .. }) => {
                self.reads_answered += 1;
                self.checker.read(known, &operation, &result);
            }
            (Waiting::Request(operation, since), Answer::Executed { sequence, result }) => {
                self.checker.acknowledged(client, &operation, sequence, &result);
                self.waited(client, self.now - since);
            }
            (Waiting::OrderedRead(operation), Answer::Executed { sequence, result }) => {
                self.checker.acknowledged(client, &operation, sequence, &result);
            }
            (_, answer) => {
                self.checker.violated(Invariant::I5, format!("client {client} was answered {answer:?}"));
            }
        }
    }

    /// Sends a client's message to replicas, over its connections for one session.
    fn ask(&mut self, connection: (ClientId, SessionId), message: &ClientMessage, to: &[ReplicaId]) {
        if let Some(question) = Question::new(connection, message, &self.configuration) {
            self.send_question(&question, to);
        }
    }

    fn send_question(&mut self, question: &Rc<Question>, to: &[ReplicaId]) {
        if let Some(Input::Submission(good)) = question.open(&self.configuration) {
            let (client, session) = (good.signer(), good.value().session());
            for Request { number, operation } in good.value().requests() {
                self.checker.issued(RequestId { client, session, number }, operation.clone());
            }
        }
        for to in to {
            let reached = self.instances_of(*to).filter(|to| self.network.serves_clients(*to));
            for to in reached.collect::<Vec<_>>() {
                for delay in self.network.arrivals(&mut self.random).into_iter().flatten() {
                    self.plan(delay, Event::Request { to, question: Rc::clone(question) });
                }
            }
        }
    }
}
