//! Messages of views that this replica has not entered yet: kept for a while, since others may enter a view a
//! moment earlier. A few for each sender (fault 33); what is dropped, C4 brings again.

use std::collections::{BTreeMap, VecDeque};

use pbft_messages::{Message, ReplicaId, View};

/// How many messages of each sender are kept.
const LIMIT: usize = 32;

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
        if messages.len() == LIMIT {
            messages.pop_front();
        }
        messages.push_back(message);
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
