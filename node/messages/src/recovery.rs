//! What a replica that has lost its votes asks the others, and what they answer (D8).

use serde::{Deserialize, Serialize};

use pbft_crypto::{Malformed, Signed};

use crate::certificate::Certificate as _;
use crate::configuration::distinct;
use crate::statement::{ensure, statement};
use crate::{Configuration, NewView, ReplicaId, Sequence, StableCertificate, View, ViewChange};

/// A number that nobody uses twice: it ties answers to the recovery that asked for them, so that nobody's answer to an
/// earlier one is believed again. Whoever starts a recovery draws it at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryNonce(pub [u8; 32]);

/// How far the answerer's view may be above what its answer shows. A correct replica asks for a view only when a
/// quorum is in the view before, or asks for it; one that has itself recovered asks for two more.
pub const VIEWS_ABOVE_SHOWN: u64 = 2;

/// A replica's answer to one that recovers: bounds on what the asker may have signed in its earlier life.
///
/// Each bound has a proof that reaches close to it, for otherwise one liar could name a view or a sequence that never
/// comes, and the asker would wait for it for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryAnswer {
    /// Who asked.
    pub asker: ReplicaId,
    /// The number that it asked with.
    pub nonce: RecoveryNonce,
    /// The view that the answerer asks for, else the one that it is in.
    pub view: View,
    /// That the cluster has come near that view.
    pub shown: ShownView,
    /// The last sequence that the answerer has executed, at most L above `stable`.
    pub last_executed: Sequence,
    /// The answerer's stable checkpoint; `None` at genesis.
    pub stable: Option<StableCertificate>,
    /// The asker's own VIEW-CHANGE of the highest view, if the answerer holds one.
    pub view_change: Option<Signed<ViewChange>>,
}

/// What shows that a cluster has come to some view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShownView {
    /// Nothing: every cluster was in view 0.
    Genesis,
    /// The NEW-VIEW that opened it.
    Opened(Signed<NewView>),
    /// f+1 replicas, one of them correct, have asked for it or a higher one.
    AskedFor(Vec<Signed<ViewChange>>),
}

statement!(RecoveryAnswer, signer: ReplicaId, kind: 8, repeated: false, validate: |it, signer, configuration| it.check(signer, configuration));

impl RecoveryAnswer {
    fn check(&self, signer: ReplicaId, configuration: &Configuration) -> Result<(), Malformed> {
        let nested = |error| Malformed(format!("a part of a recovery answer is bad: {error}"));
        ensure(signer != self.asker, || format!("{signer} answers itself"))?;
        let shown = self.shown.check(configuration)?;
        ensure(self.view.0 <= shown.0.saturating_add(VIEWS_ABOVE_SHOWN), || {
            format!("view {} is too far above view {shown}, which is shown", self.view)
        })?;
        let mut low = Sequence(0);
        if let Some(certificate) = &self.stable {
            certificate.check(configuration).map_err(nested)?;
            low = certificate.statement.sequence;
        }
        ensure(self.last_executed <= low.plus(configuration.parameters().window), || {
            format!("sequence {} is too far above the stable checkpoint {low}", self.last_executed)
        })?;
        if let Some(own) = &self.view_change {
            let signer = own.clone().verify(configuration).map_err(nested)?.signer();
            ensure(signer == self.asker, || format!("{signer}'s VIEW-CHANGE as {}'s", self.asker))?;
        }
        Ok(())
    }
}

