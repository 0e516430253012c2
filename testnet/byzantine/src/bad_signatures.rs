use std::collections::BTreeSet;

use pbft_crypto::{Digest, Domain, Signature, Signed, Statement as _};
use pbft_messages::{Commit, PeerMessage, ReplicaId, Sequence, View};
use pbft_protocol::{Effect, Effects, Now};

use crate::group::Group;
use crate::parameters::Values;
use crate::ticker::Ticker;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "bad-signatures",
    row: 34,
    parameters: &[
        Parameter { name: "rate", default: "100", meaning: "how many messages a second each of them gets" },
        Parameter { name: "to", default: "all", meaning: "who gets them" },
    ],
    does: "Sends COMMITs under bad signatures beside what it should send. Checking them is all the work that they make.",
    defeated_by: "R3: a bad peer costs itself; bad signatures are counted against the link that they came on, which is \
                  slowed, then cut. R2: each peer has a budget of its own.",
    expect: "Nothing but refused frames and, between processes, a link that closes. What nobody signed convicts nobody.",
    stage: Stage::Always,
    samples: &Sample::all(Proof::Never, ["bad-signatures:rate=10", "bad-signatures:rate=50,to=1"]),
    pause: Pause::ViewTimeouts(1),
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let configuration = &identity.configuration;
    let to = values.get::<Group>("to", configuration)?.among(identity.others(), configuration);
    let ticker = Ticker::new(values.get("rate", configuration)?);
    Ok(Box::new(BadSignatures { me: identity.replica, to, ticker, sent: 0 }))
}

/// `bad-signatures`: a replica that makes others check bad signatures.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct BadSignatures {
    me: ReplicaId,
    to: BTreeSet<ReplicaId>,
    ticker: Ticker,
    /// How many so far: no two are alike, so that nobody need remember having seen one.
    sent: u64,
}

impl Strategy for BadSignatures {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, now: Now, effects: Effects) -> Effects {
        let mut effects = effects;
        for _ in 0..self.ticker.due(now) {
            self.sent += 1;
            let digest = Digest::of(Domain::Batch, &self.sent.to_le_bytes());
            let commit = Commit { view: View(0), sequence: Sequence(self.sent), digest };
            let signature = Signature::from_bytes(&[1; Signature::LENGTH]);
            let message = PeerMessage::Commit(Signed::from_parts(self.me, commit.encode().into(), signature));
            self.to.iter().for_each(|to| effects.push(Effect::Send { to: *to, message: message.clone() }));
        }
        effects
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pbft_crypto::Rejected;
    use pbft_protocol::Instant;

    use super::*;
    use crate::testing::{configuration, identity, made};

    #[test]
    fn it_sends_at_its_rate_what_nobody_believes() {
        let mut flooding = made("bad-signatures:rate=20,to=r0/r3", &identity(4, ReplicaId(2)));
        let mut sent = Vec::new();
        for ms in (0..=1000).step_by(50) {
            let instant = Instant::after_start(Duration::from_millis(ms));
            sent.extend(flooding.effects(Now { instant, ..Now::default() }, Effects::new()));
        }
        assert_eq!(sent.len(), 20 * 2);
        for effect in sent {
            let Effect::Send { message, .. } = effect else { panic!("{effect:?}") };
            assert!(matches!(message.verify(&configuration(4)), Err(Rejected::BadSignature(_))));
        }
    }
}
