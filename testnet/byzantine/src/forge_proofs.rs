use std::collections::BTreeMap;

use pbft_crypto::{Domain, Hasher};
use pbft_messages::{
    Endorsed, EvidenceKind, PrePrepare, Prepare, PreparedCertificate, ReplicaId, Sequence, StableCertificate,
    View, ViewChange,
};
use pbft_protocol::{Effect, Effects, Now, Record};

use crate::own_view_change::OwnViewChange;
use crate::parameters::{Values, choice};
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "forge-proofs",
    row: 39,
    parameters: &[Parameter {
        name: "proofs",
        default: "forged",
        meaning: "forged (of a batch that does not exist, in the names of others), repeated (one backup's vote instead \
                  of all) or stale (the previous checkpoint, and certificates of the lowest views)",
    }],
    does: "Asks for views with a VIEW-CHANGE whose certificates are forged, count one vote several times, or are real \
           and out of date. Forged ones bear the real signatures of accomplices.",
    defeated_by: "VC3: one bad part rejects the whole message; where all are real, VC4: the highest checkpoint and the \
                  highest view's certificate of a quorum decide, so stale ones change nothing.",
    expect: "Forged and repeated certificates are refused and counted against the sender (R3); the view change ends all \
             the same. As the new primary it shows them in its NEW-VIEW, which is evidence of kind new-view; stale ones \
             that hide what it committed to are evidence of kind omission.",
    stage: Stage::ViewChange,
    samples: &[
        Sample { text: "forge-proofs", proof: Proof::Sure(EvidenceKind::NewView) },
        Sample { text: "forge-proofs:proofs=repeated", proof: Proof::Sure(EvidenceKind::NewView) },
        Sample { text: "forge-proofs:proofs=stale", proof: Proof::Possible },
    ],
    pause: Pause::ViewTimeouts(1),
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    Ok(Box::new(ForgeProofs {
        view_change: OwnViewChange::new(identity.clone()),
        proofs: values.get("proofs", &identity.configuration)?,
        past: Past::default(),
    }))
}

/// `forge-proofs`: a VIEW-CHANGE whose certificates prove nothing, or what was true some time ago.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct ForgeProofs {
    view_change: OwnViewChange,
    proofs: Proofs,
    past: Past,
}

choice! {
    /// What is wrong with them.
    Proofs {
        Forged = "forged",
        Repeated = "repeated",
        Stale = "stale",
    },
    "forged, repeated or stale"
}

/// What the replica stored some time ago, and what it would have replaced since.
#[derive(Debug, Default)]
struct Past {
    /// The last two stable checkpoints; the genesis has none.
    stable: [Option<StableCertificate>; 2],
    /// Above the earlier of them, the certificate of the lowest view at each sequence.
    prepared: BTreeMap<Sequence, PreparedCertificate>,
}

impl Past {
    fn note(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Prepared(certificate) => {
                    let sequence = certificate.proposal().sequence;
                    self.prepared.entry(sequence).or_insert_with(|| certificate.clone());
                }
                Record::Stable(certificate) => {
                    self.stable = [self.stable[1].take(), Some(certificate.clone())];
                    self.prepared = self.prepared.split_off(&self.low().next());
                }
                _ => {}
            }
        }
    }

    /// The earlier checkpoint's sequence.
    fn low(&self) -> Sequence {
        self.stable[0].as_ref().map_or(Sequence(0), |certificate| certificate.statement.sequence)
    }

    /// A VIEW-CHANGE as it was in order then.
    fn view_change(&self, view: View, window: u64) -> ViewChange {
        let high = self.low().plus(window);
        let prepared = self.prepared.range(..=high).map(|(_, certificate)| certificate.clone());
        let below = prepared.filter(|certificate| certificate.proposal().view < view);
        ViewChange { view, stable: self.stable[0].clone(), prepared: below.collect() }
    }
}

/// Appends a certificate for a batch that does not exist, of the view before the one that is asked for.
fn forge(identity: &Identity, view_change: &mut ViewChange) {
    let configuration = &identity.configuration;
    let last = view_change.prepared.last().map(|certificate| certificate.proposal().sequence);
    let stable = view_change.stable_sequence();
    let high = stable.plus(configuration.parameters().window);
    let sequence = last.unwrap_or(stable).next();
    if sequence > high {
        return;
    }
    let view = View(view_change.view.0.saturating_sub(1));
    let digest = Hasher::new(Domain::Batch).bytes(b"forged").number(sequence.0).finish();
    let primary = configuration.primary(view);
    let header = identity.forge(primary, PrePrepare { view, sequence, digest });
    let vote = Prepare { view, sequence, digest };
    // Accomplices first: theirs are good.
    let mut backups: Vec<_> = configuration.replicas().filter(|backup| *backup != primary).collect();
    backups.sort_by_key(|backup| (!is_ours(identity, *backup), *backup));
    let votes = backups.into_iter().take(configuration.quorum().prepares());
    let signatures = votes.map(|it| (it, *identity.forge(it, vote.clone()).signature())).collect();
    let prepares = Endorsed { statement: vote, signatures };
    view_change.prepared.push(PreparedCertificate { header, prepares });
}

