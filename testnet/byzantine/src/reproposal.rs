//! Primaries that propose something else than their cores do.

use std::collections::VecDeque;
use std::sync::Arc;

use pbft_crypto::Signed;
use pbft_messages::{Body, Message, PeerMessage, PrePrepare, Sequence, View};
use pbft_protocol::{Effect, Effects, Input, Now};

use crate::rewrite::rewrite;
use crate::{Identity, Strategy};

/// A primary that changes each of its proposals, for whoever gets it, and signs it anew. What it has said before stays
/// as it was, also when it is sent again: what its NEW-VIEW carried over, and proposals of before it was malicious. So
/// it never proposes two batches at one place.
///
/// Its own core hears none of the votes in the views that it leads, since they contradict what the core believes it has
/// proposed; it is handed what was committed, like every replica that lags (C4).
pub(crate) struct Reproposal<C> {
    name: &'static str,
    identity: Identity,
    /// What is proposed in place of a proposal; `None` leaves it as it is.
    change: C,
    /// The first place whose proposal it changed in the last view that it led.
    first: Option<(View, Sequence)>,
}

impl<C: FnMut(&PrePrepare, &Body) -> Option<(PrePrepare, Body)>> Reproposal<C> {
    pub(crate) fn new(name: &'static str, identity: &Identity, change: C) -> Self {
        Self { name, identity: identity.clone(), change, first: None }
    }

    fn leads(&self, view: View) -> bool {
        self.identity.configuration.primary(view) == self.identity.replica
    }

    /// What is told in place of a proposal, which is `fresh` if it goes to all: only what was lost goes to one.
    fn proposal(&mut self, header: Signed<PrePrepare>, body: Arc<Body>, fresh: bool) -> PeerMessage {
        let changed = header.peek().ok().filter(|it| self.leads(it.view)).and_then(|proposal| {
            if fresh && self.first.is_none_or(|(view, _)| view < proposal.view) {
                self.first = Some((proposal.view, proposal.sequence));
            }
            let (view, first) = self.first?;
            let lies = proposal.view == view && proposal.sequence >= first;
            if lies { (self.change)(&proposal, &body) } else { None }
        });
        match changed {
            Some((header, body)) => PeerMessage::Proposal(self.identity.sign(header), Arc::new(body)),
            None => PeerMessage::Proposal(header, body),
        }
    }
}

impl<C: FnMut(&PrePrepare, &Body) -> Option<(PrePrepare, Body)> + Send> Strategy for Reproposal<C> {
    fn name(&self) -> &str {
        self.name
    }

    fn hear(&mut self, _: Now, input: Input, heard: &mut VecDeque<Input>) {
        let unheard = match &input {
            Input::Message { message: Message::Prepare(vote, _), .. } => self.leads(vote.value().view),
            Input::Message { message: Message::Commit(vote), .. } => self.leads(vote.value().view),
            _ => false,
        };
        if !unheard {
            heard.push_back(input);
        }
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        rewrite(effects, &mut |effect, out| {
            out.push(match effect {
                Effect::Broadcast(PeerMessage::Proposal(header, body)) => {
                    Effect::Broadcast(self.proposal(header, body, true))
                }
                Effect::Send { to, message: PeerMessage::Proposal(header, body) } => {
                    Effect::Send { to, message: self.proposal(header, body, false) }
                }
                other => other,
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Commit, ReplicaId, Sequence};

    use super::*;
    use crate::testing::{configuration, digest, identity, proposal, told_at};

    #[test]
    fn its_core_hears_no_votes_where_it_leads() {
        let mut reproposal = Reproposal::new("any", &identity(4, ReplicaId(1)), |_: &_, _: &_| None);
        let mut hears = |view| {
            let commit = Commit { view: View(view), sequence: Sequence(9), digest: digest(b"a") };
            let commit = PeerMessage::Commit(identity(4, ReplicaId(3)).sign(commit));
            let message = commit.verify(&configuration(4)).unwrap();
            let mut heard = VecDeque::new();
            reproposal.hear(Now::default(), Input::Message { from: ReplicaId(3), message }, &mut heard);
            heard.len() == 1
        };
        assert_eq!([0, 1, 2, 5].map(&mut hears), [true, false, true, false]);
    }

    #[test]
    fn what_it_has_said_before_it_says_again_unchanged() {
        let shift = |it: &PrePrepare, body: &Body| {
            Some((PrePrepare { sequence: it.sequence.next(), ..it.clone() }, body.clone()))
        };
        let mut reproposal = Reproposal::new("any", &identity(4, ReplicaId(1)), shift);
        let mut told = |view, sequence, fresh: bool| {
            let (header, body) = proposal(ReplicaId(1), view, sequence);
            let message = PeerMessage::Proposal(header, body);
            let effect = match fresh {
                true => Effect::Broadcast(message),
                false => Effect::Send { to: ReplicaId(2), message },
            };
            match told_at(&mut reproposal, 0, vec![effect]).remove(0).1.verify(&configuration(4)) {
                Ok(Message::Proposal(header, _)) => header.value().sequence.0,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(told(1, 7, false), 7, "proposed honestly");
        assert_eq!(told(1, 8, true), 9, "its first lie");
        assert_eq!([told(1, 7, false), told(1, 8, false), told(1, 9, true)], [7, 9, 10]);
        assert_eq!(told(5, 9, false), 9, "carried over");
        assert_eq!([told(5, 12, true), told(5, 12, false), told(5, 11, false)], [13, 13, 11]);
    }
}
