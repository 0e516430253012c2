//! Executing submissions, each request once.

use std::collections::BTreeMap;

use pbft_crypto::Verified;
use pbft_messages::{
    ClientId, Outcome, Refusal, Reply, RequestId, Sequence, SessionId, Submission, Timestamp, View,
};
use pbft_service::kv::KeyValueStore;
use pbft_service::{Context, Service as _};

/// How many answers of a session are kept: a client has no more requests under way.
const KEPT: u64 = 1024;

/// The service's state, with what was answered, so that a repeated request is answered alike.
#[derive(Default)]
pub(super) struct Sessions {
    store: KeyValueStore,
    sequence: u64,
    answered: BTreeMap<(ClientId, SessionId), BTreeMap<u64, Reply>>,
}

impl Sessions {
    /// Executes a group, in order, as a replica executes a batch; the answers, by session.
    pub(super) fn execute(&mut self, group: &[Verified<Submission>]) -> BTreeMap<SessionId, Vec<Reply>> {
        self.sequence += 1;
        let (sequence, time) = (Sequence(self.sequence), Timestamp(self.sequence));
        self.store.begin_batch(sequence, Some(time));
        let mut replies: BTreeMap<SessionId, Vec<Reply>> = BTreeMap::new();
        for submission in group {
            let client = submission.signer();
            let session = submission.value().session();
            let of_session = replies.entry(session).or_default();
            for request in submission.value().requests() {
                let number = request.number;
                if number.0 == 0 {
                    self.answered.entry((client, session)).or_default();
                }
                let Some(answered) = self.answered.get_mut(&(client, session)) else {
                    let digest = RequestId { client, session, number }.digest(request.operation);
                    let outcome = Outcome::Refused(Refusal::SessionExpired);
                    of_session.push(Reply { view: View(0), session, number, digest, sequence, outcome });
                    continue;
                };
                let reply = answered.entry(number.0).or_insert_with(|| {
                    let outcome = if number.0 == 0 {
                        Outcome::Opened
                    } else {
                        let context = Context { sequence, time, client, session };
                        Outcome::Executed(self.store.execute(&context, request.operation).result)
                    };
                    let digest = RequestId { client, session, number }.digest(request.operation);
                    Reply { view: View(0), session, number, digest, sequence, outcome }
                });
                of_session.push(reply.clone());
                if answered.len() as u64 > KEPT {
                    answered.pop_first();
                }
            }
        }
        replies
    }
}
