//! Clients' unordered reads (N5): of how many keys there are, which tells exactly which of the clients' requests, that
//! each put a key of its own, are done.

use std::collections::BTreeMap;

use pbft_messages::{Quorum, Read, ReadAnswer, ReadId, ReadOutcome, ReplicaId, Sequence};
use pbft_service::kv::{Answer, Keys, Operation, Range, Reply};

/// The reads of all clients. One that no quorum answers stays open: its client would order it.
#[derive(Default)]
pub(crate) struct Reads {
    open: BTreeMap<ReadId, Open>,
    next: ReadId,
    pub(crate) answered: usize,
}

struct Open {
    /// What anybody knew of when the read began.
    known: Sequence,
    said: BTreeMap<ReplicaId, ReadOutcome>,
}

impl Reads {
    /// Begins a read.
    pub(crate) fn begin(&mut self, known: Sequence) -> Read {
        let id = self.next;
        self.next = ReadId(id.0 + 1);
        self.open.insert(id, Open { known, said: BTreeMap::new() });
        let operation = Operation::Range(Range { count_only: true, ..Range::new(Keys::prefix("")) });
        Read { id, operation: operation.encode() }
    }

    /// Takes a replica's answer. Once a quorum says the same: what was known when the read began, and how many keys
    /// there are.
    pub(crate) fn on_answer(
        &mut self,
        from: ReplicaId,
        answer: ReadAnswer,
        quorum: Quorum,
    ) -> Option<(Sequence, u64)> {
        let open = self.open.get_mut(&answer.id)?;
        let ReadOutcome::Result { result, .. } = answer.outcome.clone() else { return None };
        open.said.insert(from, answer.outcome);
        let alike =
            |said: &&ReadOutcome| matches!(said, ReadOutcome::Result { result: it, .. } if *it == result);
        if !quorum.reached(open.said.values().filter(alike).count()) {
            return None;
        }
        let open = self.open.remove(&answer.id)?;
        self.answered += 1;
        let reply = Reply::decode(&result).expect("the store's own encoding").expect("counting succeeds");
        let Answer::Range(range) = reply.answer else { unreachable!("it was asked for a range") };
        Some((open.known, range.count.expect("it was asked for")))
    }

    /// How many reads have no answer.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }
}
