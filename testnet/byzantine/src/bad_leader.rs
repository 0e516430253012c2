use pbft_messages::{PeerMessage, View};
use pbft_protocol::{Effect, Effects, Now, Report};

use crate::kinds::Kind;
use crate::parameters::{Values, choice};
use crate::rewrite::rewrite;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "bad-leader",
    row: 42,
    parameters: &[Parameter {
        name: "as",
        default: "silent",
        meaning: "silent (says nothing while it leads, and opens no view) or idle (opens its view and proposes nothing)",
    }],
    does: "Behaves well until it is the primary, and then lets the cluster wait. With several replicas so, whose views \
           follow one another, each view change ends in the next bad one.",
    defeated_by: "VC1 and VC7: each bad view ends by a timer, doubled each time, and after at most f of them a correct \
                  replica leads; progress resets the timeout (VC9 keeps no grudge).",
    expect: "As many pauses in a row as there are bad leaders next to each other, the second twice as long as the \
             first; no evidence, as silence looks like a slow network.",
    stage: Stage::Primary,
    samples: &Sample::all(Proof::Never, ["bad-leader", "bad-leader:as=idle"]),
    pause: Pause::ViewTimeouts(2),
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let habit = values.get("as", &identity.configuration)?;
    Ok(Box::new(BadLeader { identity: identity.clone(), habit, view: View(0) }))
}

/// `bad-leader`: a good backup that is of no use as the primary.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct BadLeader {
    identity: Identity,
    habit: Habit,
    /// The view that its core is in, as its reports and statuses tell.
    view: View,
}

choice! {
    /// How it leads.
    Habit { Silent = "silent", Idle = "idle" },
    "silent or idle"
}

impl BadLeader {
    fn note(&mut self, effect: &Effect) {
        match effect {
            Effect::Report(Report::ViewEntered { view, .. }) => self.view = *view,
            Effect::Broadcast(PeerMessage::Status(status)) => self.view = status.view,
            _ => {}
        }
    }

    fn keeps_back(&self, effect: &Effect) -> bool {
        let message = match effect {
            Effect::Broadcast(message) | Effect::Send { message, .. } => Some(message),
            _ => None,
        };
        match (self.habit, message) {
            (Habit::Idle, Some(PeerMessage::Proposal(header, _))) => {
                header.claimed_signer() == self.identity.replica
            }
            (Habit::Silent, Some(PeerMessage::NewView(new_view))) => {
                new_view.claimed_signer() == self.identity.replica
            }
            (Habit::Silent, _) => {
                Kind::of(effect).is_some()
                    && self.identity.configuration.primary(self.view) == self.identity.replica
            }
            (Habit::Idle, _) => false,
        }
    }
}

impl Strategy for BadLeader {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        rewrite(effects, &mut |effect, out| {
            self.note(&effect);
            if !self.keeps_back(&effect) {
                out.push(effect);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{ReplicaId, Sequence, Status};

    use super::*;
    use crate::own_view_change::new_view;
    use crate::testing::{digest, identity, made, proposal, told, told_at, view_change};

    fn enters(strategy: &mut dyn Strategy, view: u64) {
        let (view, primary) = (View(view), ReplicaId((view % 4) as u16));
        let report = Report::ViewEntered { view, primary, carried_over: 0, null: 0 };
        assert_eq!(told_at(strategy, 0, vec![Effect::Report(report)]), []);
    }

    fn speech() -> PeerMessage {
        PeerMessage::FetchBody(digest(b"a"))
    }

    #[test]
    fn it_is_silent_while_it_leads_and_opens_no_view() {
        let identity = identity(4, ReplicaId(1));
        let mut strategy = made("bad-leader", &identity);
        assert_eq!(told(&mut *strategy, speech()), [(None, speech())]);
        let quorum = (1..4).map(|it| view_change(it, 1, vec![])).collect();
        let opening = PeerMessage::NewView(new_view(&identity, View(1), quorum).unwrap());
        assert_eq!(told(&mut *strategy, opening), []);
        enters(&mut *strategy, 1);
        assert_eq!(told(&mut *strategy, speech()), []);
        enters(&mut *strategy, 2);
        assert_eq!(told(&mut *strategy, speech()), [(None, speech())]);
    }

    /// A strategy that is set while its replica leads learns so from a status.
    #[test]
    fn it_knows_its_view_from_statuses_too() {
        let mut strategy = made("bad-leader", &identity(4, ReplicaId(1)));
        let status = Status {
            view: View(5),
            pending: None,
            stable: Sequence(0),
            last_executed: Sequence(0),
            asks: None,
            slots: vec![],
            recovering: None,
            proven: vec![],
        };
        assert_eq!(told(&mut *strategy, PeerMessage::Status(status)), []);
        assert_eq!(told(&mut *strategy, speech()), []);
    }

    #[test]
    fn an_idle_one_keeps_back_its_proposals_alone() {
        let mut strategy = made("bad-leader:as=idle", &identity(4, ReplicaId(1)));
        enters(&mut *strategy, 1);
        assert_eq!(told(&mut *strategy, speech()), [(None, speech())]);
        for (primary, passes) in [(1, 0), (0, 1)] {
            let (header, body) = proposal(ReplicaId(primary), primary.into(), 1);
            assert_eq!(told(&mut *strategy, PeerMessage::Proposal(header, body)).len(), passes);
        }
    }
}
