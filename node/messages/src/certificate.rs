//! Votes gathered, and certificates: what a quorum said, in a form that any third party can check.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use pbft_crypto::{Rejected, Signature, Signed, Verified, mutant};

use crate::configuration::distinct;
use crate::statement::ensure;
use crate::{Checkpoint, Commit, Configuration, Conflict, Exclusive, PrePrepare, Prepare, Quorum, ReplicaId};

/// Signatures of several replicas under one and the same statement. The signer is part of what each signs and no
/// part of the statement, so the statement is kept once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsed<T> {
    /// What all of them said.
    pub statement: T,
    /// Who, and their signatures.
    pub signatures: Vec<(ReplicaId, Signature)>,
}

/// Q COMMITs: the batch is decided (N4).
pub type CommittedCertificate = Endorsed<Commit>;

/// Q CHECKPOINTs: the state is agreed upon (C1).
pub type StableCertificate = Endorsed<Checkpoint>;

/// The primary's PRE-PREPARE and Q−1 PREPAREs of distinct backups: no other batch can be committed at this place
/// in this view (N3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedCertificate {
    /// The primary's proposal.
    pub header: Signed<PrePrepare>,
    /// The backups' votes.
    pub prepares: Endorsed<Prepare>,
}

/// A certificate that can be checked from public keys alone.
pub trait Certificate: Sized {
    /// Checks every signature, and that they are as many as it takes.
    ///
    /// # Errors
    /// [`Rejected`], with the first thing wrong.
    fn check(&self, configuration: &Configuration) -> Result<(), Rejected>;
}

/// A certificate that has been checked, or was made here from verified votes.
///
/// ```compile_fail
/// # fn forge(certificate: pbft_messages::CommittedCertificate) -> pbft_messages::Proven<pbft_messages::CommittedCertificate> {
/// pbft_messages::Proven(std::sync::Arc::new(certificate))
/// # }
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Proven<C>(Arc<C>);

impl<C> Clone for Proven<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Certificate> Proven<C> {
    /// Checks a certificate.
    ///
    /// # Errors
    /// [`Rejected`], with the first thing wrong.
    pub fn new(certificate: C, configuration: &Configuration) -> Result<Self, Rejected> {
        certificate.check(configuration)?;
        Ok(Self(Arc::new(certificate)))
    }

    /// The certificate.
    #[must_use]
    pub fn get(&self) -> &C {
        &self.0
    }
}

impl<T: Exclusive + Clone> Endorsed<T> {
    /// The vote of one replica, if it is among them, as it was signed.
    #[must_use]
    pub fn vote_of(&self, replica: ReplicaId) -> Option<Signed<T>> {
        let (_, signature) = self.signatures.iter().find(|(signer, _)| *signer == replica)?;
        Some(Signed::from_parts(replica, self.statement.encode().into(), *signature))
    }

    /// The contradiction between a vote and that of the same replica in here, if there is one. The latter's signature is
    /// looked at only then.
    #[must_use]
    pub fn conflict_with(&self, vote: &Verified<T>, configuration: &Configuration) -> Option<Conflict<T>>
    where
        T: PartialEq,
    {
        let differs = vote.value().place() == self.statement.place() && *vote.value() != self.statement;
        let own = differs.then(|| self.vote_of(vote.signer())).flatten()?;
        Conflict::between(&own.verify(configuration).ok()?, vote)
    }

    /// Checks that there are exactly so many votes, of distinct replicas, and each signature. Certificates have no
    /// votes to spare, so that their size is known.
    fn check_votes(&self, configuration: &Configuration, needed: usize) -> Result<(), Rejected> {
        let votes = self.signatures.len();
        let signers = distinct(self.signatures.iter().map(|(replica, _)| *replica));
        ensure(signers == votes || mutant!("one-signers-votes"), || {
            "a replica's vote stands twice in a certificate".into()
        })?;
        ensure(votes == needed, || format!("a certificate of {votes} votes, and not {needed}"))?;
        let payload = bytes::Bytes::from(self.statement.encode());
        self.signatures.iter().try_for_each(|(replica, signature)| {
            Signed::<T>::from_parts(*replica, payload.clone(), *signature).verify(configuration).map(drop)
        })
    }
}

impl Certificate for CommittedCertificate {
    fn check(&self, configuration: &Configuration) -> Result<(), Rejected> {
        self.check_votes(configuration, configuration.quorum().get())
    }
}

impl Certificate for StableCertificate {
    fn check(&self, configuration: &Configuration) -> Result<(), Rejected> {
        if mutant!("checkpoint-without-proof") {
            return Ok(());
        }
        self.check_votes(configuration, configuration.quorum().get())
    }
}

impl Certificate for PreparedCertificate {
    fn check(&self, configuration: &Configuration) -> Result<(), Rejected> {
        let header = self.header.clone().verify(configuration)?;
        let (header, prepare) = (header.value(), &self.prepares.statement);
        ensure(
            (header.view, header.sequence, header.digest) == (prepare.view, prepare.sequence, prepare.digest),
            || "a prepared certificate's votes are for another proposal".into(),
        )?;
        // That none of the votes is the primary's own is part of what a valid PREPARE is.
        self.prepares.check_votes(configuration, configuration.quorum().prepares())
    }
}

