//! A VIEW-CHANGE that does not show what its signer committed to: the lie that could make a new view forget a
//! decided batch.

use serde::{Deserialize, Serialize};

use pbft_crypto::{Malformed, Rejected, Signed, Verified, mutant};

use crate::statement::ensure;
use crate::{Commit, Configuration, Prepare, ReplicaId, Sequence, View, ViewChange};

/// A COMMIT, and a VIEW-CHANGE of the same replica to a higher view that does not show what the COMMIT stands for.
///
/// A COMMIT says: I hold a prepared certificate of this batch at this place, durably (D1). A VIEW-CHANGE to a higher
/// view has to show it, or one of a higher view at the same sequence, or a stable checkpoint that covers the sequence
/// (VC2). [`ViewChange::hides`] is the condition.
///
/// # Why no correct replica is accused
///
/// Let a correct replica have signed COMMIT ⟨v, n, d⟩ and VIEW-CHANGE ⟨w, s, C, P⟩ with v < w and s < n. It is to be
/// shown that P holds a certificate at n that is of d in view v, or of a view above v.
///
/// * **The COMMIT's certificate was written before the VIEW-CHANGE.** After the VIEW-CHANGE nothing is voted in a lower
///   view (D3), so the certificate was taken first, also one that another replica handed over (C4): the COMMIT is made
///   where the certificate is put into its slot, and its write issued. Writes become durable in order. So whoever finds
///   the VIEW-CHANGE in its store after a restart finds the certificate there too, and may send the COMMIT again. If
///   the VIEW-CHANGE was lost with a crash, it had not left, and the next one is made from what is stored; a COMMIT
///   that had left is among it (D1).
/// * **The slot keeps it, or one of a higher view.** A certificate gives way to one of the view that the replica is
///   active in, and views never go down (VC8). At one place in one view a correct replica takes one certificate: at a
///   second, different one it stops. That is so whatever the others do, so P with *another batch in view v itself* is a
///   lie as well, though more than f were faulty.
/// * **What leaves the log is covered.** A slot is collected when a stable checkpoint at or above it is durable, and h
///   never falls, not on disk either: so its sequence is at most s. State transfer replaces the state and keeps the
///   certificates above it.
/// * **n lies in P's range.** It voted up to its durable h + L (C1), with h at most s: so n is at most s + L. A COMMIT
///   beyond that is itself one that no correct replica makes.
/// * **A replica that has lost its disk** shows a stable checkpoint above every sequence that it may have voted at when
///   it asks for a view again (D8, as pbft-protocol's `recovery.rs` argues): its old COMMITs are at or below s.
///
/// COMMITs of view w or above are not looked at: the replica may have entered w since. Who goes on from an old copy of
/// its store, or on a disk that forgets what it said was synced, can be accused: it is one of the f (D8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omission {
    commit: Signed<Commit>,
    view_change: Signed<ViewChange>,
}

impl ViewChange {
    /// Whether its signer lies if it is the signer of `commit` too: this asks for a higher view, and shows neither the
    /// certificate that the COMMIT stands for, nor one of a higher view, nor a checkpoint that covers the sequence.
    #[must_use]
    pub fn hides(&self, commit: &Commit) -> bool {
        let Commit { view, sequence, digest } = *commit;
        let covered = sequence <= self.stable_sequence() && !mutant!("checkpoint-covers-nothing");
        if view >= self.view || covered {
            return false;
        }
        // A valid P ascends.
        let place = self.prepared.binary_search_by_key(&sequence, |shown| shown.proposal().sequence);
        let shown = place.ok().and_then(|index| self.prepared.get(index)).map(|shown| shown.proposal());
        let replaced = |shown: &Prepare| shown.view > view && !mutant!("higher-view-is-no-excuse");
        !shown.is_some_and(|shown| replaced(shown) || shown.view == view && shown.digest == digest)
    }
}

impl Omission {
    /// The proof, if the two are one replica's and the VIEW-CHANGE hides what the COMMIT stands for.
    #[must_use]
    pub fn between(commit: &Verified<Commit>, view_change: &Verified<ViewChange>) -> Option<Self> {
        let lies = commit.signer() == view_change.signer() && view_change.value().hides(commit.value());
        lies.then(|| Self { commit: commit.signed().clone(), view_change: view_change.signed().clone() })
    }

    /// The COMMIT.
    #[must_use]
    pub const fn commit(&self) -> &Signed<Commit> {
        &self.commit
    }

    /// The VIEW-CHANGE that hides what it stands for.
    #[must_use]
    pub const fn view_change(&self) -> &Signed<ViewChange> {
        &self.view_change
    }

    pub(crate) fn verify(&self, configuration: &Configuration) -> Result<(), Rejected> {
        let commit = self.commit.clone().verify(configuration)?;
        let view_change = self.view_change.clone().verify(configuration)?;
        let lies = Self::between(&commit, &view_change).is_some();
        ensure(lies, || "a VIEW-CHANGE that hides nothing of the COMMIT".into())?;
        Ok(())
    }

    /// Who lied, and about which place: that of the COMMIT, which is read quickly.
    pub(crate) fn place(&self) -> Result<(ReplicaId, View, Sequence), Malformed> {
        let Commit { view, sequence, .. } = self.commit.peek()?;
        Ok((self.commit.claimed_signer(), view, sequence))
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Digest, Domain};

