use pbft_protocol::{Effect, Effects, Now};

use crate::Strategy;
use crate::rewrite::rewrite;

/// `silent`: hears everything, keeps its own state up to date, and tells nobody anything.
///
/// See [`crate::STRATEGIES`] for the rule that defeats it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Silent {
    pub(crate) const NAME: &'static str = "silent";
}

impl Strategy for Silent {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        rewrite(effects, &mut |effect, out| {
            let speaks = matches!(
                effect,
                Effect::Send { .. }
                    | Effect::Broadcast(_)
                    | Effect::Reply { .. }
                    | Effect::Busy { .. }
                    | Effect::ServePart { .. }
                    | Effect::AnswerRead { .. }
            );
            if !speaks {
                out.push(effect);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{ClientId, Part, PartId, PeerMessage, ReplicaId, RequestNumber, Sequence, SessionId};
    use pbft_protocol::{Instant, Report, Timer, WriteId};

    use super::*;
    use crate::testing::digest;

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
        assert_eq!(Silent.effects(Now::default(), effects.into()), expected.into());
    }
}
