//! Going through effects, those inside writes included.

use pbft_messages::{PeerMessage, ReplicaId};
use pbft_protocol::{Effect, Effects};

use crate::Identity;

/// Replaces each effect by what `change` pushes for it, in order. What waits inside a write stays inside it: the
/// replacement of such an effect waits for the same write.
pub(crate) fn rewrite(effects: Effects, change: &mut impl FnMut(Effect, &mut Vec<Effect>)) -> Effects {
    rewrite_list(effects.into(), change).into()
}

fn rewrite_list(effects: Vec<Effect>, change: &mut impl FnMut(Effect, &mut Vec<Effect>)) -> Vec<Effect> {
    let mut out = Vec::with_capacity(effects.len());
    for effect in effects {
        match effect {
            Effect::Persist { id, records, then } => {
                let then = rewrite_list(then, change);
                out.push(Effect::Persist { id, records, then });
            }
            other => change(other, &mut out),
        }
    }
    out
}

/// Replaces each message to other replicas by what `tell` makes of it, whoever it is for.
pub(crate) fn retell(effects: Effects, tell: &mut impl FnMut(PeerMessage) -> PeerMessage) -> Effects {
    rewrite(effects, &mut |effect, out| {
        out.push(match effect {
            Effect::Broadcast(message) => Effect::Broadcast(tell(message)),
            Effect::Send { to, message } => Effect::Send { to, message: tell(message) },
            other => other,
        });
    })
}

/// Replaces those messages to other replicas that are `lies` by what `tell` makes of them for each receiver.
pub(crate) fn retell_each(
    identity: &Identity,
    effects: Effects,
    lies: fn(&PeerMessage) -> bool,
    tell: &mut impl FnMut(ReplicaId, PeerMessage) -> Vec<PeerMessage>,
) -> Effects {
    rewrite(effects, &mut |effect, out| {
        let (to, message) = match effect {
            Effect::Broadcast(message) if lies(&message) => (identity.others().collect(), message),
            Effect::Send { to, message } if lies(&message) => (vec![to], message),
            other => return out.push(other),
        };
        for to in to {
            out.extend(tell(to, message.clone()).into_iter().map(|message| Effect::Send { to, message }));
        }
    })
}
