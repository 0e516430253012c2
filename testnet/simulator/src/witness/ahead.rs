//! What came for views that a replica had not entered: it looks at that once it has.

use std::collections::{BTreeMap, VecDeque};

use pbft_messages::{Message, ReplicaId, View};

use crate::InstanceId;
use crate::heard::Heard;

/// How many messages of each sender a replica keeps, the latest of them.
const KEPT: usize = 32;

/// What each run of an instance keeps of each sender.
#[derive(Default)]
pub(super) struct Ahead(BTreeMap<(InstanceId, u64), BTreeMap<ReplicaId, Latest>>);

/// The messages of the highest view that somebody spoke in.
#[derive(Default)]
struct Latest {
    view: View,
    messages: VecDeque<(Message, Heard)>,
}

/// The view of a message that is kept if its view has not begun.
pub(super) fn view_of(message: &Message) -> Option<View> {
    match message {
        Message::Proposal(header, _) | Message::RefusedProposal(header) => Some(header.value().view),
        Message::Prepare(vote, _) => Some(vote.value().view),
        Message::Commit(vote) => Some(vote.value().view),
        _ => None,
    }
}

impl Ahead {
    /// A run of an instance is sent a message of a view that has not begun for it.
    pub(super) fn keep(
        &mut self,
        run: (InstanceId, u64),
        from: ReplicaId,
        view: View,
        message: &Message,
        heard: &Heard,
    ) {
        let is_kept = match message {
            Message::Proposal(header, _) => header.signer() == from,
            Message::RefusedProposal(_) => false,
            _ => true,
        };
        let latest = self.0.entry(run).or_default().entry(from).or_default();
        if !is_kept || view < latest.view {
            return;
        }
        if view > latest.view {
            *latest = Latest { view, messages: VecDeque::new() };
        }
        if latest.messages.len() == KEPT {
            latest.messages.pop_front();
        }
        latest.messages.push_back((message.clone(), heard.clone()));
    }

    /// A run of an instance has entered a view: takes what it kept of that, and forgets what it kept of earlier ones.
    pub(super) fn take(&mut self, run: (InstanceId, u64), view: View) -> Vec<(ReplicaId, Message, Heard)> {
        let mut taken = Vec::new();
        for (from, latest) in self.0.entry(run).or_default() {
            if latest.view <= view {
                let left = latest.messages.drain(..).filter(|_| latest.view == view);
                taken.extend(left.map(|(message, heard)| (*from, message, heard)));
            }
        }
        taken
    }
}
