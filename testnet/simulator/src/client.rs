//! A simulated client: one session, a window of requests in flight, f+1 matching replies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use pbft_crypto::{Digest, Scope, Signed, Verified};
use pbft_messages::{
    ClientId, Outcome, ReplicaId, Reply, RequestId, RequestNumber, Sequence, SessionId, Submission, View,
};
use pbft_service::kv;

use crate::settings::{client_id, client_key};

/// When an unanswered submission is sent to everybody.
pub(crate) const RETRY: Duration = Duration::from_millis(200);

pub(crate) struct Client {
    index: u16,
    scope: Scope,
    weak_quorum: usize,
    /// How many requests it has yet to issue.
    remaining: u64,
    /// How many it keeps in flight.
    depth: usize,
    next: RequestNumber,
    pub(crate) view: View,
    in_flight: BTreeMap<RequestNumber, Request>,
    pub(crate) answered: Vec<(Bytes, Sequence)>,
}

struct Request {
    signed: Signed<Submission>,
    operation: Bytes,
    digest: Digest,
    replies: BTreeMap<ReplicaId, (Sequence, Outcome, View)>,
}

/// The one session of every client.
pub(crate) const SESSION: SessionId = SessionId(1);

impl Client {
    pub(crate) fn new(index: u16, scope: Scope, weak_quorum: usize) -> Self {
        Self {
            index,
            scope,
            weak_quorum,
            remaining: 0,
            depth: 1,
            next: RequestNumber(0),
            view: View(0),
            in_flight: BTreeMap::new(),
            answered: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> ClientId {
        client_id(self.index)
    }

    /// Asks it to issue more requests, so many at a time.
    pub(crate) fn issue(&mut self, count: u64, depth: usize) {
        self.remaining += count;
        self.depth = depth;
    }

    pub(crate) fn is_done(&self) -> bool {
        self.remaining == 0 && self.in_flight.is_empty()
    }

    /// The next submission to send, if there is one: the session's opening first.
    pub(crate) fn next_submission(&mut self) -> Option<(Signed<Submission>, Bytes)> {
        let opening = self.next == RequestNumber(0);
        let opened = !self.in_flight.contains_key(&RequestNumber(0));
        if self.remaining == 0 || !opened || self.in_flight.len() >= if opening { 1 } else { self.depth } {
            return None;
        }
        let number = self.next;
        self.next = RequestNumber(number.0 + 1);
        let (submission, operation) = if opening {
            (Submission::Open { session: SESSION }, Bytes::new())
        } else {
            self.remaining -= 1;
            let key = format!("client-{}-{}", self.index, number);
            let operation = kv::Operation::put(key, number.to_string()).encode();
            (
                Submission::Requests { session: SESSION, first: number, operations: vec![operation.clone()] },
                operation,
            )
        };
        let signed = self.sign(submission);
        let id = RequestId { client: self.id(), session: SESSION, number };
        let request = Request {
            signed: signed.clone(),
            digest: id.digest(&operation),
            operation: operation.clone(),
            replies: BTreeMap::new(),
        };
        self.in_flight.insert(number, request);
        Some((signed, operation))
    }

    pub(crate) fn sign(&self, submission: Submission) -> Signed<Submission> {
        Verified::sign(submission, self.id(), &client_key(self.index), &self.scope).signed().clone()
    }

    /// The submissions that are not answered.
    pub(crate) fn unanswered(&self) -> Vec<Signed<Submission>> {
        self.in_flight.values().map(|request| request.signed.clone()).collect()
    }

    /// A replica's answer; gives the operation and its place once f+1 agree.
    pub(crate) fn on_reply(&mut self, from: ReplicaId, reply: Reply) -> Option<(Bytes, Sequence, Outcome)> {
        let request = self.in_flight.get_mut(&reply.number)?;
        if reply.digest != request.digest {
            return None;
        }
        request.replies.insert(from, (reply.sequence, reply.outcome.clone(), reply.view));
        let agreeing: BTreeSet<_> = request
            .replies
            .iter()
            .filter(|(_, (sequence, outcome, _))| (*sequence, outcome) == (reply.sequence, &reply.outcome))
            .map(|(replica, _)| *replica)
            .collect();
        if agreeing.len() < self.weak_quorum {
            return None;
        }
        let lowest = agreeing
            .iter()
            .filter_map(|replica| request.replies.get(replica))
            .map(|(_, _, view)| *view)
            .min();
        self.view = self.view.max(lowest.unwrap_or_default());
        let request = self.in_flight.remove(&reply.number)?;
        if reply.number > RequestNumber(0) {
            self.answered.push((request.operation.clone(), reply.sequence));
        }
        Some((request.operation, reply.sequence, reply.outcome))
    }
}
