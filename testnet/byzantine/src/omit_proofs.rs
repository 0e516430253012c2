use pbft_messages::EvidenceKind;
use pbft_protocol::{Effects, Now};

use crate::own_view_change::OwnViewChange;
use crate::parameters::{Values, choice};
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "omit-proofs",
    row: 38,
    parameters: &[Parameter {
        name: "omit",
        default: "all",
        meaning: "which of the prepared certificates it keeps to itself: all, or last",
    }],
    does: "Asks for views with a VIEW-CHANGE that leaves out prepared certificates it holds. As the new primary it \
           shows that VIEW-CHANGE too, and carries over what follows from it.",
    defeated_by: "Quorum intersection: whatever was committed is shown by a correct replica in every quorum (VC2, \
                  VC4), so nothing that counts is lost by f omissions.",
    expect: "View changes that carry over every committed batch; evidence of kind omission, made of the VIEW-CHANGE \
             and a COMMIT of the same replica for what it leaves out.",
    stage: Stage::ViewChange,
    samples: &Sample::all(Proof::Sure(EvidenceKind::Omission), ["omit-proofs", "omit-proofs:omit=last"]),
    pause: Pause::ViewTimeouts(1),
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let omitted = values.get("omit", &identity.configuration)?;
    Ok(Box::new(OmitProofs { view_change: OwnViewChange::new(identity.clone()), omitted }))
}

/// `omit-proofs`: a VIEW-CHANGE that leaves out prepared certificates.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct OmitProofs {
    view_change: OwnViewChange,
    omitted: Omitted,
}

choice! {
    /// What is left out.
    Omitted { All = "all", Last = "last" },
    "all or last"
}

impl Strategy for OmitProofs {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        let omitted = self.omitted;
        self.view_change.replace(effects, &mut |mut view_change| {
            let kept = match omitted {
                Omitted::All => 0,
                Omitted::Last => view_change.prepared.len().saturating_sub(1),
            };
            view_change.prepared.truncate(kept);
            view_change
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Message, PeerMessage, ReplicaId, View};

    use crate::own_view_change::new_view;
    use crate::testing::{configuration, identity, made, prepared, told, view_change};

    /// How many certificates of r1's VIEW-CHANGE are left, and of how many the others hear.
    #[test]
    fn its_own_certificates_are_left_out_and_the_message_is_good_all_the_same() {
        let configuration = configuration(4);
        let proofs = || vec![prepared(0, 1, "a"), prepared(0, 2, "b")];
        for (text, left) in [("omit-proofs", 0), ("omit-proofs:omit=last", 1)] {
            let mut strategy = made(text, &identity(4, ReplicaId(1)));
            let truth = PeerMessage::ViewChange(view_change(1, 1, proofs()));
            let first = told(&mut *strategy, truth.clone());
            assert_eq!(told(&mut *strategy, truth), first, "the same lie each time");
            match first[0].1.clone().verify(&configuration) {
                Ok(Message::ViewChange(it)) => assert_eq!(it.value().prepared.len(), left),
                other => panic!("{other:?}"),
            }
            let of_another = PeerMessage::ViewChange(view_change(2, 1, proofs()));
            assert_eq!(told(&mut *strategy, of_another.clone()), [(None, of_another)]);
        }
    }

    #[test]
    fn as_the_primary_it_carries_over_what_the_others_show() {
        let (configuration, identity) = (configuration(4), identity(4, ReplicaId(1)));
        let mut strategy = made("omit-proofs", &identity);
        let quorum = vec![
            view_change(1, 1, vec![prepared(0, 1, "a"), prepared(0, 2, "b")]),
            view_change(2, 1, vec![prepared(0, 1, "a")]),
            view_change(3, 1, vec![]),
        ];
        let honest = new_view(&identity, View(1), quorum).unwrap();
        match told(&mut *strategy, PeerMessage::NewView(honest))[0].1.clone().verify(&configuration) {
            Ok(Message::NewView(it)) => assert_eq!(it.value().pre_prepares.len(), 1),
            other => panic!("{other:?}"),
        }
    }
}