    use super::*;
    use crate::testing::{configuration, prepared, replica_key, stable};
    use crate::{Certificate as _, Evidence, EvidenceKind, Exclusive};

    const LIAR: ReplicaId = ReplicaId(2);

    fn sign<T: Exclusive>(value: T, replica: ReplicaId) -> Verified<T> {
        Verified::sign(value, replica, &replica_key(replica), configuration(4).scope())
    }

    fn commit(view: u64, sequence: u64, name: &str) -> Verified<Commit> {
        let digest = Digest::of(Domain::Batch, name.as_bytes());
        sign(Commit { view: View(view), sequence: Sequence(sequence), digest }, LIAR)
    }

    fn view_change(stable: Option<u64>, shown: &[(u64, u64, &str)]) -> Verified<ViewChange> {
        let prepared = shown.iter().map(|(view, sequence, name)| prepared(*view, *sequence, name)).collect();
        let stable = stable.map(crate::testing::stable);
        sign(ViewChange { view: View(5), stable, prepared }, LIAR)
    }

    #[test]
    fn a_view_change_hides_what_it_neither_shows_nor_covers() {
        let committed = commit(2, 6, "a");
        let others = [(4, 5, "x"), (4, 7, "y")];
        for (stable, shown, hides, why) in [
            (None, None, true, "nothing is shown"),
            (Some(4), None, true, "nor covered by the checkpoint"),
            (Some(8), None, false, "a checkpoint above covers it"),
            (None, Some((1, 6, "a")), true, "the certificate of a lower view"),
            (None, Some((2, 6, "a")), false, "the one that was committed to"),
            (None, Some((2, 6, "b")), true, "another batch in the same view"),
            (None, Some((3, 6, "a")), false, "the same batch in a higher view"),
            (None, Some((3, 6, "b")), false, "another batch in a higher view"),
        ] {
            let mut all: Vec<_> =
                if stable == Some(8) { vec![] } else { others.into_iter().chain(shown).collect() };
            all.sort_by_key(|(_, sequence, _)| *sequence);
            assert_eq!(Omission::between(&committed, &view_change(stable, &all)).is_some(), hides, "{why}");
        }
    }

    #[test]
    fn commits_of_the_view_asked_for_or_above_and_of_others_are_no_matter() {
        let nothing = view_change(None, &[]);
        for view in [5, 6] {
            assert!(Omission::between(&commit(view, 6, "a"), &nothing).is_none());
        }
        assert!(Omission::between(&commit(4, 6, "a"), &nothing).is_some());
        let Commit { view, sequence, digest } = *commit(4, 6, "a").value();
        let of_another = sign(Commit { view, sequence, digest }, ReplicaId(1));
        assert!(Omission::between(&of_another, &nothing).is_none());
    }

    /// A COMMIT beyond the window above the checkpoint shown: no correct replica votes there.
    #[test]
    fn a_commit_beyond_the_window_of_the_view_change_is_a_lie() {
        assert!(Omission::between(&commit(4, 9, "a"), &view_change(None, &[(4, 8, "b")])).is_some());
        assert!(
            sign(ViewChange { view: View(5), stable: None, prepared: vec![prepared(4, 9, "a")] }, LIAR)
                .signed()
                .clone()
                .verify(&configuration(4))
                .is_err(),
            "nor could it be shown"
        );
    }

    #[test]
    fn an_omission_is_evidence_that_public_keys_check() {
        let configuration = configuration(4);
        let (committed, hiding) = (commit(2, 6, "a"), view_change(Some(4), &[(1, 6, "a")]));
        let evidence = Evidence::from(Omission::between(&committed, &hiding).unwrap());
        assert!(evidence.check(&configuration).is_ok());
        let accusation = evidence.accusation().unwrap();
        assert_eq!((accusation.accused, accusation.kind), (LIAR, EvidenceKind::Omission));
        assert_eq!((accusation.view, accusation.sequence), (View(2), Sequence(6)));
    }

    #[test]
    fn what_proves_nothing_is_refused() {
        let configuration = configuration(4);
        let refused = |commit: &Signed<Commit>, view_change: &Signed<ViewChange>| {
            let forged = Omission { commit: commit.clone(), view_change: view_change.clone() };
            forged.verify(&configuration).is_err()
        };
        let (committed, hiding) = (commit(2, 6, "a"), view_change(None, &[]));
        assert!(!refused(committed.signed(), hiding.signed()));
        assert!(refused(committed.signed(), view_change(None, &[(2, 6, "a")]).signed()), "it is shown");
        let renamed = |replica| {
            Signed::from_parts(replica, hiding.signed().payload().clone(), *hiding.signed().signature())
        };
        assert!(refused(committed.signed(), &renamed(ReplicaId(1))), "in another's name (fault 38)");
        // A VIEW-CHANGE that would be refused proves nothing: no correct replica believes it.
        let mut bad = stable(4);
        bad.signatures.pop();
        let bad = sign(ViewChange { view: View(5), stable: Some(bad), prepared: vec![] }, LIAR);
        assert!(refused(committed.signed(), bad.signed()), "not valid");
    }
}
