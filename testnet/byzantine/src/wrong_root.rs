use pbft_crypto::{Digest, Domain, Hasher, Signed};
use pbft_messages::{Checkpoint, EvidenceKind, PeerMessage, Sequence};
use pbft_protocol::{Effects, Now};

use crate::parameters::{Values, choice};
use crate::rewrite::retell_each;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "wrong-root",
    row: 44,
    parameters: &[Parameter {
        name: "roots",
        default: "two",
        meaning: "two (the right one and a wrong one to everybody, each half in another order), halves (a wrong one to \
                  half of the replicas) or one (the same wrong one to everybody)",
    }],
    does: "Vouches in its CHECKPOINTs for states that are not. Accomplices that do the same vouch for the same wrong \
           states.",
    defeated_by: "C1: a checkpoint is stable by Q equal votes, of which at least f+1 are correct replicas', so no wrong \
                  root becomes one.",
    expect: "Checkpoints that become stable as ever; evidence of kind checkpoint against this replica where two roots \
             reach one replica.",
    stage: Stage::Always,
    samples: &[
        Sample { text: "wrong-root", proof: Proof::Sure(EvidenceKind::Checkpoint) },
        Sample { text: "wrong-root:roots=halves", proof: Proof::Possible },
        Sample { text: "wrong-root:roots=one", proof: Proof::Possible },
    ],
    pause: Pause::None,
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let roots = values.get("roots", &identity.configuration)?;
    Ok(Box::new(WrongRoot { identity: identity.clone(), roots }))
}

/// `wrong-root`: votes for states that are not.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct WrongRoot {
    identity: Identity,
    roots: Roots,
}

choice! {
    /// Which roots it vouches for.
    Roots { Two = "two", Halves = "halves", One = "one" },
    "two, halves or one"
}

impl WrongRoot {
    fn lie(&self, truth: &Signed<Checkpoint>) -> Option<Signed<Checkpoint>> {
        let Checkpoint { sequence, .. } = truth.peek().ok()?;
        Some(self.identity.sign(Checkpoint { sequence, root: wrong_root(sequence) }))
    }
}

/// The root that all who lie name.
fn wrong_root(sequence: Sequence) -> Digest {
    Hasher::new(Domain::MerkleRoot).bytes(b"wrong").number(sequence.0).finish()
}

impl Strategy for WrongRoot {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        let votes = |it: &PeerMessage| matches!(it, PeerMessage::Checkpoint(_));
        retell_each(&self.identity, effects, votes, &mut |to, message| {
            let PeerMessage::Checkpoint(truth) = message else { return vec![message] };
            let Some(lie) = self.lie(&truth) else { return vec![PeerMessage::Checkpoint(truth)] };
            let told = match (self.roots, self.identity.is_in_second_half(to)) {
                (Roots::Two, true) => vec![lie, truth],
                (Roots::Two, false) => vec![truth, lie],
                (Roots::Halves, false) => vec![truth],
                (Roots::Halves, true) | (Roots::One, _) => vec![lie],
            };
            told.into_iter().map(PeerMessage::Checkpoint).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::ReplicaId;

    use super::*;
    use crate::testing::{configuration, digest, identity, made, told};

    /// The roots that each of the others hears from r1, `true` for the right one.
    fn roots(text: &str) -> Vec<(u16, bool)> {
        let identity = identity(4, ReplicaId(1));
        let right = digest(b"root");
        let truth = identity.sign(Checkpoint { sequence: Sequence(128), root: right });
        let told = told(&mut *made(text, &identity), PeerMessage::Checkpoint(truth));
        let heard = told.into_iter().map(|(to, message)| match message {
            PeerMessage::Checkpoint(vote) => {
                (to.unwrap().0, vote.verify(&configuration(4)).unwrap().value().root == right)
            }
            other => panic!("{other:?}"),
        });
        heard.collect()
    }

    #[test]
    fn roots_are_wrong_for_whom_they_should_be() {
        let two = [(0, true), (0, false), (2, true), (2, false), (3, false), (3, true)];
        assert_eq!(roots("wrong-root"), two);
        assert_eq!(roots("wrong-root:roots=halves"), [(0, true), (2, true), (3, false)]);
        assert_eq!(roots("wrong-root:roots=one"), [(0, false), (2, false), (3, false)]);
    }
}
