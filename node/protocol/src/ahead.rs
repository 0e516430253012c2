//! Messages of views that this replica has not entered yet: kept for a while, since others may enter a view a
//! moment earlier. A few for each sender (fault 33); what is dropped, C4 brings again.

use std::collections::{BTreeMap, VecDeque};

use pbft_crypto::mutant;
use pbft_messages::{Message, ReplicaId, View};

/// How many messages of each sender are kept.
const LIMIT: usize = 32;

/// How many bytes of proposals of each sender are kept: a full pipeline of full batches. A single one always is.
const PROPOSAL_BYTES: usize = 16 << 20;

/// The kept messages: for each sender, those of the highest view that it has spoken in.
#[derive(Debug, Default)]
pub(crate) struct Ahead(BTreeMap<ReplicaId, (View, VecDeque<Message>)>);

impl Ahead {
    /// Keeps a message of `view`; the oldest goes where there are too many. Of proposals, which are large, the caller
    /// keeps only those that their primary sent itself.
    pub(crate) fn keep(&mut self, from: ReplicaId, view: View, message: Message) {
        let (kept, messages) = self.0.entry(from).or_default();
        if view < *kept {
            return;
        }
        if view > *kept {
            *kept = view;
            messages.clear();
        }
        if messages.len() == LIMIT && !mutant!("unbounded-ahead") {
            messages.pop_front();
        }
        messages.push_back(message);
        let mut bytes: usize = messages.iter().map(memory_bytes).sum();
        while bytes > PROPOSAL_BYTES && messages.len() > 1 {
            bytes -= messages.pop_front().as_ref().map_or(0, memory_bytes);
        }
    }

    /// The number of messages kept of the sender of which most are.
    pub(crate) fn fullest(&self) -> usize {
        self.0.values().map(|(_, messages)| messages.len()).max().unwrap_or_default()
    }

    /// Takes the messages of `view`, and forgets those of lower views.
    pub(crate) fn take(&mut self, view: View) -> Vec<(ReplicaId, Message)> {
        let mut taken = Vec::new();
        self.0.retain(|from, (kept, messages)| {
            if *kept == view {
                taken.extend(messages.drain(..).map(|message| (*from, message)));
            }
            *kept > view
        });
        taken
    }
}

/// What a message takes besides a few hundred bytes.
fn memory_bytes(message: &Message) -> usize {
    match message {
        Message::Proposal(_, body) => body.memory_bytes(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Digest, Domain, Scope, SecretKey, Verified};
    use pbft_messages::{Commit, Sequence};

    use super::*;

    /// Fault 33: one liar speaks in ever higher views, another without end in one.
    #[test]
    fn fault_33_little_is_kept_of_future_views() {
        let scope = Scope { cluster: Digest::of(Domain::Cluster, b"test"), epoch: 0 };
        let digest = Digest::of(Domain::Batch, b"any");
        let commit = |from, view, sequence| {
            let value = Commit { view, sequence: Sequence(sequence), digest };
            Message::Commit(Verified::sign(value, from, &SecretKey::from_seed(&[1; 32]), &scope))
        };
        let mut ahead = Ahead::default();
        for number in 1..=200 {
            let (climber, talker) = (ReplicaId(1), ReplicaId(2));
            ahead.keep(climber, View(number), commit(climber, View(number), 1));
            ahead.keep(talker, View(1), commit(talker, View(1), number));
        }
        let kept: Vec<_> = ahead.0.values().map(|(_, messages)| messages.len()).collect();
        assert_eq!(kept, [1, LIMIT]);
        assert_eq!(ahead.take(View(1)).len(), LIMIT);
    }
}
