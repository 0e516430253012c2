use pbft_crypto::{Digest, Domain, Hasher, Signed};
use pbft_messages::{Body, EvidenceKind, NewView, PeerMessage, PrePrepare, Sequence};
use pbft_protocol::{Effects, Now};

use crate::own_view_change::new_view;
use crate::parameters::{Values, choice};
use crate::rewrite::retell;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "wrong-new-view",
    row: 40,
    parameters: &[Parameter {
        name: "entry",
        default: "null",
        meaning: "what is wrong: null (for the last batch that is carried over), digest (another batch in its place), \
                  missing (the last entry is), extra (one more than follows), few (one VIEW-CHANGE less than a quorum) \
                  or repeated (one replica's VIEW-CHANGE stands for another's too)",
    }],
    does: "As the primary of a new view, signs a NEW-VIEW whose O does not follow from its V, or that follows from no \
           quorum. Where V carries nothing over there is one entry too many.",
    defeated_by: "VC5: every backup checks the quorum (fault 2), computes O from V and enters nothing else.",
    expect: "Evidence of kind new-view that names exactly this replica, and the view after it instead, at once (VC5).",
    stage: Stage::ViewChange,
    samples: &Sample::all(
        Proof::Sure(EvidenceKind::NewView),
        [
            "wrong-new-view",
            "wrong-new-view:entry=digest",
            "wrong-new-view:entry=missing",
            "wrong-new-view:entry=extra",
            "wrong-new-view:entry=few",
            "wrong-new-view:entry=repeated",
        ],
    ),
    pause: Pause::ViewTimeouts(2),
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let wrong = values.get("entry", &identity.configuration)?;
    Ok(Box::new(WrongNewView { identity: identity.clone(), wrong }))
}

/// `wrong-new-view`: a NEW-VIEW whose O does not follow from its V.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct WrongNewView {
    identity: Identity,
    wrong: Wrong,
}

choice! {
    /// What is wrong.
    Wrong {
        Null = "null",
        Digest = "digest",
        Missing = "missing",
        Extra = "extra",
        Few = "few",
        Repeated = "repeated",
    },
    "null, digest, missing, extra, few or repeated"
}

impl WrongNewView {
    fn message(&self, message: PeerMessage) -> PeerMessage {
        match message {
            PeerMessage::NewView(signed) if signed.claimed_signer() == self.identity.replica => {
                PeerMessage::NewView(self.lie(&signed).unwrap_or(signed))
            }
            other => other,
        }
    }

    /// As if fewer were enough: all else follows from those.
    fn without_quorum(&self, truth: NewView) -> Option<Signed<NewView>> {
        let NewView { view, mut view_changes, .. } = truth;
        let last = view_changes.pop()?;
        if self.wrong == Wrong::Repeated {
            view_changes.push(view_changes.first().cloned().unwrap_or(last));
        }
        new_view(&self.identity, view, view_changes)
    }

    fn lie(&self, signed: &Signed<NewView>) -> Option<Signed<NewView>> {
        let mut new_view = signed.peek().ok()?;
        if matches!(self.wrong, Wrong::Few | Wrong::Repeated) {
            return self.without_quorum(new_view);
        }
        let max_s = new_view.carried_over().ok()?.max_s();
        let entry =
            |sequence, digest| self.identity.sign(PrePrepare { view: new_view.view, sequence, digest });
        // As if nobody had prepared it; or, where nobody had, as if somebody had.
        let last = new_view.pre_prepares.pop().and_then(|it| it.peek().ok());
        let wrong = match (self.wrong, last) {
            (Wrong::Null, Some(last)) if last.digest != Body::null_digest() => {
                vec![entry(max_s, Body::null_digest())]
            }
            (Wrong::Null | Wrong::Digest, Some(_)) => vec![entry(max_s, invented(max_s))],
            (Wrong::Missing, Some(_)) => vec![],
            (Wrong::Extra | Wrong::Few | Wrong::Repeated, Some(last)) => {
                vec![entry(max_s, last.digest), entry(max_s.next(), invented(max_s.next()))]
            }
            (_, None) => vec![entry(max_s.next(), invented(max_s.next()))],
        };
        new_view.pre_prepares.extend(wrong);
        Some(self.identity.sign(new_view))
    }
}

/// The digest of a batch that does not exist.
fn invented(sequence: Sequence) -> Digest {
    Hasher::new(Domain::Batch).bytes(b"invented").number(sequence.0).finish()
}

impl Strategy for WrongNewView {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        retell(effects, &mut |message| self.message(message))
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Message, ReplicaId, View};

    use super::*;
    use crate::testing::{configuration, identity, made, prepared, told, view_change};

    #[test]
    fn whatever_is_wrong_with_it_is_evidence() {
        let (configuration, identity) = (configuration(4), identity(4, ReplicaId(1)));
        let nothing = vec![];
        let a_batch = vec![prepared(0, 2, "b")];
        let a_null = vec![prepared(0, 1, "a"), prepared(0, 3, "c")];
        for entry in ["null", "digest", "missing", "extra", "few", "repeated"] {
            for proofs in [&nothing, &a_batch, &a_null] {
                let mut strategy = made(&format!("wrong-new-view:entry={entry}"), &identity);
                let quorum = (1..4).map(|it| view_change(it, 1, proofs.clone())).collect();
                let honest = PeerMessage::NewView(new_view(&identity, View(1), quorum).unwrap());
                assert!(matches!(honest.clone().verify(&configuration), Ok(Message::NewView(_))));
                let wrong = told(&mut *strategy, honest).remove(0).1;
                match wrong.verify(&configuration) {
                    Ok(Message::Evidence(it)) => {
                        assert_eq!(it.get().accusation().unwrap().accused, ReplicaId(1));
                    }
                    other => panic!("{entry}: {other:?}"),
                }
            }
        }
    }
}
