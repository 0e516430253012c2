//! Transferable proof that a replica lied: statements under its own signature that no correct replica makes
//! together. Checking needs the cluster's public keys and nothing else.

use std::fmt;

use serde::{Deserialize, Serialize};

use pbft_crypto::{Malformed, Rejected, Signed, Verified, mutant};

use crate::certificate::Certificate;
use crate::statement::ensure;
use crate::{
    Checkpoint, Commit, Configuration, Exclusive, NewView, Omission, PrePrepare, Prepare, ReplicaId,
    Sequence, View, ViewChange,
};

/// Two different statements of one replica at one place.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Conflict<T: Exclusive> {
    first: Signed<T>,
    second: Signed<T>,
}

impl<T: Exclusive> Conflict<T> {
    /// The conflict between two statements, if they are one replica's, for one place, and differ.
    #[must_use]
    pub fn between(first: &Verified<T>, second: &Verified<T>) -> Option<Self> {
        let contradict = first.signer() == second.signer()
            && first.value().place() == second.value().place()
            && first.signed().payload() != second.signed().payload();
        contradict.then(|| Self { first: first.signed().clone(), second: second.signed().clone() })
    }

    fn verify(&self, configuration: &Configuration) -> Result<(), Rejected> {
        if mutant!("evidence-unverified") {
            return Ok(());
        }
        let (first, second) =
            (self.first.clone().verify(configuration)?, self.second.clone().verify(configuration)?);
        ensure(Self::between(&first, &second).is_some(), || "two statements that do not contradict".into())?;
        Ok(())
    }

    fn words(&self) -> Result<[String; 2], Malformed>
    where
        T: fmt::Display,
    {
        Ok([self.first.peek()?.to_string(), self.second.peek()?.to_string()])
    }

    fn accusation(&self, kind: EvidenceKind) -> Result<Accusation, Malformed> {
        let (view, sequence) = self.first.peek()?.place();
        Ok(Accusation { accused: self.first.claimed_signer(), kind, view, sequence })
    }
}

/// Proof against one replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// A primary proposed two batches at one place.
    PrePrepares(Conflict<PrePrepare>),
    /// A backup prepared two batches at one place.
    Prepares(Conflict<Prepare>),
    /// A replica committed to two batches at one place.
    Commits(Conflict<Commit>),
    /// A replica vouched for two states at one sequence.
    Checkpoints(Conflict<Checkpoint>),
    /// A replica sent two VIEW-CHANGEs to one view.
    ViewChanges(Conflict<ViewChange>),
    /// A primary sent two NEW-VIEWs for one view.
    NewViews(Conflict<NewView>),
    /// A primary signed a NEW-VIEW that is wrong in itself, such as an O that does not follow from its V.
    WrongNewView(Signed<NewView>),
    /// A VIEW-CHANGE does not show what its signer committed to.
    Omission(Omission),
}

/// What a piece of evidence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// Two PRE-PREPAREs.
    PrePrepare,
    /// Two PREPAREs.
    Prepare,
    /// Two COMMITs.
    Commit,
    /// Two CHECKPOINTs.
    Checkpoint,
    /// Two VIEW-CHANGEs.
    ViewChange,
    /// Two NEW-VIEWs, or a wrong one.
    NewView,
    /// A COMMIT, and a VIEW-CHANGE that hides what it stands for.
    Omission,
}

/// Who lied, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Accusation {
    /// The replica.
    pub accused: ReplicaId,
    /// About what.
    pub kind: EvidenceKind,
    /// In which view; 0 for checkpoints. For an omission, that of the COMMIT that is hidden.
    pub view: View,
    /// At which sequence; 0 where the statement has none. For an omission, that of the COMMIT that is hidden.
    pub sequence: Sequence,
}

impl Evidence {
    /// Whom the evidence accuses, and of what. Believe it only of evidence that has been checked.
    ///
    /// # Errors
    /// [`Malformed`] if a statement cannot be read; those of checked evidence can.
    pub fn accusation(&self) -> Result<Accusation, Malformed> {
        match self {
            Self::PrePrepares(conflict) => conflict.accusation(EvidenceKind::PrePrepare),
            Self::Prepares(conflict) => conflict.accusation(EvidenceKind::Prepare),
            Self::Commits(conflict) => conflict.accusation(EvidenceKind::Commit),
            Self::Checkpoints(conflict) => conflict.accusation(EvidenceKind::Checkpoint),
            Self::ViewChanges(conflict) => conflict.accusation(EvidenceKind::ViewChange),
            Self::NewViews(conflict) => conflict.accusation(EvidenceKind::NewView),
            Self::WrongNewView(signed) => Ok(Accusation {
                accused: signed.claimed_signer(),
                kind: EvidenceKind::NewView,
                view: signed.peek()?.view,
                sequence: Sequence(0),
            }),
            Self::Omission(omission) => {
                let (accused, view, sequence) = omission.place()?;
                Ok(Accusation { accused, kind: EvidenceKind::Omission, view, sequence })
            }
        }
    }

