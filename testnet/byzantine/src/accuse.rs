use pbft_crypto::{Digest, Domain, Verified};
use pbft_messages::{Commit, Conflict, Evidence, PeerMessage, Sequence, View};
use pbft_protocol::{Effect, Effects, Now};

use crate::parameters::Values;
use crate::ticker::Ticker;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "accuse",
    row: 34,
    parameters: &[Parameter { name: "rate", default: "20", meaning: "how many accusations a second" }],
    does: "Hands everybody evidence against the others in turn: two COMMITs for one place in the name of each, under \
           signatures that are not its own. Accomplices sign theirs themselves.",
    defeated_by: "E and fault 38: each statement inside evidence is verified, before it is kept or passed on.",
    expect: "Nothing but refused frames: nobody correct is ever convicted.",
    stage: Stage::Always,
    samples: &Sample::all(Proof::Never, ["accuse", "accuse:rate=2"]),
    pause: Pause::None,
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let ticker = Ticker::new(values.get("rate", &identity.configuration)?);
    Ok(Box::new(Accuse { identity: identity.clone(), ticker, made: 0 }))
}

/// `accuse`: a replica that forges evidence against others.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct Accuse {
    identity: Identity,
    ticker: Ticker,
    /// How many accusations so far.
    made: u64,
}

impl Accuse {
    fn accusation(&self) -> Option<Evidence> {
        let others: Vec<_> = self.identity.others().collect();
        let accused = others[self.made as usize % others.len()];
        let signer = self.identity.accomplices.get(&accused).unwrap_or(&self.identity.signer);
        let commit = |name| {
            let digest = Digest::of(Domain::Batch, name);
            let commit = Commit { view: View(0), sequence: Sequence(1 + self.made), digest };
            Verified::sign(commit, accused, &**signer, self.identity.configuration.scope())
        };
        Conflict::between(&commit(b"one"), &commit(b"another")).map(Evidence::Commits)
    }
}

impl Strategy for Accuse {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, now: Now, effects: Effects) -> Effects {
        let mut effects = effects;
        for _ in 0..self.ticker.due(now) {
            if let Some(evidence) = self.accusation() {
                effects.push(Effect::Broadcast(PeerMessage::Evidence(evidence)));
            }
            self.made += 1;
        }
        effects
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::Rejected;
    use pbft_messages::ReplicaId;

    use super::*;
    use crate::testing::{configuration, identity, made, told_at};

    #[test]
    fn everybody_else_is_accused_and_nobody_believes_it() {
        let mut strategy = made("accuse:rate=10", &identity(4, ReplicaId(2)));
        assert_eq!(told_at(&mut *strategy, 0, vec![]), []);
        let told = told_at(&mut *strategy, 300, vec![]);
        let mut accused = Vec::new();
        for (to, message) in told {
            let PeerMessage::Evidence(evidence) = &message else { panic!("{message:?}") };
            accused.push((to, evidence.accusation().unwrap().accused.0));
            assert!(matches!(message.verify(&configuration(4)), Err(Rejected::BadSignature(_))));
        }
        assert_eq!(accused, [(None, 0), (None, 1), (None, 3)]);
    }
}
