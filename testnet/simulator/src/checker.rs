//! Invariants, checked as executions happen, by code that shares nothing with the replicas' decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use pbft_crypto::Digest;
use pbft_messages::{ClientId, RequestId, Sequence, Timestamp, View};
use pbft_protocol::{Execution, Operation};
use pbft_service::kv::{self, Reply};

use crate::InstanceId;
use crate::model::Model;
use crate::violation::{Invariant, Violation};

/// What all correct replicas have in common.
#[derive(Default)]
pub(crate) struct Checker {
    /// The one batch at each sequence, by what the replicas say of it (I1).
    executed: BTreeMap<Sequence, Digest>,
    /// What the services were given to execute at each sequence (I1).
    given: BTreeMap<Sequence, Execution>,
    /// The one time of each timed batch, and when it was first executed (I1, N6).
    times: BTreeMap<Sequence, (Duration, Timestamp)>,
    /// The one state after each checkpoint (I1).
    roots: BTreeMap<Sequence, Digest>,
    /// Every operation that a client signed. Clients never sign the same operation twice.
    operations: BTreeMap<(ClientId, Bytes), Issued>,
    /// The one operation that was executed of each request, if it is known of which request it is (I3).
    requests: BTreeMap<RequestId, Bytes>,
    /// The committed order, replayed; `None` if the service is not the key-value store.
    replay: Option<Replay>,
    /// Whether more than f replicas are malicious, so that they can answer for what correct ones have yet to execute.
    pub(crate) beyond_f: bool,
    /// What clients were told of before any correct replica executed it.
    told: BTreeMap<Sequence, Vec<(ClientId, Bytes)>>,
    /// The highest sequence that a client knows of, by an acknowledgement or by a read.
    known: Sequence,
    /// The highest view that a correct replica has entered.
    entered: View,
    violations: Vec<Violation>,
    now: Duration,
    step: u64,
}

/// An operation that a client signed.
struct Issued {
    /// The highest sequence that a client knew of before: it is executed above (I4).
    after: Sequence,
    /// As which requests. Reads may be several, and what is no read only one.
    requests: BTreeSet<RequestId>,
    /// Where it was executed: once at most, unless it only reads, and then perhaps several times in one batch (I3).
    executed: Vec<Executed>,
    only_reads: bool,
}

struct Executed {
    at: Sequence,
    /// What it must be answered, if that is known (I4).
    reply: Option<Reply>,
    is_replied: bool,
}

/// The committed order, replayed through a model.
#[derive(Default)]
struct Replay {
    model: Model,
    /// The last batch that the model has executed.
    through: Sequence,
}

impl Issued {
    /// What a client must be told of an execution. Where a batch holds a read twice, it is told either of two things.
    fn replied(&mut self, at: Sequence, reply: Option<Reply>) {
        if let Some(executed) = self.executed.iter_mut().find(|it| it.at == at) {
            executed.reply = if executed.is_replied { None } else { reply };
            executed.is_replied = true;
        }
    }
}

impl Checker {
    /// A checker of a key-value store, or of another service, of whose results it knows nothing.
    pub(crate) fn new(key_value: bool) -> Self {
        Self { replay: key_value.then(Replay::default), ..Self::default() }
    }

    /// The next of the run's events happens.
    pub(crate) fn event(&mut self, now: Duration) {
        self.now = now;
        self.step += 1;
    }

    /// How many events have happened.
    pub(crate) fn step(&self) -> u64 {
        self.step
    }

    /// A client signs a request.
    pub(crate) fn issued(&mut self, request: RequestId, operation: Bytes) {
        let after = self.known;
        let issued = self.operations.entry((request.client, operation));
        let issued = issued.or_insert_with_key(|(_, operation)| {
            let only_reads = kv::Operation::decode(operation).is_ok_and(|it| it.is_read_only());
            Issued { after, requests: BTreeSet::new(), executed: Vec::new(), only_reads }
        });
        issued.requests.insert(request);
    }

