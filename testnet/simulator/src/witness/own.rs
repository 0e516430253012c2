//! What the correct replicas themselves ever said, restarts and lost disks included: nobody could accuse them of it (I9).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;

use pbft_messages::{Commit, PeerMessage, ReplicaId, Sequence, View, ViewChange};

use super::is_hidden;
use crate::heard::{Place, Said, claims, proposals};

/// What the correct replicas said, whether anybody heard it or not.
#[derive(Default)]
pub(crate) struct Own {
    said: BTreeMap<Place, Bytes>,
    commits: BTreeMap<(ReplicaId, Sequence), Vec<Commit>>,
    view_changes: BTreeMap<(ReplicaId, View), ViewChange>,
}

impl Own {
    /// A correct replica sends a message; tells whether it contradicts what it sent before.
    pub(crate) fn says(&mut self, replica: ReplicaId, message: &PeerMessage) -> Result<(), String> {
        // What is passed on for others is theirs to answer for.
        let own = claims(message).filter(|(place, _)| place.0 == replica);
        let Some(said) = own else { return Ok(()) };
        if !self.is_new(said)? {
            return Ok(());
        }
        if let PeerMessage::NewView(it) = message
            && let Ok(new_view) = it.peek()
        {
            proposals(&new_view).try_for_each(|said| self.is_new(said).map(drop))?;
        }
        match self.hidden(replica, message) {
            Some((Commit { view, sequence, .. }, to)) => {
                Err(format!("hides its COMMIT at {sequence} in view {view} from the view change to {to}"))
            }
            None => Ok(()),
        }
    }

    /// Whether nothing was said at this place before; tells if it was something else.
    fn is_new(&mut self, (place, payload): Said) -> Result<bool, String> {
        match self.said.entry(place) {
            Entry::Occupied(first) if *first.get() == payload => Ok(false),
            Entry::Occupied(_) => {
                let (_, kind, view, sequence) = place;
                Err(format!("contradicts itself ({kind:?}) at {sequence} in view {view}"))
            }
            Entry::Vacant(free) => {
                free.insert(payload);
                Ok(true)
            }
        }
    }

    /// A COMMIT that its VIEW-CHANGE to a view does not show, whichever of the two it says now (VC2).
    fn hidden(&mut self, replica: ReplicaId, message: &PeerMessage) -> Option<(Commit, View)> {
        match message {
            PeerMessage::Commit(vote) => {
                let commit = vote.peek().ok()?;
                let later = (replica, commit.view)..=(replica, View(u64::MAX));
                let to = self.view_changes.range(later).find(|(_, it)| is_hidden(&commit, it));
                self.commits.entry((replica, commit.sequence)).or_default().push(commit.clone());
                to.map(|((_, view), _)| (commit, *view))
            }
            PeerMessage::ViewChange(it) => {
                let it = it.peek().ok()?;
                let open = (replica, it.stable_sequence().next())..=(replica, Sequence(u64::MAX));
                let mut commits = self.commits.range(open).flat_map(|(_, commits)| commits);
                let hidden = commits.find(|commit| is_hidden(commit, &it)).cloned();
                let view = it.view;
                self.view_changes.insert((replica, view), it);
                hidden.map(|commit| (commit, view))
            }
            _ => None,
        }
    }
}
