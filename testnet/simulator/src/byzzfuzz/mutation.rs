//! One mutated copy of a message, signed again with the sender's real key.

use std::sync::Arc;

use rand::{Rng, RngExt as _};

use pbft_byzantine::Identity;
use pbft_crypto::{Digest, Signed, Statement, Verified};
use pbft_messages::{
    Body, CarriedOver, Checkpoint, Configuration, Endorsed, Evidence, NewView, Outcome, PeerMessage,
    PrePrepare, Prepare, PreparedCertificate, ReadOutcome, Refusal, ReplicaId, ReplicaMessage, Sequence,
    ShownView, Submission, Timestamp, ViewChange,
};

use super::values::Values;

/// How often a change is drawn until it makes a difference.
const TRIES: usize = 16;

/// Who lies, and how.
pub(crate) struct Liar<'a, R> {
    pub(crate) identity: &'a Identity,
    pub(crate) values: Values<'a, R>,
    /// What it has sent before, oldest first.
    pub(crate) earlier: &'a [PeerMessage],
}

impl<R: Rng> Liar<'_, R> {
    /// What is sent in place of a message to another replica; `None`: nothing.
    pub(crate) fn mutate(&mut self, message: &PeerMessage) -> Option<PeerMessage> {
        match self.pick(8) {
            0 => None,
            1 => self.earlier_than(message).or_else(|| self.changed(message, Self::change)),
            _ => self.changed(message, Self::change),
        }
    }

    /// A copy that differs, unless there is hardly one: then nothing.
    fn changed<T: Clone + PartialEq>(&mut self, right: &T, change: fn(&mut Self, T) -> T) -> Option<T> {
        (0..TRIES).map(|_| change(self, right.clone())).find(|copy| copy != right)
    }

    /// What is sent in place of an answer to a client; `None`: nothing.
    pub(crate) fn mutate_answer(
        &mut self,
        message: &ReplicaMessage,
        earlier: &[ReplicaMessage],
    ) -> Option<ReplicaMessage> {
        match (self.pick(8), earlier) {
            (0, _) => None,
            (1, [_, ..]) => Some(earlier[self.pick(earlier.len())].clone()).filter(|it| it != message),
            _ => self.changed(message, Self::change_answer),
        }
    }

    fn change_answer(&mut self, mut message: ReplicaMessage) -> ReplicaMessage {
        match &mut message {
            ReplicaMessage::Replies(replies) => {
                let place = self.pick(replies.len().max(1));
                let Some(reply) = replies.get_mut(place) else { return message };
                match self.pick(6) {
                    0 => reply.view = self.values.view(reply.view),
                    1 => reply.sequence = self.values.sequence(reply.sequence),
                    2 => reply.digest = self.digest(),
                    3 => reply.number.0 = self.values.number(reply.number.0),
                    4 => reply.outcome = Outcome::Refused(Refusal::BeyondWindow),
                    _ => {
                        if let Outcome::Executed(result) = &mut reply.outcome {
                            *result = self.values.bytes(result, |last| last.wrapping_add(1));
                        }
                    }
                }
            }
            ReplicaMessage::Busy { first, .. } => first.0 = self.values.number(first.0),
            ReplicaMessage::Read(answer) => match &mut answer.outcome {
                ReadOutcome::Result { sequence, result } => {
                    *sequence = self.values.sequence(*sequence);
                    *result = self.values.bytes(result, |last| last.wrapping_add(1));
                }
                outcome @ ReadOutcome::Refused => {
                    *outcome =
                        ReadOutcome::Result { sequence: Default::default(), result: Default::default() };
                }
            },
        }
        message
    }

    fn pick(&mut self, choices: usize) -> usize {
        self.values.random.random_range(0..choices)
    }

    /// Another message that was sent before: one of the same kind, or any.
    fn earlier_than(&mut self, message: &PeerMessage) -> Option<PeerMessage> {
        let (any_kind, kind) = (self.pick(2) == 0, std::mem::discriminant(message));
        let fits = |it: &&PeerMessage| *it != message && (any_kind || std::mem::discriminant(*it) == kind);
        let all: Vec<_> = self.earlier.iter().filter(fits).collect();
        if all.is_empty() {
            return None;
        }
        let place = self.pick(all.len());
        Some(all[place].clone())
    }

    /// Another digest: often one that it has voted for before.
    fn digest(&mut self) -> Digest {
        let voted = |it: &PeerMessage| match it {
            PeerMessage::Prepare(vote, _) => vote.peek().ok().map(|it| it.digest),
            PeerMessage::Commit(vote) => vote.peek().ok().map(|it| it.digest),
            _ => None,
        };
        let voted: Vec<_> = self.earlier.iter().filter_map(voted).collect();
        match voted.is_empty() || self.pick(2) == 0 {
            true => self.values.digest(),
            false => voted[self.pick(voted.len())],
        }
    }

    fn change(&mut self, message: PeerMessage) -> PeerMessage {
        match message {
            PeerMessage::Proposal(header, body) => self.proposal(&header, body),
            PeerMessage::Prepare(vote, signature) => match self.pick(6) {
                0 => PeerMessage::Prepare(vote, self.values.signature()),
                _ => PeerMessage::Prepare(self.again(&vote, Self::prepare), signature),
            },
            PeerMessage::Commit(vote) => {
                PeerMessage::Commit(self.again(&vote, |liar, vote| match liar.pick(3) {
                    0 => vote.view = liar.values.view(vote.view),
                    1 => vote.sequence = liar.values.sequence(vote.sequence),
                    _ => vote.digest = liar.digest(),
                }))
            }
            PeerMessage::Checkpoint(vote) => PeerMessage::Checkpoint(self.again(&vote, Self::checkpoint)),
            PeerMessage::ViewChange(signed) => {
                PeerMessage::ViewChange(self.again(&signed, Self::view_change))
            }
            PeerMessage::NewView(signed) => PeerMessage::NewView(self.again(&signed, Self::new_view)),
            PeerMessage::Forward(signed) => PeerMessage::Forward(self.forge(&signed)),
            PeerMessage::Status(mut status) => {
                match self.pick(6) {
                    0 => status.view = self.values.view(status.view),
                    1 => status.stable = self.values.sequence(status.stable),
                    2 => status.last_executed = self.values.sequence(status.last_executed),
                    3 => status.pending = Some(self.values.view(status.view)),
                    4 => status.recovering = Some(self.values.sequence(status.stable)),
                    _ => status.slots.clear(),
                }
                PeerMessage::Status(status)
            }
            PeerMessage::FetchBody(_) => PeerMessage::FetchBody(self.digest()),
            PeerMessage::Body(body) => PeerMessage::Body(Arc::new(self.body(&body))),
            PeerMessage::Prepared(mut certificate, body) => {
                self.prepared(&mut certificate);
                PeerMessage::Prepared(certificate, body)
            }
            PeerMessage::Committed(mut certificate, body) => {
                match self.pick(4) {
                    0 => certificate.statement.view = self.values.view(certificate.statement.view),
                    1 => {
                        certificate.statement.sequence = self.values.sequence(certificate.statement.sequence)
                    }
                    2 => {
                        let body = self.body(&body);
                        certificate.statement.digest = body.digest();
                        return PeerMessage::Committed(certificate, Arc::new(body));
                    }
                    _ => self.votes(&mut certificate),
                }
                PeerMessage::Committed(certificate, body)
            }
            PeerMessage::Stable(mut certificate) => {
                match self.pick(3) {
                    0 => self.checkpoint(&mut certificate.statement),
                    _ => self.votes(&mut certificate),
                }
                PeerMessage::Stable(certificate)
            }
            PeerMessage::FetchPart(mut id) => {
                id.sequence = self.values.sequence(id.sequence);
                PeerMessage::FetchPart(id)
            }
            PeerMessage::Leaves(mut page) => {
                match self.pick(4) {
                    0 => page.sequence = self.values.sequence(page.sequence),
                    1 => page.count = self.values.number(page.count),
                    2 => self.values.shorten(&mut page.leaves),
                    _ => page.leaves.push(self.digest()),
                }
                PeerMessage::Leaves(page)
            }
            PeerMessage::Chunk(mut chunk) => {
                match self.pick(3) {
                    0 => chunk.sequence = self.values.sequence(chunk.sequence),
                    1 => chunk.index = self.values.number(chunk.index),
                    _ => chunk.content = self.values.bytes(&chunk.content, |last| last.wrapping_add(1)),
                }
                PeerMessage::Chunk(chunk)
            }
            PeerMessage::NoSnapshot(sequence) => PeerMessage::NoSnapshot(self.values.sequence(sequence)),
            PeerMessage::Evidence(evidence) => PeerMessage::Evidence(self.evidence(evidence)),
            PeerMessage::AskRecovery(mut nonce) => {
                self.values.random.fill(&mut nonce.0);
                PeerMessage::AskRecovery(nonce)
            }
            PeerMessage::RecoveryAnswer(signed) => {
                PeerMessage::RecoveryAnswer(self.again(&signed, |liar, answer| match liar.pick(5) {
                    0 => answer.view = liar.values.view(answer.view),
                    1 => answer.last_executed = liar.values.sequence(answer.last_executed),
                    2 => answer.shown = ShownView::Genesis,
                    3 => answer.stable = None,
                    _ => answer.view_change = None,
                }))
            }
        }
    }

    /// The statement changed and signed anew, in this replica's own name whoever signed it before.
    fn again<T>(&mut self, signed: &Signed<T>, change: impl FnOnce(&mut Self, &mut T)) -> Signed<T>
    where
        T: Statement<Signer = ReplicaId, Keyring = Configuration>,
    {
        let Ok(mut statement) = signed.peek() else { return signed.clone() };
        change(self, &mut statement);
        let Identity { replica, signer, configuration, .. } = self.identity;
        Verified::sign(statement, *replica, &**signer, configuration.scope()).signed().clone()
    }

    fn proposal(&mut self, header: &Signed<PrePrepare>, body: Arc<Body>) -> PeerMessage {
        match self.pick(5) {
            0 => {
                let header = self.again(header, |liar, it| it.view = liar.values.view(it.view));
                PeerMessage::Proposal(header, body)
            }
            1 => {
                let header = self.again(header, |liar, it| it.sequence = liar.values.sequence(it.sequence));
                PeerMessage::Proposal(header, body)
            }
            2 => PeerMessage::Proposal(self.again(header, |liar, it| it.digest = liar.digest()), body),
            _ => {
                let body = self.body(&body);
                let header = self.again(header, |_, it| it.digest = body.digest());
                PeerMessage::Proposal(header, Arc::new(body))
            }
        }
    }

    /// Another body: at another time, of fewer submissions, with one that no client signed, or the null batch.
    fn body(&mut self, body: &Body) -> Body {
        let Some(Timestamp(time)) = body.time() else { return Body::new(Timestamp(1), []) };
        match self.pick(4) {
            0 => Body::null(),
            1 => Body::new(Timestamp(time), []),
            2 => match body.submissions().first() {
                Some(ordered) => {
                    let forged = self.operand(ordered.submission().clone());
                    let Identity { signer, configuration, .. } = self.identity;
                    let forged = Verified::sign(forged, ordered.client(), &**signer, configuration.scope());
                    Body::new(Timestamp(time), [&forged])
                }
                None => body.with_time(Timestamp(time.saturating_add(1))),
            },
            _ => body.with_time(Timestamp(self.values.number(time))),
        }
    }

    /// A client's submission with another operand, signed with the wrong key: there is no other at hand.
    fn forge(&mut self, signed: &Signed<Submission>) -> Signed<Submission> {
        let Ok(submission) = signed.peek() else { return signed.clone() };
        let forged = self.operand(submission);
        let Identity { signer, configuration, .. } = self.identity;
        Verified::sign(forged, signed.claimed_signer(), &**signer, configuration.scope()).signed().clone()
    }

    fn operand(&mut self, mut submission: Submission) -> Submission {
        match &mut submission {
            Submission::Open { session } => session.0 = self.values.number(session.0),
            Submission::Requests { operations, .. } => {
                if let Some(operation) = operations.first_mut() {
                    *operation = self.values.bytes(operation, |last| last.wrapping_sub(1));
                }
            }
        }
        submission
    }

    fn prepare(&mut self, vote: &mut Prepare) {
        match self.pick(3) {
            0 => vote.view = self.values.view(vote.view),
            1 => vote.sequence = self.values.sequence(vote.sequence),
            _ => vote.digest = self.digest(),
        }
    }

    fn checkpoint(&mut self, vote: &mut Checkpoint) {
        let interval = self.identity.configuration.parameters().checkpoint_interval;
        match self.pick(3) {
            0 => vote.sequence = self.values.sequence(vote.sequence),
            // One checkpoint off: a sequence that is none is refused at once.
            1 => vote.sequence.0 = self.values.number(vote.sequence.0 / interval).saturating_mul(interval),
            _ => vote.root = self.digest(),
        }
    }

    fn view_change(&mut self, it: &mut ViewChange) {
        match self.pick(7) {
            0 => it.view = self.values.view(it.view),
            1 => it.prepared.clear(),
            2 => self.values.shorten(&mut it.prepared),
            3 => self.values.repeat(&mut it.prepared),
            4 => it.stable = None,
            5 => {
                if let Some(stable) = &mut it.stable {
                    match self.pick(2) {
                        0 => self.checkpoint(&mut stable.statement),
                        _ => self.votes(stable),
                    }
                }
            }
            _ => {
                let place = self.pick(it.prepared.len().max(1));
                if let Some(certificate) = it.prepared.get_mut(place) {
                    self.prepared(certificate);
                }
            }
        }
    }

    fn new_view(&mut self, it: &mut NewView) {
        match self.pick(8) {
            0 => it.view = self.values.view(it.view),
            1 => {
                self.values.shorten(&mut it.view_changes);
                self.follow(it);
            }
            2 => {
                self.values.repeat(&mut it.view_changes);
                self.follow(it);
            }
            3 => it.pre_prepares.clear(),
            4 => self.values.shorten(&mut it.pre_prepares),
            5 => {
                let last = it.pre_prepares.last().and_then(|last| last.peek().ok());
                let first = PrePrepare { view: it.view, sequence: Sequence(0), digest: self.digest() };
                let next = last.unwrap_or(first);
                let Identity { replica, signer, configuration, .. } = self.identity;
                let next = PrePrepare { sequence: next.sequence.next(), ..next };
                let added = Verified::sign(next, *replica, &**signer, configuration.scope());
                it.pre_prepares.push(added.signed().clone());
            }
            6 => {
                let place = self.pick(it.view_changes.len().max(1));
                if let Some(shown) = it.view_changes.get_mut(place) {
                    *shown = self.again(shown, Self::view_change);
                }
            }
            _ => {
                let place = self.pick(it.pre_prepares.len().max(1));
                if let Some(header) = it.pre_prepares.get_mut(place) {
                    *header = self.again(header, |liar, it| it.digest = liar.digest());
                }
            }
        }
    }

    /// Perhaps makes O follow from V again, so that nothing else is wrong.
    fn follow(&mut self, it: &mut NewView) {
        let shown: Result<Vec<_>, _> = it.view_changes.iter().map(Signed::peek).collect();
        let carried = shown.ok().and_then(|shown| CarriedOver::from_view_changes(&shown).ok());
        if let Some(carried) = carried.filter(|_| self.pick(4) > 0) {
            let Identity { replica, signer, configuration, .. } = self.identity;
            let sign = |it| Verified::sign(it, *replica, &**signer, configuration.scope()).signed().clone();
            it.pre_prepares = carried.pre_prepares(it.view).map(sign).collect();
        }
    }

    fn prepared(&mut self, it: &mut PreparedCertificate) {
        match self.pick(3) {
            0 => self.prepare(&mut it.prepares.statement),
            1 => self.votes(&mut it.prepares),
            _ => {
                // Its own word in the primary's place, and everything else made to fit.
                self.prepare(&mut it.prepares.statement);
                let Prepare { view, sequence, digest } = it.prepares.statement;
                it.header =
                    self.again(&it.header, |_, header| *header = PrePrepare { view, sequence, digest });
            }
        }
    }

    fn votes<T>(&mut self, it: &mut Endorsed<T>) {
        match self.pick(4) {
            0 => it.signatures.clear(),
            1 => self.values.shorten(&mut it.signatures),
            2 => self.values.repeat(&mut it.signatures),
            _ => {
                let place = self.pick(it.signatures.len().max(1));
                if let Some((_, signature)) = it.signatures.get_mut(place) {
                    *signature = self.values.signature();
                }
            }
        }
    }

    /// Only a NEW-VIEW can be shown as wrong without a second statement: then one of this replica's own make.
    fn evidence(&mut self, evidence: Evidence) -> Evidence {
        match evidence {
            Evidence::WrongNewView(signed) => Evidence::WrongNewView(self.again(&signed, Self::new_view)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