    /// A correct replica's service, which has executed everything through `last`, executes a batch.
    pub(crate) fn executes(&mut self, replica: InstanceId, last: Sequence, execution: &Execution) {
        let sequence = execution.sequence;
        if sequence != last.next() {
            self.violated(Invariant::I3, format!("{replica} executed {sequence} after {last}"));
        }
        if let Some(time) = execution.time {
            self.time(replica, sequence, time);
        }
        match self.given.get(&sequence) {
            Some(first) if first == execution => return,
            Some(_) => {
                let text = format!("{replica} executed other operations at {sequence} than another replica");
                self.violated(Invariant::I1, text);
            }
            None => drop(self.given.insert(sequence, execution.clone())),
        }
        let mut here = BTreeSet::new();
        for it in &execution.operations {
            let is_new = here.insert((it.client, &it.operation));
            self.operation(replica, it, sequence, is_new);
        }
        for (client, operation) in self.told.remove(&sequence).unwrap_or_default() {
            if execution.operations.iter().all(|it| (it.client, &it.operation) != (client, &operation)) {
                let text =
                    format!("client {client} was told of an execution at {sequence} that is not there");
                self.violated(Invariant::I5, text);
            }
        }
        let Some(replay) = &mut self.replay else { return };
        while let Some(execution) = self.given.get(&replay.through.next()) {
            replay.through = execution.sequence;
            for it in &execution.operations {
                let reply = replay.model.execute(replay.through, &it.operation);
                if let Some(issued) = self.operations.get_mut(&(it.client, it.operation.clone())) {
                    issued.replied(replay.through, reply);
                }
            }
        }
    }

    /// A service executes an operation, for the first time in its batch if it `is_new`.
    fn operation(&mut self, replica: InstanceId, it: &Operation, sequence: Sequence, is_new: bool) {
        let Operation { client, session, operation } = it;
        let issued = self.operations.get_mut(&(*client, operation.clone()));
        let Some(issued) = issued.filter(|it| it.requests.iter().any(|it| it.session == *session)) else {
            let text = format!("{replica} executed an operation that client {client} never signed");
            return self.violated(Invariant::I2, text);
        };
        let (after, only_reads) = (issued.after, issued.only_reads);
        let before = issued.executed.first().map(|it| it.at);
        if issued.executed.iter().all(|it| it.at != sequence) {
            issued.executed.push(Executed { at: sequence, reply: None, is_replied: false });
        }
        let mut named = issued.requests.iter().filter(|it| it.session == *session);
        let request = named.next().copied().filter(|_| named.next().is_none());
        if let Some(first) = before.filter(|first| !only_reads && (*first != sequence || !is_new)) {
            let text = format!("{replica} executed an operation at {sequence} that was executed at {first}");
            self.violated(Invariant::I3, text);
        }
        if let Some(request) = request
            && *self.requests.entry(request).or_insert_with(|| operation.clone()) != *operation
        {
            let number = request.number;
            let text =
                format!("{replica} executed another request {number} of client {client} at {sequence}");
            self.violated(Invariant::I3, text);
        }
        if sequence <= after {
            let text = format!("executed at {sequence}, issued when {after} was answered");
            self.violated(Invariant::I4, text);
        }
    }

    /// A correct replica has executed a batch.
    pub(crate) fn batch(&mut self, replica: InstanceId, sequence: Sequence, digest: Digest) {
        let first = *self.executed.entry(sequence).or_insert(digest);
        if first != digest {
            self.violated(
                Invariant::I1,
                format!("{replica} executed {digest:?} at {sequence}, another replica {first:?}"),
            );
        }
    }

