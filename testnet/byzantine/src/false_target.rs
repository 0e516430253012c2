use pbft_crypto::{Domain, Hasher};
use pbft_messages::{Checkpoint, PeerMessage, Sequence, StableCertificate, Status};
use pbft_protocol::{Effect, Effects, Now};

use crate::parameters::{Values, choice};
use crate::rewrite::rewrite;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "false-target",
    row: 46,
    parameters: &[Parameter {
        name: "target",
        default: "ahead",
        meaning: "what it holds out: ahead (statuses of a replica that is far ahead, further each time), behind \
                  (statuses of one that is lost at genesis), stale (the first checkpoint that it handed over, for ever) \
                  or forged (certificates of checkpoints to come, in the names of others)",
    }],
    does: "Holds out state that it does not serve: statuses that are not true, certificates that are out of date, and to \
           every question for a part the answer that it has no such snapshot.",
    defeated_by: "C3 and C4: statuses are hints that bind nobody; what is fetched is the newest checkpoint that a \
                  certificate proves, from all who hold it; a source without it is left out; and who asks for help is \
                  helped a few times a round (R3).",
    expect: "Replicas that lag catch up from the others; nobody chases what no quorum has vouched for.",
    stage: Stage::Transfer,
    samples: &Sample::all(
        Proof::Never,
        [
            "false-target",
            "false-target:target=behind",
            "false-target:target=stale",
            "false-target:target=forged",
        ],
    ),
    pause: Pause::None,
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let target = values.get("target", &identity.configuration)?;
    Ok(Box::new(FalseTarget { identity: identity.clone(), target, told: 0, first: None }))
}

/// `false-target`: a source of state that there is not.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct FalseTarget {
    identity: Identity,
    target: Target,
    /// How many statuses it has told.
    told: u64,
    /// The first checkpoint that it handed over.
    first: Option<StableCertificate>,
}

choice! {
    /// What it holds out.
    Target { Ahead = "ahead", Behind = "behind", Stale = "stale", Forged = "forged" },
    "ahead, behind, stale or forged"
}

impl FalseTarget {
    fn status(&mut self, mut status: Status) -> Status {
        self.told += 1;
        let window = self.identity.configuration.parameters().window;
        match self.target {
            Target::Ahead => {
                let far = window.saturating_mul(self.told);
                (status.stable, status.last_executed) =
                    (status.stable.plus(far), status.last_executed.plus(far));
            }
            Target::Behind => {
                (status.stable, status.last_executed) = (Sequence(0), Sequence(0));
                // It asks everybody in turn.
                let n = self.identity.configuration.n() as u64;
                status.asks = self.identity.others().nth((self.told % (n - 1)) as usize);
            }
            Target::Stale | Target::Forged => {}
        }
        status
    }
}

impl FalseTarget {
    /// A certificate of the checkpoint after the next one. Accomplices' signatures are their own.
    fn forged(&self, stable: Sequence) -> StableCertificate {
        let configuration = &self.identity.configuration;
        let sequence = stable.plus(2 * configuration.parameters().checkpoint_interval);
        let root = Hasher::new(Domain::MerkleRoot).bytes(b"forged").number(sequence.0).finish();
        let statement = Checkpoint { sequence, root };
        let signers = configuration.replicas().take(configuration.quorum().get());
        let signatures = signers.map(|it| (it, *self.identity.forge(it, statement.clone()).signature()));
        StableCertificate { signatures: signatures.collect(), statement }
    }
}

impl Strategy for FalseTarget {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        rewrite(effects, &mut |effect, out| match effect {
            Effect::Broadcast(PeerMessage::Status(status)) => {
                if self.target == Target::Forged {
                    out.push(Effect::Broadcast(PeerMessage::Stable(self.forged(status.stable))));
                }
                out.push(Effect::Broadcast(PeerMessage::Status(self.status(status))));
            }
            Effect::Send { to, message: PeerMessage::Stable(certificate) } => {
                let first = self.first.get_or_insert_with(|| certificate.clone()).clone();
                let shown = if self.target == Target::Stale { first } else { certificate };
                out.push(Effect::Send { to, message: PeerMessage::Stable(shown) });
            }
            Effect::ServePart { to, id } => {
                out.push(Effect::Send { to, message: PeerMessage::NoSnapshot(id.sequence) });
            }
            other => out.push(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::Rejected;
    use pbft_messages::{Part, PartId, ReplicaId, View};

    use super::*;
    use crate::testing::{configuration, identity, made, stable, told, told_at};

    fn status(strategy: &mut dyn Strategy) -> Status {
        let truth = Status {
            view: View(1),
            pending: None,
            stable: Sequence(8),
            last_executed: Sequence(9),
            asks: None,
            slots: vec![],
            recovering: None,
            proven: vec![],
        };
        match &told(strategy, PeerMessage::Status(truth))[..] {
            [(None, PeerMessage::Status(status))] => status.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn statuses_are_ahead_or_behind() {
        let identity = identity(4, ReplicaId(1));
        let window = identity.configuration.parameters().window;
        let mut ahead = made("false-target", &identity);
        assert_eq!(status(&mut *ahead).stable, Sequence(8 + window));
        assert_eq!(status(&mut *ahead).last_executed, Sequence(9 + 2 * window));
        let mut behind = made("false-target:target=behind", &identity);
        let asked: Vec<_> = (0..3).map(|_| status(&mut *behind)).collect();
        assert!(asked.iter().all(|it| (it.stable, it.last_executed) == (Sequence(0), Sequence(0))));
        assert_eq!(asked.iter().filter_map(|it| it.asks).map(|it| it.0).collect::<Vec<_>>(), [2, 3, 0]);
    }

    #[test]
    fn what_it_holds_out_it_does_not_serve() {
        let mut strategy = made("false-target:target=stale", &identity(4, ReplicaId(1)));
        let to = ReplicaId(2);
        for sequence in [128, 256] {
            let shown = PeerMessage::Stable(stable(sequence));
            let told = told_at(&mut *strategy, 0, vec![Effect::Send { to, message: shown }]);
            assert_eq!(told, [(Some(to), PeerMessage::Stable(stable(128)))]);
        }
        let id = PartId { sequence: Sequence(128), part: Part::Chunk(0) };
        let told = told_at(&mut *strategy, 0, vec![Effect::ServePart { to, id }]);
        assert_eq!(told, [(Some(to), PeerMessage::NoSnapshot(Sequence(128)))]);
    }

    #[test]
    fn what_is_forged_is_refused() {
        let mut strategy = made("false-target:target=forged", &identity(4, ReplicaId(1)));
        let truth =
            PeerMessage::Status(status(&mut *made("false-target:target=stale", &identity(4, ReplicaId(1)))));
        let told = told(&mut *strategy, truth.clone());
        assert_eq!(told[1], (None, truth));
        assert!(matches!(
            told[0].1.clone().verify(&configuration(4)),
            Err(Rejected::BadSignature(_) | Rejected::Malformed(_))
        ));
    }
}