impl PreparedCertificate {
    /// The certified proposal.
    #[must_use]
    pub fn proposal(&self) -> &Prepare {
        &self.prepares.statement
    }

    /// Whether `replica` is among the backups that voted for it.
    #[must_use]
    pub fn holds_prepare_of(&self, replica: ReplicaId) -> bool {
        self.prepares.signatures.iter().any(|(signer, _)| *signer == replica)
    }
}

impl Proven<PreparedCertificate> {
    /// The certificate for `header` out of `prepares`, if enough backups voted for it.
    #[must_use]
    pub fn prepared(
        header: &Verified<PrePrepare>,
        prepares: &VoteSet<Prepare>,
        quorum: Quorum,
    ) -> Option<Self> {
        let PrePrepare { view, sequence, digest } = *header.value();
        let prepares = prepares.endorsements(Prepare { view, sequence, digest }, quorum.prepares())?;
        Some(Self(Arc::new(PreparedCertificate { header: header.signed().clone(), prepares })))
    }
}

/// The votes of distinct replicas at one place: the first of each replica counts, and a second, different one is
/// evidence.
#[derive(Clone, Debug)]
pub struct VoteSet<T: Exclusive>(BTreeMap<ReplicaId, Verified<T>>);

impl<T: Exclusive> Default for VoteSet<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Exclusive + Clone + PartialEq> VoteSet<T> {
    /// Adds a vote; says whether it is new. All votes of one set are for one place; the caller sees to that.
    ///
    /// # Errors
    /// The two contradicting votes, if the replica voted for something else here.
    pub fn insert(&mut self, vote: Verified<T>) -> Result<bool, Box<Conflict<T>>> {
        match self.0.get(&vote.signer()) {
            None => {
                self.0.insert(vote.signer(), vote);
                Ok(true)
            }
            Some(existing) => match Conflict::between(existing, &vote) {
                Some(conflict) => Err(Box::new(conflict)),
                None => Ok(false),
            },
        }
    }

    /// The number of votes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The vote of one replica.
    #[must_use]
    pub fn of(&self, replica: ReplicaId) -> Option<&Verified<T>> {
        self.0.get(&replica)
    }

    /// The votes, by replica.
    pub fn iter(&self) -> impl Iterator<Item = &Verified<T>> {
        self.0.values()
    }

    /// What at least a quorum of the votes say, as a certificate.
    #[must_use]
    pub fn quorum(&self, quorum: Quorum) -> Option<Proven<Endorsed<T>>> {
        // A quorum is more than half of all replicas, so at most one statement can have it.
        let candidates = self.0.values().take(self.0.len().saturating_sub(quorum.get() - 1));
        let mut endorsed = candidates.map(|vote| self.endorsements(vote.value().clone(), quorum.get()));
        endorsed.find_map(|endorsed| Some(Proven(Arc::new(endorsed?))))
    }

    /// The votes for a statement, if there are so many.
    fn endorsements(&self, statement: T, needed: usize) -> Option<Endorsed<T>> {
        let votes = self.0.values().filter(|vote| *vote.value() == statement).take(needed);
        let signatures: Vec<_> = votes.map(|vote| (vote.signer(), *vote.signed().signature())).collect();
        (signatures.len() == needed).then_some(Endorsed { statement, signatures })
    }
}

impl<T: Exclusive> IntoIterator for VoteSet<T> {
    type Item = (ReplicaId, Verified<T>);
    type IntoIter = btree_map::IntoIter<ReplicaId, Verified<T>>;

