//! Finding VIEW-CHANGEs that contradict their signers: another one to the same view, or what they committed to (section
//! E). What an omission is, and why nobody correct is accused, is written at [`Omission`].
//!
//! Either may come first. A VIEW-CHANGE that is new, also one that only a NEW-VIEW brings, is compared with the COMMITs
//! that this replica knows of its signer: those of the active view, the last of the views before, and those in
//! certificates. A COMMIT that comes late, alone or in a certificate, is compared with the VIEW-CHANGEs that are kept:
//! the highest one of its signer, and the one to the active view.

use pbft_crypto::Verified;
use pbft_messages::{Commit, CommittedCertificate, Conflict, Omission, Proven, ReplicaId, ViewChange};

use crate::replica::Replica;
use crate::{Effects, Now};

impl Replica {
    /// The VIEW-CHANGEs that are kept of a replica.
    fn kept_view_changes(&self, of: ReplicaId) -> impl Iterator<Item = &Verified<ViewChange>> {
        [&self.view.view_changes, &self.view.to_active].into_iter().filter_map(move |kept| kept.get(&of))
    }

    /// Compares a VIEW-CHANGE, however often it comes, with those that are kept of its signer.
    pub(crate) fn compare_view_changes(
        &mut self,
        view_change: &Verified<ViewChange>,
        now: Now,
        effects: &mut Effects,
    ) {
        let conflict = self
            .kept_view_changes(view_change.signer())
            .find_map(|kept| Conflict::between(kept, view_change));
        if let Some(conflict) = conflict {
            self.accuse(conflict, now, effects);
        }
    }

    /// Compares a VIEW-CHANGE with what its signer is known to have committed to, and what it shows with what is known
    /// of others. That goes through the whole log, so it is done once, when the VIEW-CHANGE is new.
    pub(crate) fn compare_new_view_change(
        &mut self,
        view_change: &Verified<ViewChange>,
        now: Now,
        effects: &mut Effects,
    ) {
        let slots = self.log.above(view_change.value().stable_sequence());
        // The first convicts, and they may be many.
        let hidden = slots.filter_map(|(_, slot)| slot.commit_hidden_by(view_change)).next();
        // One in a certificate was checked as a part of it.
        let commit = hidden.and_then(|signed| signed.verify(&self.configuration).ok());
        if let Some(omission) = commit.and_then(|commit| Omission::between(&commit, view_change)) {
            self.accuse(omission, now, effects);
        }
        self.compare_shown(view_change.value(), now, effects);
    }

