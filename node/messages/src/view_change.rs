//! VIEW-CHANGE and NEW-VIEW, and what a set of VIEW-CHANGEs carries over into the new view (VC2 to VC5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use pbft_crypto::{Digest, Malformed, Signed, mutant};

use crate::certificate::Certificate as _;
use crate::configuration::distinct;
use crate::statement::{ensure, statement};
use crate::{
    Body, Configuration, Exclusive, PrePrepare, PreparedCertificate, ReplicaId, Sequence, StableCertificate,
    View,
};

/// ⟨VIEW-CHANGE, v+1, s, C, P⟩: a replica has left the views below `view`, and shows what it holds (VC2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewChange {
    /// The view asked for.
    pub view: View,
    /// C, which proves s, the last stable sequence; `None` only where s is 0, the genesis.
    pub stable: Option<StableCertificate>,
    /// P: for each sequence in (s, s+L] the prepared certificate of the highest view held with its body, ascending.
    pub prepared: Vec<PreparedCertificate>,
}

statement!(ViewChange, signer: ReplicaId, kind: 6, validate: |it, _, configuration| it.check(configuration));

impl ViewChange {
    /// s, the last stable sequence of the sender.
    #[must_use]
    pub fn stable_sequence(&self) -> Sequence {
        self.stable.as_ref().map_or(Sequence(0), |certificate| certificate.statement.sequence)
    }

    /// VC3: one bad part rejects the whole.
    fn check(&self, configuration: &Configuration) -> Result<(), Malformed> {
        let nested =
            |error: pbft_crypto::Rejected| Malformed(format!("a VIEW-CHANGE's certificate is bad: {error}"));
        ensure(self.view > View(0), || "a VIEW-CHANGE to view 0".into())?;
        if let Some(certificate) = &self.stable {
            certificate.check(configuration).map_err(nested)?;
        }
        let mut last = self.stable_sequence();
        let high = last.plus(configuration.parameters().window);
        for certificate in &self.prepared {
            let proposal = certificate.proposal();
            ensure(proposal.sequence > last && proposal.sequence <= high, || {
                format!("a VIEW-CHANGE's certificate at {} is out of order or range", proposal.sequence)
            })?;
            ensure(proposal.view < self.view, || {
                format!("a certificate of view {}, not below the asked", proposal.view)
            })?;
            let good = certificate.check(configuration).map_err(nested);
            good.or_else(|error| if mutant!("bad-proof-skipped") { Ok(()) } else { Err(error) })?;
            last = proposal.sequence;
        }
        Ok(())
    }
}

/// ⟨NEW-VIEW, v+1, V, O⟩: the new primary shows that a quorum asked for the view, and re-proposes what may have
/// been committed (VC4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewView {
    /// The view, whose primary signs.
    pub view: View,
    /// V: a quorum of valid VIEW-CHANGEs for this view.
    pub view_changes: Vec<Signed<ViewChange>>,
    /// O: one signed PRE-PREPARE for each sequence in (min-s, max-s].
    pub pre_prepares: Vec<Signed<PrePrepare>>,
}

statement!(NewView, signer: ReplicaId, kind: 7, validate: |it, signer, configuration| it.check(signer, configuration));

impl NewView {
    /// VC5: V is a quorum, and O follows from V (fault 5).
    fn check(&self, signer: ReplicaId, configuration: &Configuration) -> Result<(), Malformed> {
        let view = self.view;
        ensure(configuration.primary(view) == signer, || {
            format!("{signer} is not the primary of view {view}")
        })?;
        let signers = self.view_changes.iter().map(Signed::claimed_signer);
        ensure(distinct(signers) == self.view_changes.len() || mutant!("senders-not-distinct"), || {
            "two VIEW-CHANGEs of one replica".into()
        })?;
        ensure(
            self.view_changes.len() == configuration.quorum().get() || mutant!("quorum-unchecked"),
            || "a NEW-VIEW without a quorum".into(),
        )?;
        let mut view_changes = Vec::with_capacity(self.view_changes.len());
        for signed in &self.view_changes {
            let bad = |error| Malformed(format!("a NEW-VIEW's VIEW-CHANGE is bad: {error}"));
            view_changes.push(signed.clone().verify(configuration).map_err(bad)?);
        }
        ensure(view_changes.iter().all(|it| it.value().view == view), || {
            "a VIEW-CHANGE for another view".into()
        })?;
        let carried = CarriedOver::from_view_changes(view_changes.iter().map(|it| it.value()))?;
        ensure(carried.digests.len() == self.pre_prepares.len(), || {
            "O has not the length that follows from V".into()
        })?;
        for (signed, expected) in self.pre_prepares.iter().zip(carried.pre_prepares(view)) {
            let bad = |error| Malformed(format!("a PRE-PREPARE of O is bad: {error}"));
            let header = signed.clone().verify(configuration).map_err(bad)?;
            ensure(*header.value() == expected || mutant!("o-not-recomputed"), || {
                format!("O at {} does not follow from V", expected.sequence)
            })?;
        }
        Ok(())
    }

