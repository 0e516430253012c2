//! What a malicious client writes with: well-formed submissions, to begin with.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use pbft_crypto::{Scope, Signed, Signer, Statement, Verified};
use pbft_messages::{
    ClientId, ClientMessage, Configuration, Parameters, ReplicaId, ReplicaMessage, RequestNumber, SessionId,
    Submission,
};
use pbft_service::kv::Operation;

use super::{ClientIdentity, ClientShot};

/// One identity of a client, and one session of it.
#[derive(Clone)]
pub(super) struct Pen {
    pub(super) client: ClientId,
    pub(super) session: SessionId,
    signer: Arc<dyn Signer>,
    configuration: Arc<Configuration>,
}

impl Pen {
    /// One for each key that the client has, that of its usual identity first.
    pub(super) fn all(identity: &ClientIdentity) -> Vec<Self> {
        let pen = |signer: &Arc<dyn Signer>| Self {
            client: signer.public_key().into(),
            session: SessionId(0),
            signer: Arc::clone(signer),
            configuration: Arc::clone(&identity.configuration),
        };
        let mut pens: Vec<_> = identity.signers.iter().map(pen).collect();
        pens.sort_by_key(|pen| pen.client != identity.client);
        pens
    }

    /// Turns to a new session, above every one before.
    pub(super) fn begin_session(&mut self, now: Duration) {
        let name = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.session = SessionId(name.max(self.session.0.saturating_add(1)));
    }

    /// The opening of the session.
    pub(super) fn open(&self) -> ClientMessage {
        self.submit(Submission::Open { session: self.session })
    }

    /// A submission of one request: a key is put that no other request puts, unless it has this number and label too.
    pub(super) fn put(&self, number: u64, label: &str) -> ClientMessage {
        self.run(number, 1, label)
    }

    /// A submission of several requests, from a number on.
    pub(super) fn run(&self, first: u64, count: u64, label: &str) -> ClientMessage {
        let numbers = (0..count).map(|more| first.saturating_add(more));
        let operations = numbers.map(|number| self.operation(number, label)).collect();
        self.requests(first, operations)
    }

    /// A submission of whatever operations.
    pub(super) fn requests(&self, first: u64, operations: Vec<Bytes>) -> ClientMessage {
        let first = RequestNumber(first);
        self.submit(Submission::Requests { session: self.session, first, operations })
    }

    /// The cluster's scope.
    pub(super) fn scope(&self) -> &Scope {
        self.configuration.scope()
    }

    /// The cluster's limits.
    pub(super) fn limits(&self) -> &Parameters {
        self.configuration.parameters()
    }

    fn operation(&self, number: u64, label: &str) -> Bytes {
        let Self { client, session, .. } = self;
        Operation::put(format!("malice/{client}/{session}/{number}/{label}"), label.to_owned()).encode()
    }

    fn submit(&self, submission: Submission) -> ClientMessage {
        ClientMessage::Submit(self.sign(submission, self.scope()))
    }

    /// Signs a statement of whatever kind, in whatever scope, in the client's name.
    pub(super) fn sign<T: Statement<Signer = ClientId>>(&self, statement: T, scope: &Scope) -> Signed<T> {
        Verified::sign(statement, self.client, &*self.signer, scope).signed().clone()
    }

    /// A client that is admitted and that this is not; none if there is no other.
    pub(super) fn stranger(&self) -> Option<ClientId> {
        self.configuration.clients().map(|(client, _)| client).find(|client| *client != self.client)
    }

    /// Whether a message answers a request of the session.
    pub(super) fn is_answered(&self, number: u64, message: &ReplicaMessage) -> bool {
        let ReplicaMessage::Replies(replies) = message else { return false };
        replies.iter().any(|reply| (reply.session, reply.number.0) == (self.session, number))
    }

    /// Sends each replica a message.
    pub(super) fn send_all(&self, message: impl Fn(ReplicaId) -> ClientMessage, out: &mut Vec<ClientShot>) {
        out.extend(self.configuration.replicas().map(|to| ClientShot { to, message: message(to) }));
    }
}

/// When something is due that is done again and again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    every: Duration,
    next: Duration,
}

impl Beat {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, next: Duration::ZERO }
    }

    /// Whether it is due; then it is not, for a while.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + self.every;
        }
        due
    }
}
