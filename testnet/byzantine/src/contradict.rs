use std::collections::BTreeSet;

use pbft_crypto::{Digest, Domain};
use pbft_messages::{Commit, EvidenceKind, PeerMessage, PrePrepare, Prepare, ReplicaId};
use pbft_protocol::{Effects, Now};

use crate::group::Group;
use crate::parameters::{Values, choice};
use crate::rewrite::retell_each;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "contradict",
    row: 33,
    parameters: &[
        Parameter {
            name: "votes",
            default: "both",
            meaning: "prepares, commits, both, or own (a primary's for its own proposals)",
        },
        Parameter { name: "to", default: "all", meaning: "who gets the second vote too" },
    ],
    does: "Votes twice: after each PREPARE and each COMMIT it signs another one at the same place, for a batch that there \
           is not. With votes=own it prepares, as the primary, what it proposed.",
    defeated_by: "Quorum intersection: votes are counted by digest and by sender (fault 2), so a second one fills no \
                  other quorum; a primary's PREPARE is refused (N3, fault 8); and section E: two votes at one place convict their signer.",
    expect: "Evidence of kind prepare (commit, for its COMMITs) that names exactly this replica, and no pause at all. \
             A primary's PREPARE contradicts nothing.",
    stage: Stage::Backup,
    samples: &[
        Sample { text: "contradict", proof: Proof::Sure(EvidenceKind::Prepare) },
        Sample { text: "contradict:to=1", proof: Proof::Sure(EvidenceKind::Prepare) },
        Sample { text: "contradict:votes=prepares,to=half", proof: Proof::Sure(EvidenceKind::Prepare) },
        Sample { text: "contradict:votes=own", proof: Proof::Never },
    ],
    pause: Pause::None,
};

choice! {
    /// Which votes.
    Votes { Prepares = "prepares", Commits = "commits", Both = "both", Own = "own" },
    "prepares, commits, both or own"
}

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let configuration = &identity.configuration;
    let to = values.get::<Group>("to", configuration)?.among(identity.others(), configuration);
    Ok(Box::new(Contradict { identity: identity.clone(), votes: values.get("votes", configuration)?, to }))
}

/// `contradict`: a replica that votes for two batches at one place.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct Contradict {
    identity: Identity,
    votes: Votes,
    to: BTreeSet<ReplicaId>,
}

impl Contradict {
    /// The vote that contradicts this one.
    fn second(&self, message: &PeerMessage) -> Option<PeerMessage> {
        let other = |digest: Digest| Digest::of(Domain::Batch, digest.as_bytes());
        let own = |signer| signer == self.identity.replica;
        match message {
            PeerMessage::Proposal(header, _) if self.votes == Votes::Own && own(header.claimed_signer()) => {
                let PrePrepare { view, sequence, digest } = header.peek().ok()?;
                let vote = self.identity.sign(Prepare { view, sequence, digest });
                Some(PeerMessage::Prepare(vote, *header.signature()))
            }
            PeerMessage::Prepare(vote, header)
                if matches!(self.votes, Votes::Prepares | Votes::Both) && own(vote.claimed_signer()) =>
            {
                let vote = vote.peek().ok()?;
                let second = Prepare { digest: other(vote.digest), ..vote };
                Some(PeerMessage::Prepare(self.identity.sign(second), *header))
            }
            PeerMessage::Commit(vote)
                if matches!(self.votes, Votes::Commits | Votes::Both) && own(vote.claimed_signer()) =>
            {
                let vote = vote.peek().ok()?;
                Some(PeerMessage::Commit(self.identity.sign(Commit { digest: other(vote.digest), ..vote })))
            }
            _ => None,
        }
    }
}

impl Strategy for Contradict {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        let is_vote = |message: &PeerMessage| {
            matches!(message, PeerMessage::Proposal(..) | PeerMessage::Prepare(..) | PeerMessage::Commit(_))
        };
        retell_each(&self.identity, effects, is_vote, &mut |to, message| {
            let second = self.second(&message).filter(|_| self.to.contains(&to));
            [message].into_iter().chain(second).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::Verified;
    use pbft_messages::{Conflict, Message, Sequence, View};
    use pbft_protocol::Effect;

    use super::*;
    use crate::testing::{configuration, digest, identity, made, proposal, told};

    #[test]
    fn both_votes_are_good_and_together_they_are_evidence() {
        let identity = identity(4, ReplicaId(2));
        let (view, sequence, digest) = (View(1), Sequence(9), digest(b"a"));
        let header = *proposal(ReplicaId(1), 1, 9).0.signature();
        let effects = vec![
            Effect::Broadcast(PeerMessage::Prepare(
                identity.sign(Prepare { view, sequence, digest }),
                header,
            )),
            Effect::Broadcast(PeerMessage::Commit(identity.sign(Commit { view, sequence, digest }))),
        ];
        let sent = |text: &str| {
            let effects = made(text, &identity).effects(Now::default(), effects.clone().into());
            let sent = effects.into_iter().map(|effect| match effect {
                Effect::Send { to, message } => (to.0, message.verify(&configuration(4)).unwrap()),
                other => panic!("{other:?}"),
            });
            sent.collect::<Vec<_>>()
        };
        let all = sent("contradict");
        let to: Vec<_> = all.iter().map(|(to, _)| *to).collect();
        assert_eq!(to, [0, 0, 1, 1, 3, 3, 0, 0, 1, 1, 3, 3]);
        let prepare = |message: &Message| match message {
            Message::Prepare(vote, _) => vote.clone(),
            other => panic!("{other:?}"),
        };
        let votes: [Verified<Prepare>; 2] = [prepare(&all[0].1), prepare(&all[1].1)];
        assert!(Conflict::between(&votes[0], &votes[1]).is_some());
        let to: Vec<_> = sent("contradict:votes=commits,to=r3").iter().map(|(to, _)| *to).collect();
        assert_eq!(to, [0, 1, 3, 0, 1, 3, 3]);
    }

    /// A primary's PRE-PREPARE is its vote (fault 8).
    #[test]
    fn nobody_takes_a_primarys_prepare() {
        let mut strategy = made("contradict:votes=own,to=1", &identity(4, ReplicaId(1)));
        let (header, body) = proposal(ReplicaId(1), 1, 9);
        let sent = told(&mut *strategy, PeerMessage::Proposal(header, body));
        assert_eq!(sent.iter().map(|(to, _)| to.unwrap().0).collect::<Vec<_>>(), [0, 2, 3, 3]);
        let refused = sent[3].1.clone().verify(&configuration(4));
        assert!(matches!(sent[3].1, PeerMessage::Prepare(..)) && refused.is_err(), "{refused:?}");
    }
}
