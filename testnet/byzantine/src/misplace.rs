use pbft_messages::{Commit, Configuration, PeerMessage, Prepare, Sequence, View};
use pbft_protocol::{Effects, Now};

use crate::parameters::{Value, Values};
use crate::rewrite::retell;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "misplace",
    row: 35,
    parameters: &[
        Parameter { name: "view", default: "1", meaning: "what is added to the view of each vote" },
        Parameter { name: "sequence", default: "0", meaning: "what is added to its sequence" },
    ],
    does: "Signs each PREPARE and each COMMIT for another view or sequence than is meant, near or far. The right ones it \
           does not send.",
    defeated_by: "Votes count only at their own (view, sequence, digest), and a quorum needs none of this replica's; R1 \
                  and fault 33: what is kept of higher views and of sequences beyond the window is bounded.",
    expect: "Nothing: it might as well be silent. A vote at a wrong place contradicts nothing, so there is no evidence, \
             unless the replica has voted there before, or a VIEW-CHANGE of its own denies it.",
    stage: Stage::Always,
    samples: &Sample::all(
        Proof::Possible,
        [
            "misplace",
            "misplace:view=-1",
            "misplace:view=0,sequence=1",
            "misplace:view=0,sequence=-1",
            "misplace:view=1000000000",
            "misplace:view=0,sequence=1000000000",
        ],
    ),
    pause: Pause::ViewTimeouts(1),
};

/// What is added to a number that stays one.
#[derive(Clone, Copy, Debug)]
struct Offset(i64);

impl Value for Offset {
    const FORM: &'static str = "a whole number, perhaps below zero";

    fn parse(text: &str, _: &Configuration) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl Offset {
    fn from(self, number: u64) -> u64 {
        number.saturating_add_signed(self.0)
    }
}

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let configuration = &identity.configuration;
    let (view, sequence) = (values.get("view", configuration)?, values.get("sequence", configuration)?);
    Ok(Box::new(Misplace { identity: identity.clone(), view, sequence }))
}

/// `misplace`: a replica whose votes are for wrong places.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct Misplace {
    identity: Identity,
    view: Offset,
    sequence: Offset,
}

impl Misplace {
    fn moved(&self, view: View, sequence: Sequence) -> (View, Sequence) {
        (View(self.view.from(view.0)), Sequence(self.sequence.from(sequence.0)))
    }

    /// The vote at another place; `None` for what is no vote of its own.
    fn misplaced(&self, message: &PeerMessage) -> Option<PeerMessage> {
        let own = |signer| signer == self.identity.replica;
        match message {
            PeerMessage::Prepare(vote, header) if own(vote.claimed_signer()) => {
                let Prepare { view, sequence, digest } = vote.peek().ok()?;
                let (view, sequence) = self.moved(view, sequence);
                Some(PeerMessage::Prepare(self.identity.sign(Prepare { view, sequence, digest }), *header))
            }
            PeerMessage::Commit(vote) if own(vote.claimed_signer()) => {
                let Commit { view, sequence, digest } = vote.peek().ok()?;
                let (view, sequence) = self.moved(view, sequence);
                Some(PeerMessage::Commit(self.identity.sign(Commit { view, sequence, digest })))
            }
            _ => None,
        }
    }
}

impl Strategy for Misplace {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        retell(effects, &mut |message| self.misplaced(&message).unwrap_or(message))
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Message, ReplicaId};
    use pbft_protocol::Effect;

    use super::*;
    use crate::testing::{configuration, digest, identity, made};

    #[test]
    fn good_votes_come_for_other_places() {
        let identity = identity(4, ReplicaId(2));
        let place = |text: &str| {
            let commit = Commit { view: View(3), sequence: Sequence(9), digest: digest(b"a") };
            let effects = vec![Effect::Broadcast(PeerMessage::Commit(identity.sign(commit)))];
            match made(text, &identity).effects(Now::default(), effects.into()).into_iter().next() {
                Some(Effect::Broadcast(message)) => match message.verify(&configuration(4)) {
                    Ok(Message::Commit(vote)) => (vote.value().view.0, vote.value().sequence.0),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(place("misplace"), (4, 9));
        assert_eq!(place("misplace:view=-9,sequence=2"), (0, 11));
        assert_eq!(place("misplace:view=0,sequence=-9223372036854775808"), (3, 0));
    }
}