impl ShownView {
    /// The view that is shown.
    fn check(&self, configuration: &Configuration) -> Result<View, Malformed> {
        let nested = |error| Malformed(format!("what shows a view is bad: {error}"));
        match self {
            Self::Genesis => Ok(View(0)),
            Self::Opened(new_view) => {
                Ok(new_view.clone().verify(configuration).map_err(nested)?.value().view)
            }
            Self::AskedFor(view_changes) => {
                let needed = configuration.weak_quorum().get();
                // No more than needed, so that an answer's size is known.
                ensure(view_changes.len() == needed, || format!("{} VIEW-CHANGEs", view_changes.len()))?;
                let signers = view_changes.iter().map(Signed::claimed_signer);
                ensure(distinct(signers) == needed, || "two VIEW-CHANGEs of one replica".into())?;
                let verified = view_changes.iter().map(|it| it.clone().verify(configuration).map_err(nested));
                let verified = verified.collect::<Result<Vec<_>, _>>()?;
                Ok(verified.iter().map(|it| it.value().view).min().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Digest, Domain, Rejected, Verified};

    use super::*;
    use crate::testing::{configuration, replica_key};
    use crate::{Checkpoint, Endorsed};

    const ASKER: ReplicaId = ReplicaId(3);

    fn sign<T>(signer: u16, value: T) -> Signed<T>
    where
        T: pbft_crypto::Statement<Signer = ReplicaId>,
    {
        let id = ReplicaId(signer);
        Verified::sign(value, id, &replica_key(id), configuration(4).scope()).signed().clone()
    }

    fn answer() -> RecoveryAnswer {
        RecoveryAnswer {
            asker: ASKER,
            nonce: RecoveryNonce([7; 32]),
            view: View(0),
            shown: ShownView::Genesis,
            last_executed: Sequence(0),
            stable: None,
            view_change: None,
        }
    }

    fn view_change(signer: u16, view: u64) -> Signed<ViewChange> {
        sign(signer, ViewChange { view: View(view), stable: None, prepared: vec![] })
    }

    fn stable(sequence: u64) -> StableCertificate {
        let root = Digest::of(Domain::MerkleRoot, b"a");
        let statement = Checkpoint { sequence: Sequence(sequence), root };
        let votes = (0..3).map(|it| (ReplicaId(it), *sign(it, statement.clone()).signature()));
        Endorsed { statement: statement.clone(), signatures: votes.collect() }
    }

    fn check(change: impl FnOnce(&mut RecoveryAnswer)) -> Result<(), Rejected> {
        let mut changed = answer();
        change(&mut changed);
        sign(1, changed).verify(&configuration(4)).map(drop)
    }

    /// D8: a liar cannot name a view that the cluster is not near.
    #[test]
    fn a_view_is_at_most_two_above_what_is_shown() {
        assert!(check(|it| it.view = View(2)).is_ok());
        assert!(check(|it| it.view = View(3)).is_err());
        let asked = |it: &mut RecoveryAnswer, signers: [u16; 2], view: u64| {
            it.shown = ShownView::AskedFor(vec![view_change(signers[0], 7), view_change(signers[1], 9)]);
            it.view = View(view);
        };
        assert!(check(|it| asked(it, [0, 1], 9)).is_ok());
        assert!(check(|it| asked(it, [0, 1], 10)).is_err(), "the lower of the two counts");
        assert!(check(|it| asked(it, [1, 1], 9)).is_err(), "one replica twice");
        assert!(check(|it| it.shown = ShownView::AskedFor(vec![view_change(0, 7)])).is_err(), "f only");
        let forged = Signed::from_parts(
            ReplicaId(0),
            view_change(0, 70).payload().clone(),
            *view_change(0, 7).signature(),
        );
        assert!(check(|it| it.shown = ShownView::AskedFor(vec![forged, view_change(1, 70)])).is_err());
    }

    #[test]
    fn a_new_view_shows_its_view() {
        let opened = |view: u64| {
            let view_changes = (0..3).map(|it| view_change(it, view)).collect();
            sign(1, NewView { view: View(view), view_changes, pre_prepares: vec![] })
        };
        let shows = |it: &mut RecoveryAnswer, view: u64| {
            (it.shown, it.view) = (ShownView::Opened(opened(5)), View(view));
        };
        assert!(check(|it| shows(it, 7)).is_ok());
        assert!(check(|it| shows(it, 8)).is_err());
        // r1 is not the primary of view 6.
        assert!(check(|it| it.shown = ShownView::Opened(opened(6))).is_err());
    }

    /// D8: nor a sequence.
    #[test]
    fn the_last_executed_is_at_most_a_window_above_what_is_stable() {
        let window = configuration(4).parameters().window;
        assert!(check(|it| it.last_executed = Sequence(window)).is_ok());
        assert!(check(|it| it.last_executed = Sequence(window + 1)).is_err());
        let far = |it: &mut RecoveryAnswer, above: u64| {
            (it.stable, it.last_executed) = (Some(stable(8)), Sequence(8 + above));
        };
        assert!(check(|it| far(it, window)).is_ok());
        assert!(check(|it| far(it, window + 1)).is_err());
        assert!(check(|it| it.stable = Some(Endorsed { signatures: vec![], ..stable(8) })).is_err());
    }

    #[test]
    fn only_the_askers_own_view_change_counts_as_its_own() {
        assert!(check(|it| it.view_change = Some(view_change(3, 4))).is_ok());
        assert!(check(|it| it.view_change = Some(view_change(2, 4))).is_err());
        assert!(check(|it| it.asker = ReplicaId(1)).is_err(), "nobody answers itself");
    }
}
