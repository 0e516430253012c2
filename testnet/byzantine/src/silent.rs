use pbft_protocol::{Effects, Now};

use crate::kinds::{Kind, Kinds};
use crate::parameters::Values;
use crate::rewrite::rewrite;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "silent",
    row: 26,
    parameters: &[Parameter { name: "kinds", default: "all", meaning: "what it does not send" }],
    does: "Sends nothing, or nothing of some kinds, to anybody. It goes on listening and keeping its own books.",
    defeated_by: "VC10: backups leave a primary that says nothing at all; VC1: requests that wait too long at one that \
                  says something start a view change, and a quorum never needs f of the replicas.",
    expect: "One pause of less than the view timeout if it is the primary and says nothing, of about the timeout if it \
             leaves out some kinds, and none otherwise. Silence leaves no evidence, since a slow network looks the same.",
    stage: Stage::Always,
    samples: &Sample::all(
        Proof::Never,
        ["silent", "silent:kinds=proposals", "silent:kinds=votes", "silent:kinds=replies/state"],
    ),
    pause: Pause::ViewTimeouts(1),
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    Ok(Box::new(Silent { kinds: values.get("kinds", &identity.configuration)? }))
}

/// `silent`: hears everything, keeps its own state up to date, and keeps its words to itself.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct Silent {
    kinds: Kinds,
}

impl Strategy for Silent {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        rewrite(effects, &mut |effect, out| {
            if !Kind::of(&effect).is_some_and(|kind| self.kinds.hold(kind)) {
                out.push(effect);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{ClientId, Part, PartId, PeerMessage, ReplicaId, RequestNumber, Sequence, SessionId};
    use pbft_protocol::{Effect, Instant, Report, Timer, WriteId};

    use super::*;
    use crate::testing::{digest, identity, made};

    #[test]
    fn nothing_leaves_and_everything_local_goes_on() {
        let (client, session) = (ClientId([1; 32]), SessionId(1));
        let speech = || {
            vec![
                Effect::Send { to: ReplicaId(1), message: PeerMessage::FetchBody(digest(b"a")) },
                Effect::Broadcast(PeerMessage::FetchBody(digest(b"a"))),
                Effect::Reply { client, session, replies: Vec::new() },
                Effect::Busy { client, session, first: RequestNumber(1) },
                Effect::ServePart {
                    to: ReplicaId(2),
                    id: PartId { sequence: Sequence(4), part: Part::Chunk(0) },
                },
            ]
        };
        let local = || {
            vec![
                Effect::SetTimer { timer: Timer::Status, at: Some(Instant::default()) },
                Effect::Report(Report::Shed),
                Effect::Collect { through: Sequence(4), keep: std::collections::BTreeSet::new() },
            ]
        };
        let write = |then| Effect::Persist { id: WriteId(1), records: Vec::new(), then };
        let all = || [speech(), local()].concat();
        let effects = [all(), vec![write(all())]].concat();
        let expected = [local(), vec![write(local())]].concat();
        let identity = identity(4, ReplicaId(0));
        assert_eq!(made("silent", &identity).effects(Now::default(), effects.into()), expected.into());
        let passed = made("silent:kinds=state/replies", &identity).effects(Now::default(), speech().into());
        assert_eq!(Vec::from(passed), speech()[..2]);
    }
}
