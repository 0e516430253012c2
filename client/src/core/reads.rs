//! Unordered reads (N5): every replica is asked, and what a quorum says alike is the answer. Whatever stands in the
//! way of that sends the read the ordered way, so a liar can make a read slower and not wrong (fault 36).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use pbft_crypto::{Digest, Domain};
use pbft_messages::{
    ClientMessage, Configuration, Read, ReadAnswer, ReadId, ReadOutcome, ReplicaId, Sequence,
};

use super::{Answer, FallBack, Ticket};

/// The reads that wait for a quorum.
#[derive(Debug, Default)]
pub(super) struct Reads {
    next: ReadId,
    under_way: BTreeMap<ReadId, UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    ticket: Ticket,
    message: ClientMessage,
    operation: Bytes,
    /// Each replica's latest answer, its result by its digest, so that what liars make up takes no room (R1); `None` if
    /// it refused. At most n entries: a list is quicker than a map.
    answers: Vec<(ReplicaId, Option<(Sequence, Digest)>)>,
    /// When the replicas that have not answered are waited for no longer.
    due: Duration,
}

/// What became of a read.
pub(super) enum Settled {
    /// A quorum agrees.
    Answered(Ticket, Answer),
    /// It is to be ordered.
    FellBack(Ticket, Bytes, FallBack),
}

impl Reads {
    /// Starts a read; gives the message for every replica.
    pub(super) fn start(&mut self, ticket: Ticket, operation: Bytes, due: Duration) -> ClientMessage {
        let id = self.next;
        self.next = ReadId(id.0 + 1);
        let message = ClientMessage::Read(Read { id, operation: operation.clone() });
        let read = UnderWay { ticket, message: message.clone(), operation, answers: Vec::new(), due };
        self.under_way.insert(id, read);
        message
    }

    /// Ends a caller's interest in its read; says whether there was such a read.
    pub(super) fn abandon(&mut self, ticket: Ticket) -> bool {
        self.under_way.extract_if(.., |_, read| read.ticket == ticket).count() > 0
    }

    /// When the next read is due to fall back.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.under_way.values().map(|read| read.due).min()
    }

    /// The messages that a replica has not answered: what was sent into its dead link is lost.
    pub(super) fn unanswered_by(&self, replica: ReplicaId) -> impl Iterator<Item = &ClientMessage> {
        let lacks = move |read: &&UnderWay| !read.answers.iter().any(|(from, _)| *from == replica);
        self.under_way.values().filter(lacks).map(|read| &read.message)
    }

    /// Counts a replica's answer.
    pub(super) fn on_answer(
        &mut self,
        from: ReplicaId,
        answer: &ReadAnswer,
        configuration: &Configuration,
    ) -> Option<Settled> {
        let read = self.under_way.get_mut(&answer.id).filter(|_| from.index() < configuration.n())?;
        let said = match &answer.outcome {
            ReadOutcome::Result { sequence, result } => Some((*sequence, Digest::of(Domain::Answer, result))),
            ReadOutcome::Refused => None,
        };
        match read.answers.iter_mut().find(|(replica, _)| *replica == from) {
            Some((_, earlier)) => *earlier = said,
            None => read.answers.push((from, said)),
        }
        // No quorum agreed before, so none does now on anything but this result.
        let agreed = match &answer.outcome {
            ReadOutcome::Result { result, .. } => said
                .and_then(|(_, digest)| read.agreed(&digest, configuration))
                .map(|sequence| Answer::Read { sequence, result: result.clone() }),
            ReadOutcome::Refused => None,
        };
        if agreed.is_none() && !read.is_hopeless(configuration) {
            return None;
        }
        let read = self.under_way.remove(&answer.id)?;
        Some(match agreed {
            Some(answer) => Settled::Answered(read.ticket, answer),
            None => Settled::FellBack(read.ticket, read.operation, FallBack::Divided),
        })
    }

    /// Gives up the reads that no quorum has answered in time.
    pub(super) fn give_up(&mut self, now: Duration) -> Vec<Settled> {
        let late = self.under_way.extract_if(.., |_, read| read.due <= now);
        late.map(|(_, read)| Settled::FellBack(read.ticket, read.operation, FallBack::Late)).collect()
    }
}

impl UnderWay {
    /// What shows in this result, if Q replicas gave it.
    fn agreed(&self, result: &Digest, configuration: &Configuration) -> Option<Sequence> {
        if !configuration.quorum().reached(self.equal(result).count()) {
            return None;
        }
        let mut sequences: Vec<Sequence> = self.equal(result).collect();
        sequences.sort_unstable_by(|left, right| right.cmp(left));
        // One of the f+1 highest is a correct replica's, which answered from that state or a later one.
        sequences.get(configuration.weak_quorum().get() - 1).copied()
    }

    /// The sequences that came with this result.
    fn equal(&self, result: &Digest) -> impl Iterator<Item = Sequence> {
        let said = self.answers.iter().filter_map(|(_, said)| said.as_ref());
        said.filter(move |(_, other)| other == result).map(|(sequence, _)| *sequence)
    }

    /// Whether no quorum can agree, whatever the rest says.
    fn is_hopeless(&self, configuration: &Configuration) -> bool {
        let results = self.answers.iter().filter_map(|(_, said)| said.as_ref());
        let most = results.map(|(_, result)| self.equal(result).count()).max().unwrap_or(0);
        !configuration.quorum().reached(most + configuration.n() - self.answers.len())
    }
}
