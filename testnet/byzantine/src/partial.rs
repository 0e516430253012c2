use std::collections::BTreeSet;

use pbft_messages::ReplicaId;
use pbft_protocol::{Effect, Effects, Now};

use crate::group::Group;
use crate::kinds::{Kind, Kinds};
use crate::parameters::Values;
use crate::rewrite::{retell_each, rewrite};
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "partial",
    row: 28,
    parameters: &[
        Parameter { name: "to", default: "half", meaning: "who still hears it" },
        Parameter { name: "kinds", default: "proposals", meaning: "what the others do not hear of" },
    ],
    does: "Sends some kinds of messages to some replicas only. The others hear everything else from it.",
    defeated_by: "N8 and VC1: where too few hear a proposal for a quorum, requests wait and a view change starts; C4: \
                  where a quorum hears it, the rest sees from others' votes and statuses what it lacks, and is handed \
                  it.",
    expect: "With to=quorum no pause: one replica more or less lags by a moment. With fewer, one pause of about the view \
             timeout if it is the primary. Silence leaves no evidence.",
    stage: Stage::Always,
    samples: &Sample::all(
        Proof::Never,
        ["partial", "partial:to=1", "partial:to=quorum", "partial:to=half,kinds=all", "partial:kinds=votes"],
    ),
    pause: Pause::ViewTimeouts(2),
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let configuration = &identity.configuration;
    let to = values.get::<Group>("to", configuration)?.among(identity.others(), configuration);
    Ok(Box::new(Partial { to, kinds: values.get("kinds", configuration)?, identity: identity.clone() }))
}

/// `partial`: some replicas do not hear everything.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct Partial {
    identity: Identity,
    to: BTreeSet<ReplicaId>,
    kinds: Kinds,
}

impl Strategy for Partial {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        let Self { identity, to: hear, kinds } = self;
        let effects = retell_each(identity, effects, |_| true, &mut |to, message| {
            let heard = hear.contains(&to) || !kinds.hold(Kind::of_message(&message));
            if heard { vec![message] } else { Vec::new() }
        });
        rewrite(effects, &mut |effect, out| {
            let unheard = matches!(effect, Effect::ServePart { to, .. } if !hear.contains(&to));
            if !(unheard && kinds.hold(Kind::State)) {
                out.push(effect);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Part, PartId, PeerMessage, Sequence};

    use super::*;
    use crate::testing::{digest, identity, made, proposal};

    #[test]
    fn only_some_hear_what_it_withholds() {
        let heard = |text: &str| {
            let mut partial = made(text, &identity(4, ReplicaId(1)));
            let (header, body) = proposal(ReplicaId(1), 1, 9);
            let id = PartId { sequence: Sequence(4), part: Part::Chunk(0) };
            let effects = vec![
                Effect::Broadcast(PeerMessage::Proposal(header, body)),
                Effect::Broadcast(PeerMessage::FetchBody(digest(b"a"))),
                Effect::ServePart { to: ReplicaId(0), id },
            ];
            let passed = partial.effects(Now::default(), effects.into());
            let receivers = passed.into_iter().map(|effect| match effect {
                Effect::Send { to, message: PeerMessage::Proposal(..) } => format!("proposal {to}"),
                Effect::Send { to, .. } => format!("question {to}"),
                Effect::ServePart { to, .. } => format!("part {to}"),
                other => panic!("{other:?}"),
            });
            receivers.collect::<Vec<_>>().join(", ")
        };
        let questions = "question r0, question r2, question r3";
        assert_eq!(heard("partial"), format!("proposal r3, {questions}, part r0"));
        assert_eq!(heard("partial:to=quorum"), format!("proposal r0, proposal r2, {questions}, part r0"));
        assert_eq!(heard("partial:to=r2,kinds=all"), "proposal r2, question r2");
    }
}
