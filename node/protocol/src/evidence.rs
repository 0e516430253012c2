//! Evidence (section E): made where a contradiction is seen, recorded, and told to everybody once. A replica that was
//! down or cut off then is handed a piece of each kind against each liar when its STATUS does not name it, so that in the
//! end everybody holds proof against the same liars; of the same kind there may be different pieces.

use std::collections::BTreeSet;

use pbft_messages::{Accusation, Evidence, EvidenceKind, PeerMessage, Proven, ReplicaId};

use crate::replica::Replica;
use crate::{Effect, Effects, Now, Record, Report, ViewChangeReason};

/// How many pieces of evidence of one kind against one replica are kept: the first convicts, and a replica that lies
/// at every sequence must not fill the store.
const KEPT: usize = 8;

impl Replica {
    /// A contradiction was seen here.
    pub(crate) fn accuse(&mut self, conflict: impl Into<Evidence>, now: Now, effects: &mut Effects) {
        // Both statements were verified when they came; certificates prove themselves again.
        if let Ok(evidence) = Proven::new(conflict.into(), &self.configuration) {
            self.on_evidence(evidence, now, effects);
        }
    }

    /// Evidence that holds, found here or received.
    pub(crate) fn on_evidence(&mut self, evidence: Proven<Evidence>, now: Now, effects: &mut Effects) {
        // What has been checked can be read.
        let Ok(accusation) = evidence.get().accusation() else { return };
        if self.keep_evidence(accusation, &evidence) {
            effects.push(Effect::Note(vec![Record::Evidence(evidence.get().clone())]));
            effects.broadcast(PeerMessage::Evidence(evidence.get().clone()));
            effects.report(Report::Evidence(accusation));
        }
        self.leave_proven_liar(accusation, evidence.get(), now, effects);
    }

    /// Keeps evidence; says whether it is new.
    pub(crate) fn keep_evidence(&mut self, accusation: Accusation, evidence: &Proven<Evidence>) -> bool {
        let alike = |kept: &&Accusation| (kept.accused, kept.kind) == (accusation.accused, accusation.kind);
        if self.evidence.contains_key(&accusation) || self.evidence.keys().filter(alike).count() >= KEPT {
            return false;
        }
        self.evidence.insert(accusation, evidence.clone());
        true
    }

    /// Who is proven to have lied, and in which kinds of statements, ascending.
    pub(crate) fn proven(&self) -> Vec<(ReplicaId, EvidenceKind)> {
        let convictions: BTreeSet<_> = self.evidence.keys().map(|it| (it.accused, it.kind)).collect();
        convictions.into_iter().collect()
    }

    /// Hands a replica the first piece of evidence of a kind that it lacks. The next one follows with its next STATUS:
    /// evidence may be large (R3). A liar is not told what is known of it.
    pub(crate) fn hand_over_evidence(
        &self,
        to: ReplicaId,
        proven: &[(ReplicaId, EvidenceKind)],
        effects: &mut Effects,
    ) {
        let lacked =
            self.evidence.iter().find(|(it, _)| it.accused != to && !proven.contains(&(it.accused, it.kind)));
        if let Some((_, evidence)) = lacked {
            effects.send(to, PeerMessage::Evidence(evidence.get().clone()));
        }
    }

    /// Leaves the view of a primary that contradicted itself *in it* (VC1); older evidence deposes nobody. A wrong
    /// NEW-VIEW ends a pending view only once its timer runs (VC5).
    fn leave_proven_liar(
        &mut self,
        accusation: Accusation,
        evidence: &Evidence,
        now: Now,
        effects: &mut Effects,
    ) {
        let as_primary = matches!(accusation.kind, EvidenceKind::PrePrepare | EvidenceKind::NewView);
        if !as_primary || self.configuration.primary(accusation.view) != accusation.accused {
            return;
        }
        let wrong_new_view = matches!(evidence, Evidence::WrongNewView(_));
        let leaves = match self.view.pending {
            None => accusation.view == self.view.active,
            Some(pending) => accusation.view == pending && wrong_new_view && self.view.deadline.is_some(),
        };
        if leaves {
            self.start_view_change(accusation.view.next(), ViewChangeReason::Evidence, now, effects);
        }
    }
}
