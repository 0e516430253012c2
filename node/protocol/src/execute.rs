//! Execution, strictly in the order of sequences (N4), exactly once (N1), and the replies (N5).

use std::collections::BTreeMap;

use bytes::Bytes;

use pbft_crypto::{Digest, mutant};
use pbft_messages::{ClientId, Outcome, Reply, RequestId, Sequence, SessionId, Timestamp};

use crate::ledger::Judgement;
use crate::log::Slot;
use crate::replica::Replica;
use crate::{Effect, Effects, Execution, Now, Operation, Report};

/// The batch that the service is executing, and what is to be answered when it has.
#[derive(Debug)]
pub(crate) struct InExecution {
    sequence: Sequence,
    digest: Digest,
    /// In the order of execution.
    requests: Vec<(RequestId, Digest, Answer)>,
    /// Requests that stand in the batch and are answered by an earlier one.
    repeated: Vec<RequestId>,
}

#[derive(Debug)]
enum Answer {
    /// The service's next result.
    Result,
    /// Known without the service.
    Known(Sequence, Outcome),
}

impl Replica {
    /// Hands the next decided batch to the service, if the last one is done and the body is there.
    pub(crate) fn try_execute(&mut self, effects: &mut Effects) {
        let installing = self.transfer.as_ref().is_some_and(|transfer| transfer.is_installing());
        if self.executing.is_some() || installing || self.stopped {
            return;
        }
        for id in std::mem::take(&mut self.audits) {
            let ledger = self.ledger.chunks();
            effects.push(Effect::Audit { id, sequence: self.last_executed, ledger });
        }
        let sequence = self.last_executed.next();
        let slot = self.log.get(sequence);
        let decided = slot.and_then(Slot::decided).map(|(_, body)| body);
        let undecided = || {
            let slot = slot.filter(|_| mutant!("prepared-executed"))?;
            slot.body(&slot.prepared.as_ref()?.get().proposal().digest)
        };
        let Some(body) = decided.or_else(undecided) else { return };
        let mut operations = Vec::with_capacity(body.requests());
        let requests = Vec::with_capacity(body.requests());
        let mut in_execution =
            InExecution { sequence, digest: body.digest(), requests, repeated: Vec::new() };
        let requests = &mut in_execution.requests;
        for ordered in body.submissions() {
            let (client, session) = (ordered.client(), ordered.submission().session());
            for (id, request) in ordered.submission().ids(client).zip(ordered.submission().requests()) {
                let digest = id.digest(request.operation);
                match self.ledger.judge(id, digest, sequence, self.configuration.parameters()) {
                    Judgement::Execute => {
                        operations.push(Operation { client, session, operation: request.operation.clone() });
                        requests.push((id, digest, Answer::Result));
                    }
                    Judgement::Answer(at, outcome) => requests.push((id, digest, Answer::Known(at, outcome))),
                    Judgement::Repeated => in_execution.repeated.push(id),
                }
            }
        }
        let time = body.time().map(|proposed| self.ledger.agree_time(proposed));
        self.executing = Some(in_execution);
        effects.push(Effect::Execute(Execution { sequence, time, operations }));
    }

    /// The service has executed a batch: its requests are answered and wait no more.
    pub(crate) fn on_executed(
        &mut self,
        sequence: Sequence,
        results: Vec<Bytes>,
        next_deadline: Option<Timestamp>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(done) = self.executing.take_if(|batch| batch.sequence == sequence) else { return };
        let requests = results.len();
        self.pace.executed(requests);
        self.vigilance.executed(requests);
        let (mut results, view) = (results.into_iter(), self.view.active);
        let mut replies: BTreeMap<(ClientId, SessionId), Vec<Reply>> = BTreeMap::new();
        for (id, digest, answer) in done.requests {
            let (sequence, outcome) = match answer {
                Answer::Known(sequence, outcome) => (sequence, outcome),
                Answer::Result => {
                    // The driver's duty is one result for each operation; an empty one stands for a missing one.
                    let result = results.next().unwrap_or_default();
                    self.ledger.complete(id, result.clone(), self.configuration.parameters());
                    (sequence, Outcome::Executed(result))
                }
            };
            self.waits_no_more(id, now);
            let RequestId { client, session, number } = id;
            let reply = Reply { view, session, number, digest, sequence, outcome };
            replies.entry((client, session)).or_default().push(reply);
        }
        // A session is answered once a batch, however many submissions of it the batch holds.
        for ((client, session), replies) in replies {
            effects.push(Effect::Reply { client, session, replies });
        }
        for id in done.repeated {
            self.waits_no_more(id, now);
        }
        self.last_executed = sequence;
        if mutant!("any-execution-calms") {
            self.patience.restart(now.instant);
        }
        self.set_deadline(next_deadline, now);
        self.watch_window(now);
        if sequence > self.view.max_s {
            // Real progress: the next view change starts with the plain timeout again (VC7, fault 26).
            self.view.progressed = true;
            if !mutant!("backoff-never-reset") {
                self.view.timeout = self.parameters().view_timeout;
            }
        }
        effects.report(Report::Executed { sequence, digest: done.digest, requests });
        if sequence.0.is_multiple_of(self.parameters().checkpoint_interval) {
            effects.push(Effect::Snapshot { sequence, ledger: self.ledger.chunks() });
        }
    }

    fn waits_no_more(&mut self, id: RequestId, now: Now) {
        if let Some(since) = self.waiting.executed(id) {
            self.pace.waited(self.patience.waited(since, now.instant));
        }
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::Parameters;

    use super::*;
    use crate::testing::Bench;
    use crate::{Input, Record, Timer};

    /// D4: a batch that is prepared, and no more, is not executed after a restart.
    #[test]
    fn what_is_only_prepared_is_not_executed() {
        let parameters = Parameters::default;
        let body = Bench::new(parameters()).body(1, 10);
        let prepared = Bench::new(parameters()).prepared_batch(0, 1, body.digest());
        let records = [Record::Prepared(prepared), Record::Body(Sequence(1), body)];
        let mut bench = Bench::starting_with(parameters(), records).expect("they fit together");
        bench.input(Input::Timer(Timer::Status));
        assert!(bench.replica.executing.is_none());
    }
}