fn is_ours(identity: &Identity, replica: ReplicaId) -> bool {
    replica == identity.replica || identity.accomplices.contains_key(&replica)
}

/// Lets the first backup's vote for the last certificate stand for all.
fn repeat(view_change: &mut ViewChange) {
    let Some(certificate) = view_change.prepared.last_mut() else { return };
    let signatures = &mut certificate.prepares.signatures;
    if let Some(first) = signatures.first().copied() {
        signatures.fill(first);
    }
}

impl Strategy for ForgeProofs {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        let effects: Vec<_> = effects.into();
        for effect in &effects {
            if let Effect::Persist { records, .. } = effect {
                self.past.note(records);
            }
        }
        let (identity, proofs, past) = (self.view_change.identity.clone(), self.proofs, &self.past);
        self.view_change.replace(effects.into(), &mut |mut view_change| {
            match proofs {
                Proofs::Forged => forge(&identity, &mut view_change),
                Proofs::Repeated => repeat(&mut view_change),
                Proofs::Stale => {
                    return past.view_change(view_change.view, identity.configuration.parameters().window);
                }
            }
            view_change
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Rejected, Signed, Statement as _};
    use pbft_messages::{Certificate as _, Message, PeerMessage};
    use pbft_protocol::WriteId;

    use super::*;
    use crate::testing::{band, configuration, identity, made, prepared, stable, told, told_at, view_change};

    fn shown(strategy: &mut dyn Strategy, proofs: Vec<PreparedCertificate>) -> PeerMessage {
        told(strategy, PeerMessage::ViewChange(view_change(1, 5, proofs))).remove(0).1
    }

    fn stores(strategy: &mut dyn Strategy, record: Record) {
        told_at(
            strategy,
            0,
            vec![Effect::Persist { id: WriteId(1), records: vec![record], then: Vec::new() }],
        );
    }

    #[test]
    fn what_is_forged_or_repeated_is_refused() {
        for text in ["forge-proofs", "forge-proofs:proofs=repeated"] {
            let mut strategy = made(text, &identity(4, ReplicaId(1)));
            let message = shown(&mut *strategy, vec![prepared(4, 1, "a")]);
            let refused = message.verify(&configuration(4));
            assert!(matches!(refused, Err(Rejected::Malformed(_))), "{text}: {refused:?}");
        }
        let nothing = view_change(1, 5, vec![]);
        let mut strategy = made("forge-proofs:proofs=repeated", &identity(4, ReplicaId(1)));
        assert_eq!(shown(&mut *strategy, vec![]), PeerMessage::ViewChange(nothing));
    }

    #[test]
    fn accomplices_sign_with_their_own_keys() {
        let [one, _] = band(7, [ReplicaId(1), ReplicaId(4)]);
        let mut lie = ViewChange { view: View(5), stable: None, prepared: vec![] };
        forge(&one, &mut lie);
        let forged = &lie.prepared[0];
        // r4 leads view 4, and r1 is the first backup.
        assert!(forged.header.clone().verify(&one.configuration).is_ok());
        let (backup, signature) = forged.prepares.signatures[0];
        let payload = forged.prepares.statement.encode();
        assert_eq!(backup, ReplicaId(1));
        assert!(
            Signed::<Prepare>::from_parts(backup, payload.into(), signature)
                .verify(&one.configuration)
                .is_ok()
        );
        assert!(forged.check(&one.configuration).is_err());
    }

    #[test]
    fn what_is_stale_is_true_and_out_of_date() {
        let mut strategy = made("forge-proofs:proofs=stale", &identity(4, ReplicaId(1)));
        for certificate in [prepared(0, 3, "a"), prepared(0, 5, "old"), prepared(2, 5, "new")] {
            stores(&mut *strategy, Record::Prepared(certificate));
        }
        let stale = |strategy: &mut dyn Strategy, view| {
            let truth = PeerMessage::ViewChange(view_change(1, view, vec![prepared(2, 5, "new")]));
            match told(strategy, truth)[0].1.clone().verify(&configuration(4)) {
                Ok(Message::ViewChange(it)) => it.value().clone(),
                other => panic!("{other:?}"),
            }
        };
        let first = stale(&mut *strategy, 3);
        assert_eq!(
            (first.stable_sequence(), first.prepared),
            (Sequence(0), vec![prepared(0, 3, "a"), prepared(0, 5, "old")])
        );
        stores(&mut *strategy, Record::Stable(stable(128)));
        assert_eq!(stale(&mut *strategy, 4).prepared.len(), 2, "as if there were no checkpoint");
        stores(&mut *strategy, Record::Stable(stable(256)));
        let later = stale(&mut *strategy, 5);
        assert_eq!((later.stable_sequence(), later.prepared), (Sequence(128), vec![]));
    }
}