    /// What V carries over.
    ///
    /// # Errors
    /// [`Malformed`] if a VIEW-CHANGE cannot be read; those of a verified NEW-VIEW can.
    pub fn carried_over(&self) -> Result<CarriedOver, Malformed> {
        let view_changes = self.view_changes.iter().map(Signed::peek).collect::<Result<Vec<_>, _>>()?;
        Ok(CarriedOver::from_view_changes(&view_changes)?)
    }
}

/// Two prepared certificates for different batches at one place: more than f replicas are faulty (VC8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two different batches are certified at view {view}, sequence {sequence}")]
pub struct ConflictingCertificates {
    /// The view.
    pub view: View,
    /// The sequence.
    pub sequence: Sequence,
}

impl From<ConflictingCertificates> for Malformed {
    fn from(error: ConflictingCertificates) -> Self {
        Self(error.to_string())
    }
}

/// What a quorum of VIEW-CHANGEs carries over: the one computation that the new primary makes O with (VC4), and
/// that backups check it with (VC5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedOver {
    /// The stable certificate with the highest sequence, min-s; `None` at genesis.
    pub stable: Option<StableCertificate>,
    /// The digests at min-s+1, min-s+2, …, max-s.
    pub digests: Vec<Digest>,
}

impl CarriedOver {
    /// For each sequence above the highest proven checkpoint: the digest of the highest view's certificate
    /// (fault 1), else the null batch.
    ///
    /// # Errors
    /// [`ConflictingCertificates`], which cannot be unless more than f replicas are faulty.
    pub fn from_view_changes<'a>(
        view_changes: impl IntoIterator<Item = &'a ViewChange>,
    ) -> Result<Self, ConflictingCertificates> {
        let mut stable: Option<&StableCertificate> = None;
        let mut highest: BTreeMap<Sequence, (View, Digest)> = BTreeMap::new();
        for view_change in view_changes {
            if view_change.stable_sequence() > sequence_of(stable) {
                stable = view_change.stable.as_ref();
            }
            for certificate in &view_change.prepared {
                let proposal = certificate.proposal();
                let entry = highest.entry(proposal.sequence).or_insert((proposal.view, proposal.digest));
                if proposal.view > entry.0 && !mutant!("first-proof") {
                    *entry = (proposal.view, proposal.digest);
                } else if proposal.view == entry.0 && proposal.digest != entry.1 {
                    return Err(ConflictingCertificates { view: proposal.view, sequence: proposal.sequence });
                }
            }
        }
        let min_s = sequence_of(stable);
        let max_s = highest.keys().next_back().copied().unwrap_or_default().max(min_s);
        let digests = (1..=max_s.0 - min_s.0)
            .map(|distance| {
                highest.get(&min_s.plus(distance)).map_or_else(Body::null_digest, |(_, digest)| *digest)
            })
            .collect();
        Ok(Self { stable: stable.cloned(), digests })
    }

    /// min-s: the highest proven checkpoint.
    #[must_use]
    pub fn min_s(&self) -> Sequence {
        sequence_of(self.stable.as_ref())
    }

    /// max-s: the highest sequence carried over.
    #[must_use]
    pub fn max_s(&self) -> Sequence {
        self.min_s().plus(self.digests.len() as u64)
    }

    /// The proposals of `view` that O consists of.
    pub fn pre_prepares(&self, view: View) -> impl Iterator<Item = PrePrepare> + '_ {
        let min_s = self.min_s();
        (1..).zip(&self.digests).map(move |(distance, digest)| PrePrepare {
            view,
            sequence: min_s.plus(distance),
            digest: *digest,
        })
    }
}

