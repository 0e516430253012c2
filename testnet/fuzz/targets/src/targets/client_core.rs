//! A client's session, with every reply drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use pbft_client::core::{Answer, Core, Effect, Settings, Ticket};
use pbft_crypto::{Digest, Domain};
use pbft_messages::{
    ClientMessage, Outcome, ReadAnswer, ReadId, ReadOutcome, Refusal, ReplicaId, ReplicaMessage, Reply,
    RequestId, RequestNumber, Sequence, SessionId, Submission, View, codec,
};

use crate::cluster::{N, client, client_key, configuration};
use crate::draw::Draw;

const SESSION: SessionId = SessionId(3);

/// f+1, and Q.
const WEAK: usize = 2;
const QUORUM: usize = 3;

/// The core under test, and what an observer of its links knows.
struct Watched {
    core: Core,
    now: Duration,
    /// What each request's digest is, as far as it was sent.
    requests: BTreeMap<RequestNumber, Digest>,
    /// Submissions by their first number: they are sent again as they are.
    submissions: BTreeMap<RequestNumber, ClientMessage>,
    /// Every answer of each replica to each request, encoded.
    replies: BTreeMap<RequestNumber, BTreeSet<(ReplicaId, Vec<u8>)>>,
    /// Every result that each replica gave to each read.
    answers: BTreeMap<ReadId, BTreeSet<(ReplicaId, Bytes)>>,
    reads: BTreeSet<ReadId>,
    views: BTreeMap<ReplicaId, View>,
    answered: BTreeSet<(Ticket, usize)>,
    opened: bool,
}

pub(super) fn session(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let configuration = configuration();
    let settings = Settings::suited_to(&configuration, u64::from(draw.byte()));
    let core = Core::new(configuration, client(0), SESSION, settings, Arc::new(client_key(0)));
    let mut watched = Watched {
        core,
        now: Duration::ZERO,
        requests: BTreeMap::new(),
        submissions: BTreeMap::new(),
        replies: BTreeMap::new(),
        answers: BTreeMap::new(),
        reads: BTreeSet::new(),
        views: BTreeMap::new(),
        answered: BTreeSet::new(),
        opened: false,
    };
    let mut effects = Vec::new();
    watched.core.open(watched.now, &mut effects);
    watched.observe(effects);
    while !draw.is_empty() {
        watched.step(&mut draw);
    }
}

impl Watched {
    fn step(&mut self, draw: &mut Draw<'_>) {
        let mut effects = Vec::new();
        match draw.below(16) {
            8 => {
                let operations = (0..draw.near(1).min(66)).map(|_| Bytes::copy_from_slice(draw.bytes(8)));
                let _ = self.core.submit(self.now, operations.collect(), &mut effects);
            }
            9 => {
                let _ = self.core.read(self.now, Bytes::copy_from_slice(draw.bytes(8)), &mut effects);
            }
            10 => {
                let replica = ReplicaId(draw.below(u64::from(N)) as u16);
                self.core.on_link(self.now, replica, draw.below(2) == 0, &mut effects);
            }
            11 => {
                self.now += Duration::from_millis(draw.number().min(5000));
                self.core.tick(self.now, &mut effects);
            }
            12 => {
                self.now = self.core.deadline().unwrap_or(self.now).max(self.now);
                self.core.tick(self.now, &mut effects);
            }
            13 => {
                let ticket = Ticket(draw.below(8));
                let _ = (self.core.abandon(ticket), self.core.shed_by(Some(ticket)));
            }
            14 => {
                let message = ReplicaMessage::Busy {
                    session: SessionId(draw.near(SESSION.0)),
                    first: RequestNumber(draw.number()),
                };
                self.core.on_message(self.now, replica(draw), &message, &mut effects);
            }
            6 | 7 => {
                let from = replica(draw);
                let answer = read_answer(draw);
                self.note_answer(from, &answer);
                self.core.on_message(self.now, from, &ReplicaMessage::Read(answer), &mut effects);
            }
            _ => {
                let from = replica(draw);
                let replies: Vec<Reply> = (0..draw.near(1).min(4)).map(|_| self.reply(draw)).collect();
                replies.iter().for_each(|reply| self.note_reply(from, reply));
                self.core.on_message(self.now, from, &ReplicaMessage::Replies(replies), &mut effects);
            }
        }
        self.observe(effects);
        self.check_view();
    }

    fn reply(&self, draw: &mut Draw<'_>) -> Reply {
        let number = RequestNumber(draw.number());
        let right = self.requests.get(&number).copied();
        let other = Digest::of(Domain::Request, &[draw.below(2) as u8]);
        Reply {
            view: View(draw.number()),
            session: SessionId(draw.near(SESSION.0)),
            number,
            digest: right.filter(|_| !draw.rarely()).unwrap_or(other),
            sequence: Sequence(draw.below(3)),
            outcome: match draw.below(8) {
                0 | 1 => Outcome::Opened,
                2 => Outcome::Refused(Refusal::SessionExpired),
                3 => Outcome::Refused(Refusal::TooOld),
                kind => Outcome::Executed(Bytes::from(vec![kind as u8 % 2; 2])),
            },
        }
    }

