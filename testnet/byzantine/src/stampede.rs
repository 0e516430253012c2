use pbft_messages::{EvidenceKind, PeerMessage, View, ViewChange};
use pbft_protocol::{Effect, Effects, Now, Report};

use crate::parameters::Values;
use crate::ticker::Ticker;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "stampede",
    row: 37,
    parameters: &[
        Parameter { name: "rate", default: "20", meaning: "how many VIEW-CHANGEs a second" },
        Parameter { name: "step", default: "1", meaning: "how much higher each one's view is" },
    ],
    does: "Sends VIEW-CHANGEs to ever higher views, without a reason, that show nothing of what it holds. Beside that \
           it does its duty.",
    defeated_by: "VC1: a view is joined when f+1 ask for it, and one replica leads nobody away but from its own view; \
                  fault 2: of each sender the one of the highest view is kept, so the buffer is bounded.",
    expect: "If it is the primary, one short view change each time that its turn comes; otherwise nothing. Asking for a \
             view is no contradiction, hiding what it committed to is one: evidence of kind omission.",
    stage: Stage::Always,
    samples: &Sample::all(
        Proof::Sure(EvidenceKind::Omission),
        ["stampede", "stampede:step=4", "stampede:step=1000000"],
    ),
    pause: Pause::ViewTimeouts(1),
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let configuration = &identity.configuration;
    let ticker = Ticker::new(values.get("rate", configuration)?);
    let step = values.get("step", configuration)?;
    Ok(Box::new(Stampede { identity: identity.clone(), ticker, step, highest: View(0) }))
}

/// `stampede`: a replica that asks for one view after the other.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct Stampede {
    identity: Identity,
    ticker: Ticker,
    step: u64,
    /// The highest view that it has asked for, or that its core is in or asks for.
    highest: View,
}

impl Strategy for Stampede {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, now: Now, effects: Effects) -> Effects {
        let mut effects: Vec<_> = effects.into();
        for effect in &effects {
            if let Effect::Report(Report::ViewEntered { view, .. } | Report::ViewChange { view, .. }) = effect
            {
                self.highest = self.highest.max(*view);
            }
        }
        for _ in 0..self.ticker.due(now) {
            let Some(view) = self.highest.0.checked_add(self.step) else { break };
            self.highest = View(view);
            // What it holds it does not show; no certificate is bad that is not there.
            let view_change = ViewChange { view: self.highest, stable: None, prepared: Vec::new() };
            effects.push(Effect::Broadcast(PeerMessage::ViewChange(self.identity.sign(view_change))));
        }
        effects.into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pbft_messages::{Message, ReplicaId};
    use pbft_protocol::{Instant, ViewChangeReason};

    use super::*;
    use crate::testing::{configuration, identity, made};

    #[test]
    fn each_view_change_is_good_and_higher_than_its_cores_view() {
        let mut stampede = made("stampede:rate=2,step=3", &identity(4, ReplicaId(2)));
        let mut views = |ms, effects: Vec<Effect>| {
            let instant = Instant::after_start(Duration::from_millis(ms));
            let effects = stampede.effects(Now { instant, ..Now::default() }, effects.into());
            let views = effects.into_iter().filter_map(|effect| match effect {
                Effect::Broadcast(message) => match message.verify(&configuration(4)) {
                    Ok(Message::ViewChange(it)) => Some(it.value().view.0),
                    other => panic!("{other:?}"),
                },
                _ => None,
            });
            views.collect::<Vec<_>>()
        };
        assert_eq!(views(0, vec![]), []);
        assert_eq!(views(1000, vec![]), [3, 6]);
        let report = Report::ViewChange { view: View(10), reason: ViewChangeReason::Joined };
        assert_eq!(views(1500, vec![Effect::Report(report)]), [13]);
    }
}