    /// Compares a COMMIT with the VIEW-CHANGEs of its signer, and with its other COMMITs at that place.
    pub(crate) fn compare_commit(&mut self, commit: &Verified<Commit>, now: Now, effects: &mut Effects) {
        let conflict = self.conflict_with_commits(commit);
        let omission =
            self.kept_view_changes(commit.signer()).find_map(|kept| Omission::between(commit, kept));
        if let Some(conflict) = conflict {
            self.accuse(conflict, now, effects);
        }
        if let Some(omission) = omission {
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

#[cfg(test)]
mod tests {
    use pbft_messages::{EvidenceKind, Message, Parameters, Sequence, View, VoteSet};

    use super::*;
    use crate::Record;
    use crate::testing::Bench;

    fn bench() -> Bench {
        Bench::new(Parameters::default())
    }

    /// A VIEW-CHANGE of this replica that differs from the bare one.
    fn other_view_change(bench: &Bench, from: u16, view: u64) -> Verified<ViewChange> {
        let prepared = vec![bench.prepared(0, 9, 1)];
        bench.sign(ReplicaId(from), ViewChange { view: View(view), stable: None, prepared })
    }

    #[test]
    fn commits_in_a_certificate_are_compared() {
        let mut bench = bench();
        bench.message(ReplicaId(1), Message::ViewChange(bench.bare_view_change(1, 1)));
        let body = bench.body(1, 10);
        let mut votes = VoteSet::default();
        for replica in bench.configuration.replicas().take(3) {
            let value = Commit { view: View(0), sequence: Sequence(1), digest: body.digest() };
            votes.insert(bench.sign(replica, value)).unwrap();
        }
        let certificate = votes.quorum(bench.configuration.quorum()).unwrap();
        bench.message(ReplicaId(2), Message::Committed(certificate, body));
        assert_eq!(bench.accused(), [(1, EvidenceKind::Omission, 0, 1)]);

        // The other way round: the certificate was there first.
        bench.message(ReplicaId(2), Message::ViewChange(bench.bare_view_change(2, 1)));
        assert_eq!(bench.accused()[1..], [(2, EvidenceKind::Omission, 0, 1)]);
    }

    #[test]
    fn a_view_change_that_only_a_new_view_brings_is_compared() {
        let mut bench = bench();
        bench.message(ReplicaId(2), Message::Commit(bench.commit(2, 0, 1, 1)));
        bench.message(ReplicaId(0), Message::ViewChange(other_view_change(&bench, 0, 1)));
        bench.enter(1, [0, 1, 2]);
        assert_eq!(bench.accused(), [(0, EvidenceKind::ViewChange, 1, 0), (2, EvidenceKind::Omission, 0, 1)]);
    }

    #[test]
    fn two_view_changes_to_the_active_view_are_evidence() {
        let mut bench = bench();
        bench.enter(1, [0, 1, 2]);
        bench.message(ReplicaId(2), Message::ViewChange(bench.bare_view_change(2, 1)));
        assert_eq!(bench.accused(), []);
        bench.message(ReplicaId(2), Message::ViewChange(other_view_change(&bench, 2, 1)));
        assert_eq!(bench.accused(), [(2, EvidenceKind::ViewChange, 1, 0)]);
    }

    /// Both were heard when nobody needed them any more, or one was not among those that opened the view.
    #[test]
    fn view_changes_that_did_not_open_the_active_view_are_compared_too() {
        for late in [false, true] {
            let mut bench = bench();
            if late {
                bench.enter(1, [0, 1, 3]);
            }
            bench.message(ReplicaId(2), Message::ViewChange(bench.bare_view_change(2, 1)));
            if !late {
                bench.enter(1, [0, 1, 3]);
            }
            bench.message(ReplicaId(2), Message::ViewChange(other_view_change(&bench, 2, 1)));
            assert_eq!(bench.accused(), [(2, EvidenceKind::ViewChange, 1, 0)]);
        }
    }

    /// The COMMIT is known, and the view begins without the VIEW-CHANGE that hides it; or they come the other way round.
    #[test]
    fn a_late_view_change_to_the_active_view_is_compared_with_commits() {
        for reversed in [false, true] {
            let mut bench = bench();
            let commit = Message::Commit(bench.commit(2, 0, 1, 1));
            let hides = Message::ViewChange(bench.bare_view_change(2, 1));
            let last = if reversed {
                bench.enter(1, [0, 1, 3]);
                bench.message(ReplicaId(2), hides);
                commit
            } else {
                bench.message(ReplicaId(2), commit);
                bench.enter(1, [0, 1, 3]);
                hides
            };
            assert_eq!(bench.accused(), []);
            bench.message(ReplicaId(2), last);
            assert_eq!(bench.accused(), [(2, EvidenceKind::Omission, 0, 1)], "reversed: {reversed}");
        }
    }

    /// The view is below the one that this replica asks for, and is not entered.
    #[test]
    fn a_new_view_that_comes_too_late_is_compared() {
        let mut bench = bench();
        for (sender, view) in [(0, 2), (1, 2), (2, 1)] {
            bench.message(ReplicaId(sender), Message::ViewChange(bench.bare_view_change(sender, view)));
        }
        assert_eq!(bench.replica.view.pending, Some(View(2)));
        let asked =
            [bench.bare_view_change(0, 1), bench.bare_view_change(1, 1), other_view_change(&bench, 2, 1)];
        bench.message(ReplicaId(1), Message::NewView(bench.new_view(1, asked)));
        assert_eq!(bench.replica.view.active, View(0));
        assert_eq!(bench.accused(), [(2, EvidenceKind::ViewChange, 1, 0)]);
    }

    /// What is in it is a whole log to compare, and anybody may send copies of it.
    #[test]
    fn a_new_view_that_comes_too_late_is_compared_once() {
        let mut bench = bench();
        for sender in [0, 1] {
            bench.message(ReplicaId(sender), Message::ViewChange(bench.bare_view_change(sender, 2)));
        }
        let first = bench.new_view(1, [0, 1, 2].map(|it| bench.bare_view_change(it, 1)));
        let shown =
            [bench.bare_view_change(0, 1), bench.bare_view_change(2, 1), bench.bare_view_change(3, 1)];
        let second = bench.new_view(1, shown);
        bench.message(ReplicaId(1), Message::NewView(first.clone()));
        bench.message(ReplicaId(2), Message::Commit(bench.commit(2, 0, 1, 1)));
        bench.message(ReplicaId(0), Message::NewView(first));
        assert_eq!(bench.accused(), [], "it would be seen now, were the copy looked into");
        bench.message(ReplicaId(0), Message::NewView(second));
        assert_eq!(bench.accused(), [(1, EvidenceKind::NewView, 1, 0)]);
        assert_eq!((bench.replica.view.active, bench.replica.view.pending), (View(0), Some(View(2))));
    }

    #[test]
    fn a_second_new_view_accuses_whoever_gave_another_view_change_for_it() {
        let mut bench = bench();
        bench.enter(1, [0, 1, 2]);
        let shown =
            [bench.bare_view_change(0, 1), bench.bare_view_change(1, 1), other_view_change(&bench, 2, 1)];
        let second = bench.new_view(1, shown);
        bench.message(ReplicaId(1), Message::NewView(second));
        assert_eq!(bench.accused(), [(1, EvidenceKind::NewView, 1, 0), (2, EvidenceKind::ViewChange, 1, 0)]);
    }

    #[test]
    fn what_opened_the_view_is_known_after_a_restart() {
        let before = bench();
        let opens = before.new_view(1, [0, 1, 2].map(|it| before.bare_view_change(it, 1)));
        let entered = Record::View(View(1), Some(opens.signed().clone()));
        let mut bench = Bench::starting_with(Parameters::default(), [entered]).unwrap();
        bench.message(ReplicaId(2), Message::Commit(bench.commit(2, 0, 1, 1)));
        assert_eq!(bench.accused(), [(2, EvidenceKind::Omission, 0, 1)]);
    }

    /// Of the views that were left, each replica's last COMMIT at a place is kept.
    #[test]
    fn commits_of_views_that_were_left_are_compared() {
        let mut bench = bench();
        bench.message(ReplicaId(2), Message::Commit(bench.commit(2, 0, 1, 1)));
        bench.enter(1, [0, 1, 3]);
        assert!(bench.replica.log.get(Sequence(1)).unwrap().former_commit_of(ReplicaId(2)).is_some());
        bench.message(ReplicaId(2), Message::Commit(bench.commit(2, 1, 1, 2)));
        bench.enter(2, [0, 1, 3]);
        let kept = bench.replica.log.get(Sequence(1)).unwrap().former_commit_of(ReplicaId(2)).unwrap();
        assert_eq!(kept.value().view, View(1));
        bench.message(ReplicaId(2), Message::Commit(bench.commit(2, 1, 1, 3)));
        assert_eq!(bench.accused(), [(2, EvidenceKind::Commit, 1, 1)]);
        bench.message(ReplicaId(2), Message::ViewChange(bench.bare_view_change(2, 3)));
        assert_eq!(bench.accused()[1..], [(2, EvidenceKind::Omission, 1, 1)]);
    }
}