    /// Takes down an answer that may count: to what was asked, and of a kind that answers it.
    fn note_reply(&mut self, from: ReplicaId, reply: &Reply) {
        if from.0 >= N || reply.session != SESSION {
            return;
        }
        let view = self.views.entry(from).or_default();
        *view = reply.view.max(*view);
        let fits = match reply.outcome {
            Outcome::Opened => reply.number == RequestNumber(0),
            Outcome::Executed(_) => reply.number != RequestNumber(0),
            Outcome::Refused(_) => true,
        };
        if fits && self.requests.get(&reply.number) == Some(&reply.digest) {
            let said = codec::encode(&(reply.sequence, &reply.outcome));
            self.replies.entry(reply.number).or_default().insert((from, said));
        }
    }

    fn note_answer(&mut self, from: ReplicaId, answer: &ReadAnswer) {
        if let ReadOutcome::Result { result, .. } = &answer.outcome
            && from.0 < N
            && self.reads.contains(&answer.id)
        {
            self.answers.entry(answer.id).or_default().insert((from, result.clone()));
        }
    }

    fn observe(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message } => {
                    assert!(to.iter().all(|replica| replica.0 < N), "it sends to strangers");
                    self.sent(message);
                }
                Effect::Opened { sequence } => {
                    assert!(!self.opened, "it opens twice");
                    self.opened = true;
                    let votes = self.votes(RequestNumber(0), &(sequence, Outcome::Opened));
                    assert!(votes >= WEAK, "{votes} replicas opened the session");
                }
                Effect::OpeningRefused(refusal) => {
                    let votes = (0..3).map(|sequence| {
                        self.votes(RequestNumber(0), &(Sequence(sequence), Outcome::Refused(refusal)))
                    });
                    let votes = votes.max().unwrap_or(0);
                    assert!(votes >= WEAK, "{votes} replicas refused the session");
                }
                Effect::Answered { ticket, index, number, answer } => {
                    assert!(self.answered.insert((ticket, index)), "a request is answered twice");
                    self.believed(number, answer);
                }
                Effect::FellBack { .. } => {}
            }
        }
    }

    fn sent(&mut self, message: ClientMessage) {
        match &message {
            ClientMessage::Read(read) => {
                self.reads.insert(read.id);
            }
            ClientMessage::Submit(signed) => {
                let submission = signed.peek().expect("what a client signs is readable");
                let first = match &submission {
                    Submission::Open { .. } => RequestNumber(0),
                    Submission::Requests { first, .. } => *first,
                };
                for request in submission.requests() {
                    let id = RequestId { client: client(0), session: SESSION, number: request.number };
                    let digest = id.digest(request.operation);
                    let known = *self.requests.entry(request.number).or_insert(digest);
                    assert_eq!(known, digest, "a number is used for two requests");
                }
                assert!(self.opened || first == RequestNumber(0), "it sends before the session is open");
                let before = self.submissions.entry(first).or_insert_with(|| message.clone());
                assert_eq!(*before, message, "what is sent again is what was sent");
            }
        }
    }

    /// An answer is believed for the word of enough replicas.
    fn believed(&self, number: Option<RequestNumber>, answer: Answer) {
        let said = match answer {
            Answer::Executed { sequence, result } => (sequence, Outcome::Executed(result)),
            Answer::Refused { sequence, refusal } => (sequence, Outcome::Refused(refusal)),
            Answer::Expired { .. } => return,
            Answer::Read { result, .. } => {
                let agreeing = |answers: &BTreeSet<(ReplicaId, Bytes)>| {
                    answers.iter().filter(|(_, other)| *other == result).count()
                };
                let votes = self.answers.values().map(agreeing).max().unwrap_or(0);
                assert!(votes >= QUORUM, "{votes} replicas answered a read so");
                return;
            }
        };
        let number = number.expect("what was executed or refused had a number");
        let votes = self.votes(number, &said);
        assert!(votes >= WEAK, "{votes} replicas answered {number:?} so");
    }

    fn votes(&self, number: RequestNumber, said: &(Sequence, Outcome)) -> usize {
        let said = codec::encode(said);
        self.replies.get(&number).into_iter().flatten().filter(|(_, other)| *other == said).count()
    }

    /// The view that it believes in is one that f+1 replicas have claimed to have reached.
    fn check_view(&self) {
        let reached = self.views.values().filter(|view| **view >= self.core.view()).count();
        assert!(self.core.view() == View(0) || reached >= WEAK, "{reached} replicas reached its view");
    }
}

/// A replica, or rarely somebody who is none.
fn replica(draw: &mut Draw<'_>) -> ReplicaId {
    if draw.rarely() { ReplicaId(u16::from(draw.byte())) } else { ReplicaId(draw.below(u64::from(N)) as u16) }
}

fn read_answer(draw: &mut Draw<'_>) -> ReadAnswer {
    let outcome = match draw.below(4) {
        3 => ReadOutcome::Refused,
        kind => ReadOutcome::Result {
            sequence: Sequence(draw.number()),
            result: Bytes::from(vec![kind as u8 / 2; 2]),
        },
    };
    ReadAnswer { id: ReadId(draw.below(6)), outcome }
}
