//! A client's submission: answered again, waiting, passed on (N8).

use pbft_crypto::Verified;
use pbft_messages::{Parameters, PeerMessage, ReplicaId, Reply, Submission};

use crate::replica::Replica;
use crate::waiting::{Admission, Load};
use crate::{Effect, Effects, Now, Rejection, Report};

impl Replica {
    /// A submission from its client.
    pub(crate) fn on_submission(
        &mut self,
        submission: Verified<Submission>,
        now: Now,
        effects: &mut Effects,
    ) {
        if self.answer_again(&submission, effects) {
            return;
        }
        let parameters = self.parameters();
        let limit = Load { requests: self.pace.limit(parameters), bytes: parameters.waiting_bytes };
        match self.waiting.insert(&submission, limit, self.patience.at(now.instant)) {
            // The client asks again: perhaps the primary has not heard of it.
            Admission::New | Admission::Known => self.forward(&submission, effects),
            Admission::Full => {
                let (client, value) = (submission.signer(), submission.value());
                let first = value.requests().next().map(|request| request.number).unwrap_or_default();
                self.pace.shed();
                effects.report(Report::Shed);
                effects.push(Effect::Busy { client, session: value.session(), first });
            }
        }
    }

    /// A submission that a backup passes to this primary. It is not shed for the pace's sake: what another replica has
    /// taken on, it times (N8).
    pub(crate) fn on_forward(
        &mut self,
        from: ReplicaId,
        submission: Verified<Submission>,
        now: Now,
        effects: &mut Effects,
    ) {
        if !self.is_primary() {
            return self.reject(from, Rejection::Unasked, effects);
        }
        if !self.answer_again(&submission, effects) {
            let Parameters { waiting_requests, waiting_bytes, .. } = *self.parameters();
            // What all backups may have taken on has room here (N8), of each client too.
            let n = self.configuration.n();
            let limit = Load { requests: n * waiting_requests, bytes: n * waiting_bytes };
            self.waiting.insert(&submission, limit, self.patience.at(now.instant));
        }
    }

    /// Passes a submission to the primary.
    fn forward(&self, submission: &Verified<Submission>, effects: &mut Effects) {
        if !self.is_primary() && self.view.pending.is_none() {
            effects.send(self.primary(), PeerMessage::Forward(submission.signed().clone()));
        }
    }

    /// Passes the oldest waiting submissions to the primary, which may not have them: it is new, or they were lost.
    pub(crate) fn forward_waiting(&self, limit: usize, effects: &mut Effects) {
        for submission in self.waiting.submissions().take(limit) {
            self.forward(submission, effects);
        }
    }

    /// Sends the kept replies if every request of the submission was executed; says whether.
    fn answer_again(&self, submission: &Verified<Submission>, effects: &mut Effects) -> bool {
        let (client, value) = (submission.signer(), submission.value());
        let session = value.session();
        let replies: Option<Vec<_>> = value
            .ids(client)
            .zip(value.requests())
            .map(|(id, request)| {
                let (digest, sequence, outcome) = self.ledger.answer(id, request.operation)?;
                Some(Reply { view: self.view.active, session, number: id.number, digest, sequence, outcome })
            })
            .collect();
        match replies {
            Some(replies) => {
                effects.push(Effect::Reply { client, session, replies });
                true
            }
            None => false,
        }
    }
}
