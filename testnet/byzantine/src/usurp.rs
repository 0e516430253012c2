use pbft_messages::{EvidenceKind, NewView, PeerMessage, View};
use pbft_protocol::{Effect, Effects, Now, Report};

use crate::parameters::Values;
use crate::ticker::Ticker;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "usurp",
    row: 37,
    parameters: &[Parameter { name: "rate", default: "5", meaning: "how many NEW-VIEWs a second" }],
    does: "Opens views that nobody asked for: sends NEW-VIEWs without a quorum, each for a higher view, those that it \
           would lead and others too.",
    defeated_by: "VC5: a NEW-VIEW holds Q good VIEW-CHANGEs of distinct replicas for its view and is signed by that \
                  view's primary, else it opens nothing; signed and wrong, it is evidence.",
    expect: "Evidence of kind new-view that names exactly this replica, and no pause at all.",
    stage: Stage::Always,
    samples: &Sample::all(Proof::Sure(EvidenceKind::NewView), ["usurp", "usurp:rate=20"]),
    pause: Pause::None,
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let ticker = Ticker::new(values.get("rate", &identity.configuration)?);
    Ok(Box::new(Usurp { identity: identity.clone(), ticker, highest: View(0) }))
}

/// `usurp`: a replica that opens views which nobody asked for.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct Usurp {
    identity: Identity,
    ticker: Ticker,
    /// The highest view that it has opened, or that its core has entered.
    highest: View,
}

impl Strategy for Usurp {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, now: Now, effects: Effects) -> Effects {
        let mut effects: Vec<_> = effects.into();
        for effect in &effects {
            if let Effect::Report(Report::ViewEntered { view, .. }) = effect {
                self.highest = self.highest.max(*view);
            }
        }
        for _ in 0..self.ticker.due(now) {
            self.highest = self.highest.next();
            let new_view = NewView { view: self.highest, view_changes: Vec::new(), pre_prepares: Vec::new() };
            effects.push(Effect::Broadcast(PeerMessage::NewView(self.identity.sign(new_view))));
        }
        effects.into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pbft_messages::{Message, ReplicaId};
    use pbft_protocol::Instant;

    use super::*;
    use crate::testing::{configuration, identity, made};

    #[test]
    fn each_new_view_is_evidence() {
        let mut usurp = made("usurp:rate=4", &identity(4, ReplicaId(2)));
        let mut at = |ms| {
            let instant = Instant::after_start(Duration::from_millis(ms));
            Vec::from(usurp.effects(Now { instant, ..Now::default() }, Effects::new()))
        };
        assert_eq!(at(0), []);
        let sent = at(1000);
        assert_eq!(sent.len(), 4);
        for effect in sent {
            let Effect::Broadcast(message) = effect else { panic!("{effect:?}") };
            match message.verify(&configuration(4)) {
                Ok(Message::Evidence(it)) => assert_eq!(it.get().accusation().unwrap().accused, ReplicaId(2)),
                other => panic!("{other:?}"),
            }
        }
    }
}
