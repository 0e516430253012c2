//! Invariants, checked as executions happen, by code that shares nothing with the replicas' decisions.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use pbft_crypto::Digest;
use pbft_messages::{ClientId, ReplicaId, Sequence, Timestamp};

/// A guarantee that was broken, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

/// What all correct replicas have in common.
#[derive(Default)]
pub(crate) struct Checker {
    /// The one batch at each sequence (I1).
    executed: BTreeMap<Sequence, Digest>,
    /// The one time of each timed batch, and when it was first executed (I1, N6).
    times: BTreeMap<Sequence, (Duration, Timestamp)>,
    /// The one state after each checkpoint (I1).
    roots: BTreeMap<Sequence, Digest>,
    /// Every operation that a client signed. Clients never sign the same operation twice.
    operations: BTreeMap<(ClientId, Bytes), Issued>,
    /// How many operations were executed at each sequence that has some.
    counts: BTreeMap<Sequence, u64>,
    /// The highest sequence that a client knows of, by an acknowledgement or by a read.
    known: Sequence,
    violations: Vec<Violation>,
}

/// An operation that a client signed.
struct Issued {
    /// The highest sequence that a client knew of before: it is executed above (I4).
    after: Sequence,
    /// Where it was executed, if it was (I2, I3).
    executed: Option<Sequence>,
}

impl Checker {
    /// A client signs an operation.
    pub(crate) fn issued(&mut self, client: ClientId, operation: Bytes) {
        let issued = Issued { after: self.known, executed: None };
        self.operations.entry((client, operation)).or_insert(issued);
    }

    /// A correct replica's service executes an operation.
    pub(crate) fn operation(
        &mut self,
        replica: ReplicaId,
        client: ClientId,
        operation: &Bytes,
        sequence: Sequence,
    ) {
        match self.operations.get_mut(&(client, operation.clone())) {
            None => self
                .violated(format!("I2: {replica} executed an operation that client {client} never signed")),
            Some(Issued { after, executed: executed @ None }) => {
                *executed = Some(sequence);
                *self.counts.entry(sequence).or_default() += 1;
                let after = *after;
                if sequence <= after {
                    self.violated(format!("I4: executed at {sequence}, issued when {after} was answered"));
                }
            }
            Some(Issued { executed: Some(first), .. }) if *first == sequence => {}
            Some(Issued { executed: Some(first), .. }) => {
                let first = *first;
                self.violated(format!(
                    "I3: {replica} executed an operation at {sequence} that was executed at {first}"
                ));
            }
        }
    }

    /// A correct replica has executed a batch.
    pub(crate) fn batch(&mut self, replica: ReplicaId, sequence: Sequence, digest: Digest) {
        let first = *self.executed.entry(sequence).or_insert(digest);
        if first != digest {
            self.violated(format!(
                "I1: {replica} executed {digest:?} at {sequence}, another replica {first:?}"
            ));
        }
    }

    /// A correct replica's service is told the time of a batch: the same everywhere, and it rises strictly.
    pub(crate) fn time(&mut self, replica: ReplicaId, sequence: Sequence, now: Duration, time: Timestamp) {
        let first = self.times.entry(sequence).or_insert((now, time)).1;
        let before = self.times.range(..sequence).next_back().map(|(_, (_, time))| *time);
        let after = self.times.range(sequence.next()..).next().map(|(_, (_, time))| *time);
        if first != time || before.is_some_and(|it| it >= time) || after.is_some_and(|it| it <= time) {
            self.violated(format!(
                "N6: {replica} was told {time:?} at {sequence}, another replica {first:?}, between {before:?} and {after:?}"
            ));
        }
    }

    /// When each timed batch was first executed, and its time.
    pub(crate) fn times(&self) -> impl Iterator<Item = (Duration, Timestamp)> + '_ {
        self.times.values().copied()
    }

    /// A correct replica has taken a checkpoint.
    pub(crate) fn root(&mut self, replica: ReplicaId, sequence: Sequence, root: Digest) {
        let first = *self.roots.entry(sequence).or_insert(root);
        if first != root {
            self.violated(format!(
                "I1: {replica} has state {root:?} after {sequence}, another replica {first:?}"
            ));
        }
    }

    /// A client believes that its operation was executed at a sequence (I5).
    pub(crate) fn acknowledged(&mut self, client: ClientId, operation: &Bytes, sequence: Sequence) {
        let executed = self.operations.get(&(client, operation.clone())).and_then(|it| it.executed);
        if executed != Some(sequence) {
            self.violated(format!(
                "I5: client {client} was told of an execution at {sequence}; it was at {executed:?}"
            ));
        }
        self.known = self.known.max(sequence);
    }

    /// The highest sequence that a client knows of.
    pub(crate) fn known(&self) -> Sequence {
        self.known
    }

    /// An unordered read that began when `known` was known has shown the effect of `count` operations: it must be the
    /// state after some sequence from there on (fault 36), and later reads must show it too. Of the sequences that
    /// would do, the lowest asks least of the reads after it.
    pub(crate) fn read(&mut self, known: Sequence, count: u64) {
        let before: u64 = self.counts.range(..=known).map(|(_, operations)| operations).sum();
        let mut states = vec![(known, before)];
        for (sequence, operations) in self.counts.range(known.next()..) {
            let (_, so_far) = states[states.len() - 1];
            states.push((*sequence, so_far + operations));
        }
        match states.iter().find(|(_, operations)| *operations == count) {
            Some((sequence, _)) => self.known = self.known.max(*sequence),
            None => self.violated(format!(
                "N5: a read showed {count} operations; from {known} on there were {before} to {}",
                states[states.len() - 1].1
            )),
        }
    }

    /// A correct replica is accused (I9), or a replica stops though nothing is wrong with it.
    pub(crate) fn violated(&mut self, what: String) {
        self.violations.push(Violation(what));
    }

    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn highest(&self) -> Sequence {
        self.executed.keys().next_back().copied().unwrap_or_default()
    }
}
