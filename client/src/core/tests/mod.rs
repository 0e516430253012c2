//! The core against hand-made replies.

mod agreement;
mod random;
mod reads;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use pbft_crypto::{Digest, SecretKey, Signed, Signer as _};
use pbft_messages::{
    ClientId, ClientMessage, Configuration, Member, Outcome, Parameters, Refusal, ReplicaId, ReplicaMessage,
    Reply, RequestId, RequestNumber, Sequence, SessionId, Submission, View,
};

use super::{Abandoned, Answer, Core, Effect, Settings, SubmitError, Ticket};

const SESSION: SessionId = SessionId(77);

fn client_key() -> SecretKey {
    SecretKey::from_seed(&[200; 32])
}

fn client() -> ClientId {
    client_key().public_key().into()
}

fn configuration(n: u16) -> Arc<Configuration> {
    let members = (0..n).map(|index| Member {
        key: SecretKey::from_seed(&[index as u8 + 1; 32]).public_key(),
        peer_address: ([127, 0, 0, 1], 1000 + index).into(),
        client_address: ([127, 0, 0, 1], 2000 + index).into(),
    });
    let parameters = Parameters::default();
    Arc::new(
        Configuration::new("test".into(), members.collect(), [client_key().public_key()], parameters)
            .unwrap(),
    )
}

/// A core with a clock, and what it has done since last asked.
struct Bench {
    core: Core,
    configuration: Arc<Configuration>,
    now: Duration,
    effects: Vec<Effect>,
}

impl Bench {
    /// A session that nobody has answered yet; its opening is among the effects.
    fn opening(n: u16) -> Self {
        Self::opening_with_seed(n, 1)
    }

    fn opening_with_seed(n: u16, seed: u64) -> Self {
        let configuration = configuration(n);
        let settings = Settings::suited_to(&configuration, seed);
        let core = Core::new(configuration.clone(), client(), SESSION, settings, Arc::new(client_key()));
        let mut bench = Self { core, configuration, now: Duration::ZERO, effects: Vec::new() };
        bench.core.open(bench.now, &mut bench.effects);
        bench
    }

    /// An open session, with nothing in the effects.
    fn open(n: u16) -> Self {
        Self::with_seed(n, 1)
    }

    fn with_seed(n: u16, seed: u64) -> Self {
        let mut bench = Self::opening_with_seed(n, seed);
        for replica in 0..bench.configuration.weak_quorum().get() as u16 {
            bench.reply(replica, answer(0, b"", 1, Outcome::Opened));
        }
        assert!(bench.effects.contains(&Effect::Opened { sequence: Sequence(1) }));
        bench.effects.clear();
        bench
    }

    fn submit(&mut self, operations: &[&'static str]) -> Ticket {
        let operations =
            operations.iter().map(|operation| Bytes::from_static(operation.as_bytes())).collect();
        self.core.submit(self.now, operations, &mut self.effects).unwrap()
    }

    fn reply(&mut self, from: u16, reply: Reply) {
        self.message(from, ReplicaMessage::Replies(vec![reply]));
    }

    fn message(&mut self, from: u16, message: ReplicaMessage) {
        self.core.on_message(self.now, ReplicaId(from), &message, &mut self.effects);
    }

    fn busy(&mut self, from: u16, first: u64) {
        self.message(from, ReplicaMessage::Busy { session: SESSION, first: RequestNumber(first) });
    }

    fn link(&mut self, replica: u16, up: bool) {
        self.core.on_link(self.now, ReplicaId(replica), up, &mut self.effects);
    }

    /// Goes on to the next deadline, and tells how long that took.
    fn wait(&mut self) -> Duration {
        let deadline = self.core.deadline().expect("something is on its way");
        let waited = deadline.saturating_sub(self.now);
        self.now = deadline;
        self.core.tick(self.now, &mut self.effects);
        waited
    }

    /// What was sent since last asked: to whom, and the number of the first request.
    fn sent(&mut self) -> Vec<(Vec<u16>, u64)> {
        let sent = self.messages().into_iter();
        sent.map(|(to, signed)| (to, signed.peek().unwrap().requests().next().unwrap().number.0)).collect()
    }

    /// The messages sent since last asked. They are taken out of the effects; everything else stays.
    fn messages(&mut self) -> Vec<(Vec<u16>, Signed<Submission>)> {
        let submits =
            |effect: &mut Effect| matches!(effect, Effect::Send { message: ClientMessage::Submit(_), .. });
        let sends = self.effects.extract_if(.., submits);
        let message = |effect| match effect {
            Effect::Send { to, message: ClientMessage::Submit(signed) } => {
                (to.iter().map(|replica| replica.0).collect(), signed)
            }
            _ => unreachable!("only sends of submissions were taken"),
        };
        sends.map(message).collect()
    }

    /// The answers since last asked: ticket, place, answer.
    fn answers(&mut self) -> Vec<(Ticket, usize, Answer)> {
        let answered = self.effects.extract_if(.., |effect| matches!(effect, Effect::Answered { .. }));
        let answer = |effect| match effect {
            Effect::Answered { ticket, index, answer, .. } => (ticket, index, answer),
            _ => unreachable!("only answers were taken"),
        };
        answered.map(answer).collect()
    }
}

fn digest(number: u64, operation: &[u8]) -> Digest {
    RequestId { client: client(), session: SESSION, number: RequestNumber(number) }.digest(operation)
}

/// A reply of a replica in view 0.
fn answer(number: u64, operation: &[u8], sequence: u64, outcome: Outcome) -> Reply {
    Reply {
        view: View(0),
        session: SESSION,
        number: RequestNumber(number),
        digest: digest(number, operation),
        sequence: Sequence(sequence),
        outcome,
    }
}

fn executed(number: u64, operation: &[u8], sequence: u64, result: &'static [u8]) -> Reply {
    answer(number, operation, sequence, Outcome::Executed(Bytes::from_static(result)))
}

fn refused(number: u64, operation: &[u8], sequence: u64, refusal: Refusal) -> Reply {
    answer(number, operation, sequence, Outcome::Refused(refusal))
}

fn result(sequence: u64, result: &'static [u8]) -> Answer {
    Answer::Executed { sequence: Sequence(sequence), result: Bytes::from_static(result) }
}