    /// What the accused signed, in words; for a single statement, what is wrong with it too.
    pub(crate) fn statements(&self, configuration: &Configuration) -> Result<[String; 2], Malformed> {
        match self {
            Self::PrePrepares(conflict) => conflict.words(),
            Self::Prepares(conflict) => conflict.words(),
            Self::Commits(conflict) => conflict.words(),
            Self::Checkpoints(conflict) => conflict.words(),
            Self::ViewChanges(conflict) => conflict.words(),
            Self::NewViews(conflict) => conflict.words(),
            Self::WrongNewView(signed) => {
                let wrong = signed.clone().verify(configuration).err();
                let wrong = wrong.map_or_else(String::new, |error| error.to_string());
                Ok([signed.peek()?.to_string(), format!("which is {wrong}")])
            }
            Self::Omission(omission) => {
                Ok([omission.commit().peek()?.to_string(), omission.view_change().peek()?.to_string()])
            }
        }
    }
}

impl Certificate for Evidence {
    fn check(&self, configuration: &Configuration) -> Result<(), Rejected> {
        match self {
            Self::PrePrepares(conflict) => conflict.verify(configuration),
            Self::Prepares(conflict) => conflict.verify(configuration),
            Self::Commits(conflict) => conflict.verify(configuration),
            Self::Checkpoints(conflict) => conflict.verify(configuration),
            Self::ViewChanges(conflict) => conflict.verify(configuration),
            Self::NewViews(conflict) => conflict.verify(configuration),
            // The signature is checked first, so a NEW-VIEW that is malformed was signed as it is.
            Self::WrongNewView(signed) => match signed.clone().verify(configuration) {
                Err(Rejected::Malformed(_)) => signed.peek().map(drop).map_err(Rejected::from),
                Err(other) => Err(other),
                Ok(_) => Err(Malformed("a NEW-VIEW that is right".into()).into()),
            },
            Self::Omission(omission) => omission.verify(configuration),
        }
    }
}

macro_rules! evidence_from_conflicts {
    ($($statement:ident => $variant:ident),*) => {
        $(impl From<Conflict<$statement>> for Evidence {
            fn from(conflict: Conflict<$statement>) -> Self {
                Self::$variant(conflict)
            }
        })*
    };
}

evidence_from_conflicts!(
    PrePrepare => PrePrepares, Prepare => Prepares, Commit => Commits, Checkpoint => Checkpoints,
    ViewChange => ViewChanges, NewView => NewViews
);

impl From<Omission> for Evidence {
    fn from(omission: Omission) -> Self {
        Self::Omission(omission)
    }
}

// Written out because derives would demand the traits of `T` itself.

impl<T: Exclusive> Clone for Conflict<T> {
    fn clone(&self) -> Self {
        Self { first: self.first.clone(), second: self.second.clone() }
    }
}

impl<T: Exclusive> PartialEq for Conflict<T> {
    fn eq(&self, other: &Self) -> bool {
        (&self.first, &self.second) == (&other.first, &other.second)
    }
}

impl<T: Exclusive> Eq for Conflict<T> {}

impl<T: Exclusive + fmt::Debug> fmt::Debug for Conflict<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} against {:?}", self.first, self.second)
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Digest, Domain};

    use super::*;
    use crate::testing::{configuration, replica_key};

    fn proposal(view: u64, sequence: u64, name: &[u8]) -> Verified<PrePrepare> {
        let configuration = configuration(4);
        let primary = configuration.primary(View(view));
        let digest = Digest::of(Domain::Batch, name);
        let value = PrePrepare { view: View(view), sequence: Sequence(sequence), digest };
        Verified::sign(value, primary, &replica_key(primary), configuration.scope())
    }

    #[test]
    fn two_proposals_at_one_place_accuse_the_primary() {
        let conflict = Conflict::between(&proposal(1, 7, b"a"), &proposal(1, 7, b"b")).unwrap();
        let evidence = Evidence::from(conflict);
        assert!(evidence.check(&configuration(4)).is_ok());
        let accusation = evidence.accusation().unwrap();
        assert_eq!((accusation.accused, accusation.kind), (ReplicaId(1), EvidenceKind::PrePrepare));
        assert_eq!((accusation.view, accusation.sequence), (View(1), Sequence(7)));
    }

    #[test]
    fn what_does_not_contradict_is_no_evidence() {
        let good = proposal(1, 7, b"a");
        for other in [proposal(1, 7, b"a"), proposal(1, 8, b"b"), proposal(5, 7, b"b"), proposal(0, 7, b"b")]
        {
            assert!(Conflict::between(&good, &other).is_none());
            let forged = Conflict { first: good.signed().clone(), second: other.signed().clone() };
            assert!(Evidence::PrePrepares(forged).check(&configuration(4)).is_err());
        }
    }

    /// Fault 38: signatures inside evidence are verified.
    #[test]
    fn fault_38_evidence_with_a_forged_signature_is_refused() {
        let (a, b) = (proposal(1, 7, b"a"), proposal(1, 7, b"b"));
        let forged = Signed::from_parts(ReplicaId(1), b.signed().payload().clone(), *a.signed().signature());
        let conflict = Conflict { first: a.signed().clone(), second: forged };
        assert!(matches!(
            Evidence::PrePrepares(conflict).check(&configuration(4)),
            Err(Rejected::BadSignature(_))
        ));
    }
}