fn sequence_of(stable: Option<&StableCertificate>) -> Sequence {
    stable.map_or(Sequence(0), |certificate| certificate.statement.sequence)
}

impl Exclusive for ViewChange {
    fn place(&self) -> (View, Sequence) {
        (self.view, Sequence(0))
    }
}

impl Exclusive for NewView {
    fn place(&self) -> (View, Sequence) {
        (self.view, Sequence(0))
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Domain, Rejected, Verified};

    use super::*;
    use crate::testing::{configuration, prepared, replica_key, stable};

    const VIEW: View = View(5);

    fn signed<T: Exclusive>(value: T, replica: ReplicaId) -> Verified<T> {
        Verified::sign(value, replica, &replica_key(replica), configuration(4).scope())
    }

    fn digest(name: &str) -> Digest {
        Digest::of(Domain::Batch, name.as_bytes())
    }

    fn view_change(stable: Option<StableCertificate>, prepared: Vec<PreparedCertificate>) -> ViewChange {
        ViewChange { view: VIEW, stable, prepared }
    }

    fn verify(value: ViewChange) -> Result<(), Rejected> {
        signed(value, ReplicaId(0)).signed().clone().verify(&configuration(4)).map(drop)
    }

    #[test]
    fn fault_04_a_view_change_is_good_in_every_part_or_not_at_all() {
        let good = || vec![prepared(0, 5, "a"), prepared(4, 6, "b")];
        assert_eq!(verify(view_change(Some(stable(4)), good())), Ok(()));
        assert_eq!(verify(view_change(None, good())), Ok(()));
        let mut forged = prepared(4, 6, "b");
        forged.prepares.signatures[0].1 = forged.prepares.signatures[1].1;
        let mut forged_stable = stable(4);
        forged_stable.signatures.pop();
        for (bad, why) in [
            (ViewChange { view: View(0), ..view_change(None, vec![]) }, "to view 0"),
            (view_change(Some(forged_stable), vec![]), "a checkpoint without a quorum"),
            (
                view_change(None, vec![prepared(0, 5, "a"), forged]),
                "one bad certificate among good ones (fault 4)",
            ),
            (view_change(None, good().into_iter().rev().collect()), "out of order"),
            (view_change(None, vec![prepared(0, 5, "a"), prepared(1, 5, "b")]), "one sequence twice"),
            (view_change(Some(stable(4)), vec![prepared(0, 4, "a")]), "below the checkpoint"),
            (view_change(None, vec![prepared(0, 9, "a")]), "beyond the window"),
            (view_change(None, vec![prepared(5, 1, "a")]), "of the view that is asked for"),
        ] {
            assert!(matches!(verify(bad), Err(Rejected::Malformed(_))), "{why}");
        }
    }

    /// Fault 1: the highest view's certificate wins, whatever the order; gaps are null.
    #[test]
    fn fault_01_the_highest_views_certificate_is_carried_over() {
        let low = view_change(None, vec![prepared(0, 2, "old"), prepared(0, 4, "d")]);
        let high = view_change(None, vec![prepared(3, 2, "new")]);
        let expected = vec![Body::null_digest(), digest("new"), Body::null_digest(), digest("d")];
        for order in [[&low, &high], [&high, &low]] {
            let carried = CarriedOver::from_view_changes(order).unwrap();
            assert_eq!((carried.min_s(), carried.max_s()), (Sequence(0), Sequence(4)));
            assert_eq!(carried.digests, expected);
        }
    }

    #[test]
    fn the_highest_checkpoint_is_where_it_starts() {
        let behind = view_change(None, vec![prepared(0, 3, "c"), prepared(0, 5, "e")]);
        let ahead = view_change(Some(stable(4)), vec![]);
        let carried = CarriedOver::from_view_changes([&behind, &ahead]).unwrap();
        assert_eq!((carried.min_s(), carried.digests), (Sequence(4), vec![digest("e")]));
        let nothing = CarriedOver::from_view_changes([&ahead]).unwrap();
        assert_eq!((nothing.min_s(), nothing.max_s()), (Sequence(4), Sequence(4)));
    }

    /// R4: even a checkpoint at the end of all sequences is only a number.
    #[test]
    fn nothing_is_carried_over_above_the_last_sequence() {
        let mut end = stable(4);
        end.statement.sequence = Sequence(u64::MAX);
        let carried = CarriedOver::from_view_changes([&view_change(Some(end), vec![])]).unwrap();
        assert_eq!((carried.min_s(), carried.digests), (Sequence(u64::MAX), vec![]));
    }

