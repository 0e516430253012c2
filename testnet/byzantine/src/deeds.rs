//! What a strategy did: how much of what is said differs from what its core wanted said.

use pbft_messages::{PeerMessage, ReplicaId};
use pbft_protocol::Effect;

use crate::Identity;
use crate::kinds::Kind;

/// Something that is said to one receiver.
#[derive(PartialEq)]
enum Said<'a> {
    /// A message to another replica.
    Message(ReplicaId, &'a PeerMessage),
    /// A part of a snapshot, or an answer to a client.
    Other(&'a Effect),
}

/// How many messages were altered, withheld or made, each receiver's for itself: a broadcast is as many as there are
/// others. One that is late counts twice, when it is due and when it leaves.
pub(crate) fn deeds(identity: &Identity, wanted: &[Effect], done: &[Effect]) -> u64 {
    if wanted == done {
        return 0;
    }
    let said = |effects| {
        let mut said = Vec::new();
        list(identity, effects, &mut said);
        said
    };
    differences(said(wanted), said(done))
}

/// Lists what is said, to whom; what waits inside a write as well.
fn list<'a>(identity: &Identity, effects: &'a [Effect], said: &mut Vec<Said<'a>>) {
    for effect in effects {
        match effect {
            Effect::Persist { then, .. } => list(identity, then, said),
            Effect::Send { to, message } => said.push(Said::Message(*to, message)),
            Effect::Broadcast(message) => said.extend(identity.others().map(|to| Said::Message(to, message))),
            other if Kind::of(other).is_some() => said.push(Said::Other(other)),
            _ => {}
        }
    }
}

/// How many of `wanted` are not among `done`, or the other way round if those are more: one in place of another is one
/// difference. The order does not matter.
pub(crate) fn differences<T: PartialEq>(wanted: Vec<T>, mut done: Vec<T>) -> u64 {
    let mut missing = 0;
    for it in wanted {
        match done.iter().position(|other| *other == it) {
            Some(place) => drop(done.remove(place)),
            None => missing += 1,
        }
    }
    missing.max(done.len()) as u64
}

#[cfg(test)]
mod tests {
    use pbft_protocol::{Timer, WriteId};

    use super::*;
    use crate::testing::{digest, identity};

    #[test]
    fn what_is_altered_withheld_or_made_counts_for_each_receiver() {
        let ask = |name: &str| PeerMessage::FetchBody(digest(name.as_bytes()));
        let send = |to, name| Effect::Send { to: ReplicaId(to), message: ask(name) };
        let all = |name| Effect::Broadcast(ask(name));
        let write = |then| Effect::Persist { id: WriteId(1), records: Vec::new(), then };
        let timer = Effect::SetTimer { timer: Timer::Status, at: None };
        for (wanted, done, count) in [
            (vec![all("a"), timer.clone()], vec![all("a"), timer.clone()], 0),
            // The same, said otherwise.
            (vec![all("a")], vec![send(3, "a"), send(1, "a"), send(2, "a")], 0),
            (vec![write(vec![all("a")])], vec![write(vec![]), all("a")], 0),
            (vec![timer], vec![], 0),
            // Withheld, altered, made.
            (vec![all("a")], vec![], 3),
            (vec![all("a")], vec![send(1, "a"), send(2, "b"), send(3, "a")], 1),
            (vec![write(vec![send(1, "a")])], vec![write(vec![send(2, "a")])], 1),
            (vec![], vec![send(1, "a"), send(1, "a")], 2),
        ] {
            assert_eq!(deeds(&identity(4, ReplicaId(0)), &wanted, &done), count, "{wanted:?} {done:?}");
        }
    }
}
