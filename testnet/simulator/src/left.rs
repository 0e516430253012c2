//! What correct replicas may still say of views that they have left (D3).

use std::collections::{BTreeMap, BTreeSet};

use pbft_messages::{Commit, PeerMessage, ReplicaId, View, ViewChange};

use crate::phase::{Place, place};

/// What each correct replica has said, over all its runs and disks.
#[derive(Default)]
pub(crate) struct Left(BTreeMap<ReplicaId, Said>);

#[derive(Default)]
struct Said {
    /// Where it proposed, voted or opened a view.
    places: BTreeSet<Place>,
    /// Its VIEW-CHANGE to the highest view, and the view that was on its disk when that left.
    last: Option<(ViewChange, View)>,
}

impl Left {
    /// A correct replica, which has durably entered a view, sends a message; tells whether it has left the view that this
    /// is of. It may repeat itself in it, commit to what its VIEW-CHANGE shows, and hand over a NEW-VIEW that it held.
    pub(crate) fn says(&mut self, me: ReplicaId, message: &PeerMessage, entered: View) -> bool {
        let said = self.0.entry(me).or_default();
        if let PeerMessage::ViewChange(signed) = message
            && signed.claimed_signer() == me
            && let Ok(it) = signed.peek()
            && said.last.as_ref().is_none_or(|(last, _)| last.view < it.view)
        {
            said.last = Some((it, entered));
        }
        let Some(here) = own(me, message) else { return false };
        let is_new = said.places.insert(here);
        let left = said.last.as_ref().filter(|(last, _)| is_new && here.view < last.view);
        left.is_some_and(|(last, entered)| match message {
            PeerMessage::Commit(vote) => !vote.peek().is_ok_and(|vote| shows(last, &vote)),
            PeerMessage::NewView(_) => here.view > *entered,
            _ => true,
        })
    }
}

/// Where a replica itself proposes, votes or opens a view with this; what it passes on for others is theirs.
pub(crate) fn own(me: ReplicaId, message: &PeerMessage) -> Option<Place> {
    let signer = match message {
        PeerMessage::Proposal(header, _) => header.claimed_signer(),
        PeerMessage::Prepare(vote, _) => vote.claimed_signer(),
        PeerMessage::Commit(vote) => vote.claimed_signer(),
        PeerMessage::NewView(it) => it.claimed_signer(),
        _ => return None,
    };
    place(message).filter(|_| signer == me)
}

/// Whether a VIEW-CHANGE shows the certificate that a COMMIT stands for.
fn shows(view_change: &ViewChange, vote: &Commit) -> bool {
    let mut certificates = view_change.prepared.iter().map(|it| it.proposal());
    certificates.any(|it| (it.view, it.sequence, it.digest) == (vote.view, vote.sequence, vote.digest))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pbft_crypto::{Statement, Verified};
    use pbft_messages::{
        Body, Endorsed, NewView, PrePrepare, Prepare, PreparedCertificate, Sequence, Timestamp,
    };

    use super::*;
    use crate::{Cluster, Settings};

    const R1: ReplicaId = ReplicaId(1);

    /// Signs for others.
    struct Bench(Cluster);

    impl Bench {
        fn sign<T: Statement<Signer = ReplicaId>>(&self, from: u16, value: T) -> Verified<T> {
            let identity = self.0.identity(ReplicaId(from));
            Verified::sign(value, identity.replica, &*identity.signer, identity.configuration.scope())
        }

        fn commit(&self, view: u64, sequence: u64) -> PeerMessage {
            let (view, sequence, digest) = (View(view), Sequence(sequence), body().digest());
            PeerMessage::Commit(self.sign(1, Commit { view, sequence, digest }).signed().clone())
        }

        fn prepare(&self, view: u64, sequence: u64) -> PeerMessage {
            let (view, sequence, digest) = (View(view), Sequence(sequence), body().digest());
            let vote = self.sign(1, Prepare { view, sequence, digest });
            PeerMessage::Prepare(vote.signed().clone(), *vote.signed().signature())
        }

        fn proposal(&self, from: u16, view: u64, sequence: u64) -> PeerMessage {
            let (view, sequence, digest) = (View(view), Sequence(sequence), body().digest());
            let header = self.sign(from, PrePrepare { view, sequence, digest });
            PeerMessage::Proposal(header.signed().clone(), body())
        }

        fn new_view(&self, view: u64) -> PeerMessage {
            let value = NewView { view: View(view), view_changes: vec![], pre_prepares: vec![] };
            PeerMessage::NewView(self.sign(1, value).signed().clone())
        }

        /// With a batch that is shown as prepared.
        fn view_change(&self, view: u64, prepared: (u64, u64)) -> PeerMessage {
            let (proposed, sequence, digest) = (View(prepared.0), Sequence(prepared.1), body().digest());
            let header = self.sign(1, PrePrepare { view: proposed, sequence, digest });
            let statement = Prepare { view: proposed, sequence, digest };
            let prepares = Endorsed { statement, signatures: vec![] };
            let certificate = PreparedCertificate { header: header.signed().clone(), prepares };
            let value = ViewChange { view: View(view), stable: None, prepared: vec![certificate] };
            PeerMessage::ViewChange(self.sign(1, value).signed().clone())
        }
    }

    fn body() -> Arc<Body> {
        Body::new(Timestamp(1), []).into()
    }

    /// After a VIEW-CHANGE to view 4, which shows what was prepared at 7 in view 1.
    #[test]
    fn nothing_new_is_said_in_a_view_that_was_left() {
        let bench = Bench(Cluster::new(Settings::new(4, 1)));
        let mut left = Left::default();
        let mut breaks = |message: &PeerMessage| left.says(R1, message, View(1));
        let before = [bench.proposal(1, 1, 5), bench.prepare(2, 5), bench.commit(1, 5)];
        assert_eq!(before.each_ref().map(&mut breaks), [false; 3]);
        assert!(!breaks(&bench.view_change(4, (1, 7))));
        assert_eq!(before.each_ref().map(&mut breaks), [false; 3], "it repeats itself");
        assert_eq!([bench.proposal(1, 1, 6), bench.prepare(2, 6)].each_ref().map(&mut breaks), [true; 2]);
        assert_eq!([bench.commit(1, 6), bench.commit(2, 7)].each_ref().map(&mut breaks), [true; 2]);
        assert!(!breaks(&bench.commit(1, 7)), "it is shown");
        assert_eq!([bench.new_view(1), bench.new_view(2)].each_ref().map(&mut breaks), [false, true]);
        assert!(!breaks(&bench.proposal(2, 2, 6)), "another's, handed over");
        assert_eq!([bench.prepare(4, 6), bench.commit(5, 6)].each_ref().map(&mut breaks), [false; 2]);
        assert!(!breaks(&bench.view_change(3, (1, 6))));
        assert!(breaks(&bench.prepare(3, 6)), "it has asked for a higher view since");
    }
}