    /// VC8: no choice is made between two certificates of one view.
    #[test]
    fn two_certificates_of_one_view_are_a_conflict() {
        let (one, other) =
            (view_change(None, vec![prepared(3, 2, "a")]), view_change(None, vec![prepared(3, 2, "b")]));
        let conflict = ConflictingCertificates { view: View(3), sequence: Sequence(2) };
        assert_eq!(CarriedOver::from_view_changes([&one, &other]), Err(conflict));
    }

    fn new_view(change: impl FnOnce(&mut NewView)) -> Result<(), Rejected> {
        let configuration = configuration(4);
        let primary = configuration.primary(VIEW);
        let changes = [
            view_change(None, vec![prepared(0, 2, "b")]),
            view_change(None, vec![prepared(4, 1, "a")]),
            view_change(None, vec![]),
        ];
        let carried = CarriedOver::from_view_changes(&changes).unwrap();
        let view_changes =
            configuration.replicas().zip(changes).map(|(replica, it)| signed(it, replica).signed().clone());
        let pre_prepares = carried.pre_prepares(VIEW).map(|it| signed(it, primary).signed().clone());
        let mut value = NewView {
            view: VIEW,
            view_changes: view_changes.collect(),
            pre_prepares: pre_prepares.collect(),
        };
        change(&mut value);
        signed(value, primary).signed().clone().verify(&configuration).map(drop)
    }

    /// A change to a NEW-VIEW that makes it wrong, and why.
    type Wrong<'a> = (&'a str, &'a dyn Fn(&mut NewView));

    #[track_caller]
    fn all_refused(wrong: &[Wrong<'_>]) {
        assert_eq!(new_view(|_| {}), Ok(()));
        for (why, change) in wrong {
            assert!(matches!(new_view(change), Err(Rejected::Malformed(_))), "{why}");
        }
    }

    /// Fault 2: VIEW-CHANGEs are counted by sender, and there is a quorum of them.
    #[test]
    fn fault_02_a_new_view_shows_a_quorum_of_distinct_replicas() {
        let other_view = signed(ViewChange { view: View(9), ..view_change(None, vec![]) }, ReplicaId(2));
        all_refused(&[
            ("too few", &|it| drop(it.view_changes.remove(2))),
            ("one replica twice", &|it| it.view_changes[2] = it.view_changes[1].clone()),
            ("a VIEW-CHANGE to another view", &|it| it.view_changes[2] = other_view.signed().clone()),
            ("not the view's primary", &|it| it.view = View(6)),
        ]);
    }

    /// Fault 5: O is recomputed from V.
    #[test]
    fn fault_05_o_follows_from_v() {
        let primary = configuration(4).primary(VIEW);
        let propose = |sequence, name: &str| {
            let value = PrePrepare { view: VIEW, sequence: Sequence(sequence), digest: digest(name) };
            signed(value, primary).signed().clone()
        };
        all_refused(&[
            ("another batch", &|it| it.pre_prepares[1] = propose(2, "other")),
            ("an entry left out", &|it| drop(it.pre_prepares.pop())),
            ("an entry too many", &|it| it.pre_prepares.push(propose(3, "c"))),
            ("another order", &|it| it.pre_prepares.swap(0, 1)),
        ]);
    }

    /// A wrong NEW-VIEW under its primary's signature is evidence; a right one is none (VC5).
    #[test]
    fn a_wrong_new_view_is_evidence() {
        use crate::{Evidence, Message, PeerMessage};
        let configuration = configuration(4);
        let primary = configuration.primary(VIEW);
        let wrong = NewView { view: VIEW, view_changes: vec![], pre_prepares: vec![] };
        let wrong = signed(wrong, primary).signed().clone();
        let message = PeerMessage::NewView(wrong.clone()).verify(&configuration).unwrap();
        assert!(
            matches!(message, Message::Evidence(it) if it.get().accusation().unwrap().accused == primary)
        );
        let forged = Signed::from_parts(ReplicaId(2), wrong.payload().clone(), *wrong.signature());
        assert!(PeerMessage::NewView(forged.clone()).verify(&configuration).is_err());
        assert!(Evidence::WrongNewView(forged).check(&configuration).is_err());
    }
}
