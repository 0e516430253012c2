//! Finding VIEW-CHANGEs that hide what their signers committed to (section E). What the two are compared for, and why
//! nobody correct is accused, is written at [`Omission`].
//!
//! Either may come first. A VIEW-CHANGE, also one that only a NEW-VIEW brings, is compared with the COMMITs that this
//! replica knows of its signer: those of the active view, the last of the views before, and those in certificates. A
//! COMMIT that comes late, alone or in a certificate, is compared with the VIEW-CHANGEs that are kept: the highest one
//! of its signer, and the one that the active view was opened by.

use pbft_crypto::Verified;
use pbft_messages::{Commit, CommittedCertificate, Conflict, Omission, Proven, ViewChange};

use crate::replica::Replica;
use crate::{Effects, Now};

impl Replica {
    /// Compares a VIEW-CHANGE with what its signer is known to have committed to.
    pub(crate) fn compare_view_change(
        &mut self,
        view_change: &Verified<ViewChange>,
        now: Now,
        effects: &mut Effects,
    ) {
        // The first convicts, and they may be many.
        let commit = {
            let slots = self.log.above(view_change.value().stable_sequence());
            let mut commits = slots.flat_map(|(_, slot)| slot.commits_of(view_change.signer()));
            commits.find(|signed| signed.peek().is_ok_and(|commit| view_change.value().hides(&commit)))
        };
        let commit = commit.and_then(|signed| signed.verify(&self.configuration).ok());
        if let Some(omission) = commit.and_then(|commit| Omission::between(&commit, view_change)) {
            self.accuse(omission, now, effects);
        }
    }

    /// Compares a COMMIT with the VIEW-CHANGEs of its signer, and one of a view that was left with the one that is kept.
    pub(crate) fn compare_commit(&mut self, commit: &Verified<Commit>, now: Now, effects: &mut Effects) {
        let signer = commit.signer();
        let former = self.log.get(commit.value().sequence).and_then(|slot| slot.former_commit_of(signer));
        let conflict = former.and_then(|former| Conflict::between(former, commit));
        let view_changes = [&self.view.view_changes, &self.view.opened_by];
        let omissions = view_changes.map(|held| Omission::between(commit, held.get(&signer)?));
        if let Some(conflict) = conflict {
            self.accuse(conflict, now, effects);
        }
        for omission in omissions.into_iter().flatten() {
            self.accuse(omission, now, effects);
        }
    }

    /// Compares the COMMITs in a certificate.
    pub(crate) fn compare_certified_commits(
        &mut self,
        certificate: &Proven<CommittedCertificate>,
        now: Now,
        effects: &mut Effects,
    ) {
        let commits = self.configuration.replicas().filter_map(|it| certificate.get().vote_of(it));
        // They were checked as part of the certificate.
        let commits: Vec<_> = commits.filter_map(|vote| vote.verify(&self.configuration).ok()).collect();
        for commit in commits {
            self.compare_commit(&commit, now, effects);
        }
    }
}
