//! Lies in a replica's own VIEW-CHANGE.

use pbft_crypto::Signed;
use pbft_messages::{CarriedOver, NewView, PeerMessage, View, ViewChange};
use pbft_protocol::Effects;

use crate::Identity;
use crate::rewrite::retell;

/// Puts another VIEW-CHANGE in the place of the replica's own, wherever it is sent, and the same one each time: so
/// that two different ones do not give it away.
#[derive(Debug)]
pub(crate) struct OwnViewChange {
    pub(crate) identity: Identity,
    /// The last one of the core, and what is sent for it.
    last: Option<(Signed<ViewChange>, Signed<ViewChange>)>,
}

impl OwnViewChange {
    pub(crate) fn new(identity: Identity) -> Self {
        Self { identity, last: None }
    }

    /// Replaces it by what `lie` makes of it. As a new primary the replica shows the lie too, and what follows from it.
    pub(crate) fn replace(
        &mut self,
        effects: Effects,
        lie: &mut impl FnMut(ViewChange) -> ViewChange,
    ) -> Effects {
        retell(effects, &mut |message| self.message(message, lie))
    }

    fn message(
        &mut self,
        message: PeerMessage,
        lie: &mut impl FnMut(ViewChange) -> ViewChange,
    ) -> PeerMessage {
        match message {
            PeerMessage::ViewChange(signed) => PeerMessage::ViewChange(self.view_change(signed, lie)),
            PeerMessage::NewView(signed) if signed.claimed_signer() == self.identity.replica => {
                let shown = signed.peek().ok().and_then(|NewView { view, view_changes, .. }| {
                    let lied = view_changes.into_iter().map(|it| self.view_change(it, lie)).collect();
                    new_view(&self.identity, view, lied)
                });
                PeerMessage::NewView(shown.unwrap_or(signed))
            }
            other => other,
        }
    }

    fn view_change(
        &mut self,
        signed: Signed<ViewChange>,
        lie: &mut impl FnMut(ViewChange) -> ViewChange,
    ) -> Signed<ViewChange> {
        if signed.claimed_signer() != self.identity.replica {
            return signed;
        }
        if let Some((_, told)) = self.last.as_ref().filter(|(truth, _)| *truth == signed) {
            return told.clone();
        }
        let Ok(truth) = signed.peek() else { return signed };
        let told = self.identity.sign(lie(truth));
        self.last = Some((signed, told.clone()));
        told
    }
}

/// The NEW-VIEW that follows from a quorum of VIEW-CHANGEs, as its primary signs it; `None` if nothing follows.
pub(crate) fn new_view(
    identity: &Identity,
    view: View,
    view_changes: Vec<Signed<ViewChange>>,
) -> Option<Signed<NewView>> {
    let read: Vec<_> = view_changes.iter().map(Signed::peek).collect::<Result<_, _>>().ok()?;
    let carried = CarriedOver::from_view_changes(&read).ok()?;
    let pre_prepares = carried.pre_prepares(view).map(|header| identity.sign(header)).collect();
    Some(identity.sign(NewView { view, view_changes, pre_prepares }))
}
