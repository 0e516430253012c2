use pbft_crypto::{Digest, Domain, Signed, Statement as _, Verified};
use pbft_messages::{Body, PrePrepare, RequestNumber, SessionId, Submission};
use pbft_service::kv::Operation;

use crate::batch::altered;
use crate::parameters::{Values, choice};
use crate::reproposal::Reproposal;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "invent",
    row: 30,
    parameters: &[Parameter {
        name: "what",
        default: "forged",
        meaning: "forged: a request in an admitted client's name under a bad signature; operation: one more request in \
                  a session of the batch, under a signature of another; stranger: one that is well \
                  signed by nobody admitted; twice: one that is in the batch already; digest: a digest that is not the \
                  body's",
    }],
    does: "As primary, puts a request that no client made into each batch, or announces a digest that is not the \
           batch's. As a backup it behaves well.",
    defeated_by: "N2: a backup accepts a proposal only if the digest is the body's and each submission is signed by an \
                  admitted client and there once; one bad part refuses the whole.",
    expect: "One pause of about the view timeout, then a view change; nothing that was invented is executed. The replica \
             is cut off for sending what no correct one sends. A single bad statement is no contradiction, so there is \
             no evidence.",
    stage: Stage::Primary,
    samples: &Sample::all(
        Proof::Never,
        [
            "invent",
            "invent:what=operation",
            "invent:what=stranger",
            "invent:what=twice",
            "invent:what=digest",
        ],
    ),
    pause: Pause::ViewTimeouts(1),
};

choice! {
    /// What is invented.
    What { Forged = "forged", Operation = "operation", Stranger = "stranger", Twice = "twice", Digest = "digest" },
    "forged, operation, stranger, twice or digest"
}

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let what = values.get("what", &identity.configuration)?;
    let me = identity.clone();
    let change = move |proposal: &PrePrepare, body: &Body| invent(what, &me, proposal, body);
    Ok(Box::new(Reproposal::new(DESCRIPTION.name, identity, change)))
}

fn invent(what: What, me: &Identity, proposal: &PrePrepare, body: &Body) -> Option<(PrePrepare, Body)> {
    let body = match what {
        What::Digest => {
            let digest = Digest::of(Domain::Batch, body.digest().as_bytes());
            return Some((PrePrepare { digest, ..proposal.clone() }, body.clone()));
        }
        What::Twice => altered(body, |submissions| submissions.extend(submissions.first().cloned())),
        What::Forged => {
            let (client, _) = me.configuration.clients().next()?;
            let signed = strangers(me);
            let forged = Signed::from_parts(client, signed.payload().clone(), *signed.signature());
            altered(body, |submissions| submissions.push(forged))
        }
        What::Operation => altered(body, |submissions| {
            let forged = submissions.iter().find_map(one_more);
            submissions.extend(forged);
        }),
        What::Stranger => altered(body, |submissions| submissions.push(strangers(me))),
    }?;
    Some((PrePrepare { digest: body.digest(), ..proposal.clone() }, body))
}

/// What might be a client's next request after these, under the signature of these.
fn one_more(signed: &Signed<Submission>) -> Option<Signed<Submission>> {
    let (session, next) = match signed.peek().ok()? {
        Submission::Open { session } => (session, 1),
        Submission::Requests { session, first, operations } => (session, first.0 + operations.len() as u64),
    };
    let operations = vec![Operation::put("invented", "invented").encode()];
    let payload = Submission::Requests { session, first: RequestNumber(next), operations }.encode();
    Some(Signed::from_parts(signed.claimed_signer(), payload.into(), *signed.signature()))
}

/// A request of somebody who is no client: of this replica's own key.
fn strangers(Identity { signer, configuration, .. }: &Identity) -> Signed<Submission> {
    let submission = Submission::Open { session: SessionId(u64::MAX) };
    let name = signer.public_key().into();
    Verified::sign(submission, name, &**signer, configuration.scope()).signed().clone()
}

#[cfg(test)]
mod tests {
    use pbft_crypto::Rejected;
    use pbft_messages::{PeerMessage, ReplicaId};
    use pbft_protocol::{Effect, Now};

    use crate::testing::{configuration, identity, made, proposal};

    /// How a correct replica judges what is proposed.
    fn judged(text: &str) -> Result<(), Rejected> {
        let (header, body) = proposal(ReplicaId(1), 1, 9);
        let effects = vec![Effect::Broadcast(PeerMessage::Proposal(header, body))];
        let effects = made(text, &identity(4, ReplicaId(1))).effects(Now::default(), effects.into());
        match &Vec::from(effects)[..] {
            [Effect::Broadcast(message)] => message.clone().verify(&configuration(4)).map(drop),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_invention_is_refused_for_its_own_reason() {
        assert!(matches!(judged("invent"), Err(Rejected::BadSignature(_))));
        assert!(matches!(judged("invent:what=operation"), Err(Rejected::BadSignature(_))));
        assert!(matches!(judged("invent:what=stranger"), Err(Rejected::UnknownSigner(_))));
        for what in ["twice", "digest"] {
            assert!(matches!(judged(&format!("invent:what={what}")), Err(Rejected::Malformed(_))), "{what}");
        }
    }
}