    /// The votes, by replica.
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Digest, Domain};

    use super::*;
    use crate::testing::{configuration, replica_key};
    use crate::{PeerMessage, Sequence, View};

    fn vote<T: Exclusive>(value: T, replica: u16) -> Verified<T> {
        Verified::sign(value, ReplicaId(replica), &replica_key(ReplicaId(replica)), configuration(4).scope())
    }

    fn digest(name: &[u8]) -> Digest {
        Digest::of(Domain::Batch, name)
    }

    fn commit(replica: u16, name: &[u8]) -> Verified<Commit> {
        vote(Commit { view: View(0), sequence: Sequence(1), digest: digest(name) }, replica)
    }

    fn prepare(replica: u16, name: &[u8]) -> Verified<Prepare> {
        vote(Prepare { view: View(0), sequence: Sequence(1), digest: digest(name) }, replica)
    }

    #[test]
    fn a_quorum_of_equal_votes_makes_a_certificate() {
        let configuration = configuration(4);
        let mut votes = VoteSet::default();
        for (replica, name) in [(0, b"a"), (1, b"b"), (2, b"a")] {
            assert!(votes.insert(commit(replica, name)).unwrap());
            assert!(votes.quorum(configuration.quorum()).is_none());
        }
        assert!(votes.insert(commit(3, b"a")).unwrap());
        let certificate = votes.quorum(configuration.quorum()).unwrap();
        assert_eq!(certificate.get().statement.digest, digest(b"a"));
        assert!(certificate.get().check(&configuration).is_ok());
    }

    #[test]
    fn a_second_different_vote_is_a_conflict_and_the_first_counts() {
        let mut votes = VoteSet::default();
        assert!(votes.insert(commit(0, b"a")).unwrap());
        assert!(!votes.insert(commit(0, b"a")).unwrap());
        assert!(votes.insert(commit(0, b"b")).is_err());
        assert_eq!(votes.of(ReplicaId(0)).unwrap().value().digest, digest(b"a"));
    }

    #[test]
    fn forged_certificates_are_refused() {
        let configuration = configuration(4);
        let mut votes = VoteSet::default();
        for replica in 0..3 {
            votes.insert(commit(replica, b"a")).unwrap();
        }
        let good = votes.quorum(configuration.quorum()).unwrap().get().clone();
        let forge = |change: &dyn Fn(&mut CommittedCertificate)| {
            let mut forged = good.clone();
            change(&mut forged);
            Proven::new(forged, &configuration).is_err()
        };
        assert!(!forge(&|_| {}));
        assert!(
            forge(&|it| {
                it.signatures.pop();
            }),
            "too few votes"
        );
        assert!(forge(&|it| it.signatures[2] = it.signatures[0]), "one vote twice (fault 2)");
        assert!(forge(&|it| it.signatures[0].0 = ReplicaId(3)), "another signer's name");
        assert!(forge(&|it| it.statement.digest = digest(b"b")), "another digest");
        assert!(forge(&|it| it.statement.view = View(1)), "another view");
    }

    /// The certificate of a state, changed by a liar who hands it over.
    fn stable(change: impl FnOnce(&mut StableCertificate)) -> Result<(), Rejected> {
        let configuration = configuration(4);
        let mut votes = VoteSet::default();
        for replica in 0..3 {
            votes.insert(vote(Checkpoint { sequence: Sequence(4), root: digest(b"a") }, replica)).unwrap();
        }
        let mut certificate = votes.quorum(configuration.quorum()).unwrap().get().clone();
        change(&mut certificate);
        PeerMessage::Stable(certificate).verify(&configuration).map(drop)
    }

    /// Fault 3: a checkpoint is believed for the votes of a quorum, and for nothing less.
    #[test]
    fn fault_03_a_checkpoint_needs_proof() {
        assert_eq!(stable(|_| {}), Ok(()));
        assert!(stable(|it| it.signatures.clear()).is_err(), "no votes");
        assert!(stable(|it| it.signatures.truncate(2)).is_err(), "too few votes");
        assert!(stable(|it| it.statement.root = digest(b"b")).is_err(), "another state");
        assert!(stable(|it| it.statement.sequence = Sequence(8)).is_err(), "another sequence");
    }

    /// Fault 35: all the votes for the state that is to be fetched are one liar's.
    #[test]
    fn fault_35_one_replica_cannot_supply_all_votes_of_a_checkpoint() {
        let own = stable_vote(3);
        assert!(stable(|it| it.signatures = vec![own; 3]).is_err(), "one vote, counted thrice");
        let renamed = |it: &mut StableCertificate| {
            (0..3).zip(&mut it.signatures).for_each(|(name, vote)| *vote = (ReplicaId(name), own.1));
        };
        assert!(stable(renamed).is_err(), "one vote under three names");
    }

    fn stable_vote(replica: u16) -> (ReplicaId, Signature) {
        let vote = vote(Checkpoint { sequence: Sequence(4), root: digest(b"a") }, replica);
        (vote.signer(), *vote.signed().signature())
    }

    /// Fault 8: the primary's PRE-PREPARE and two backups suffice, with f silent; the primary's PREPARE is none.
    #[test]
    fn fault_08_prepared_is_the_proposal_and_a_quorum_less_one_of_backups() {
        let configuration = configuration(4);
        let header = vote(PrePrepare { view: View(0), sequence: Sequence(1), digest: digest(b"a") }, 0);
        let mut votes = VoteSet::default();
        votes.insert(prepare(1, b"a")).unwrap();
        assert!(Proven::prepared(&header, &votes, configuration.quorum()).is_none());
        votes.insert(prepare(2, b"a")).unwrap();
        let certificate = Proven::prepared(&header, &votes, configuration.quorum()).unwrap();
        assert!(certificate.get().check(&configuration).is_ok());
        let mut forged = certificate.get().clone();
        forged.prepares.signatures[1] = (ReplicaId(0), *prepare(0, b"a").signed().signature());
        assert!(forged.check(&configuration).is_err());
        let other = vote(PrePrepare { view: View(0), sequence: Sequence(1), digest: digest(b"b") }, 0);
        let forged = PreparedCertificate { header: other.signed().clone(), ..certificate.get().clone() };
        assert!(forged.check(&configuration).is_err());
    }
}