    /// A correct replica's service is told the time of a batch: the same everywhere, and it rises strictly.
    fn time(&mut self, replica: InstanceId, sequence: Sequence, time: Timestamp) {
        let first = self.times.entry(sequence).or_insert((self.now, time)).1;
        let before = self.times.range(..sequence).next_back().map(|(_, (_, time))| *time);
        let after = self.times.range(sequence.next()..).next().map(|(_, (_, time))| *time);
        if first != time || before.is_some_and(|it| it >= time) || after.is_some_and(|it| it <= time) {
            self.violated(Invariant::N6, format!("{replica} was told {time:?} at {sequence}, another replica {first:?}, between {before:?} and {after:?}"
            ));
        }
    }

    /// When each timed batch was first executed, and its time.
    pub(crate) fn times(&self) -> impl Iterator<Item = (Duration, Timestamp)> + '_ {
        self.times.values().copied()
    }

    /// A correct replica has taken a checkpoint, or shown its state.
    pub(crate) fn root(&mut self, replica: InstanceId, sequence: Sequence, root: Digest) {
        let first = *self.roots.entry(sequence).or_insert(root);
        if first != root {
            self.violated(
                Invariant::I1,
                format!("{replica} has state {root:?} after {sequence}, another replica {first:?}"),
            );
        }
    }

    /// A client believes that its operation was executed at a sequence (I5), with a result (I4).
    pub(crate) fn acknowledged(
        &mut self,
        client: ClientId,
        operation: &Bytes,
        sequence: Sequence,
        result: &[u8],
    ) {
        let issued = self.operations.get(&(client, operation.clone()));
        let executed = issued.and_then(|it| it.executed.iter().find(|executed| executed.at == sequence));
        let is_right = |reply: &Reply| matches!(Reply::decode(result), Ok(Ok(told)) if told == *reply);
        match executed {
            // Liars may know of it before any correct replica executes it; where one has, it is not there.
            None if self.beyond_f && !self.given.contains_key(&sequence) => {
                self.told.entry(sequence).or_default().push((client, operation.clone()));
            }
            None => {
                let text = format!("client {client} was told of an execution at {sequence} that never was");
                self.violated(Invariant::I5, text);
            }
            Some(Executed { reply: Some(reply), .. }) if !is_right(reply) => {
                let told = Reply::decode(result);
                let text = format!("client {client} was told {told:?} at {sequence}; it is {reply:?}");
                self.violated(Invariant::I4, text);
            }
            Some(_) => {}
        }
        self.known = self.known.max(sequence);
    }

    /// A correct replica is in a view.
    pub(crate) fn entered(&mut self, view: View) {
        self.entered = self.entered.max(view);
    }

    /// A client believes that the cluster is in a view: f+1 replicas have said so, one of them correct.
    pub(crate) fn believes(&mut self, client: ClientId, view: View) {
        if view > self.entered && !self.beyond_f {
            let text = format!("client {client} follows view {view}, which no correct replica has entered");
            self.violated(Invariant::N5, text);
        }
    }

    /// The highest sequence that a client knows of.
    pub(crate) fn known(&self) -> Sequence {
        self.known
    }

    /// An unordered read that began when `known` was known has shown a result: it must be that of the state after some
    /// sequence from there on (fault 36), and later reads must show that state too. Of the sequences that would do, the
    /// lowest asks least of the reads after it.
    pub(crate) fn read(&mut self, known: Sequence, operation: &[u8], result: &[u8]) {
        let Some(replay) = &self.replay else { return };
        match replay.model.shown_after(known, operation, result) {
            Some(sequence) => self.known = self.known.max(sequence),
            None => {
                let shown = Reply::decode(result);
                let text = format!("a read showed {shown:?}, which no state from {known} on does");
                self.violated(Invariant::N5, text);
            }
        }
    }

    /// A guarantee was broken.
    pub(crate) fn violated(&mut self, invariant: Invariant, text: String) {
        self.violations.push(Violation { invariant, at: self.now, step: self.step, text });
    }

    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn highest(&self) -> Sequence {
        self.executed.keys().next_back().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
