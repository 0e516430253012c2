//! Evidence (section E): made where a contradiction is seen, recorded, and told to everybody once. A replica that was
//! down or cut off then is handed a piece of each kind against each liar when its STATUS does not name it, so that in
//! the end everybody holds proof against the same liars; of the same kind there may be different pieces.

use std::collections::{BTreeMap, BTreeSet};

use pbft_crypto::mutant;
use pbft_messages::{Accusation, Evidence, EvidenceKind, PeerMessage, Proven, ReplicaId};

use crate::replica::Replica;
use crate::{Effect, Effects, Now, Record, Report, ViewChangeReason};

/// How many pieces of evidence of one kind against one replica are kept: the first convicts, and a replica that lies
/// at every sequence must not fill the store.
const KEPT: usize = 8;

impl Replica {
    /// A contradiction was seen here; says whether it is new. One of which enough is known is not even checked: a liar
    /// repeats itself cheaply.
    pub(crate) fn accuse(&mut self, conflict: impl Into<Evidence>, now: Now, effects: &mut Effects) -> bool {
        let evidence = conflict.into();
        // What has been verified can be read.
        let Ok(accusation) = evidence.accusation() else { return false };
        let lacked = self.lacks_evidence(&accusation);
        if (lacked || self.deposes(&accusation, &evidence))
            // Both statements were verified when they came; certificates prove themselves again.
            && let Ok(evidence) = Proven::new(evidence, &self.configuration)
        {
            self.on_evidence(evidence, now, effects);
        }
        lacked
    }

    /// Evidence that holds, found here or received.
    pub(crate) fn on_evidence(&mut self, evidence: Proven<Evidence>, now: Now, effects: &mut Effects) {
        // What has been checked can be read.
        let Ok(accusation) = evidence.get().accusation() else { return };
        let (lacked, deposes) = (self.lacks_evidence(&accusation), self.deposes(&accusation, evidence.get()));
        if lacked {
            self.evidence.insert(accusation, evidence.clone());
            effects.push(Effect::Note(vec![Record::Evidence(evidence.get().clone())]));
            effects.report(Report::Evidence(accusation));
        }
        if lacked || deposes {
            // However much of its kind is kept: who leaves a view alone is of no use to anybody.
            effects.broadcast(PeerMessage::Evidence(evidence.get().clone()));
        }
        if deposes {
            self.start_view_change(accusation.view.next(), ViewChangeReason::Evidence, now, effects);
        }
    }

    /// Whether evidence of this is to be kept: it is not known, and there is not enough of its kind.
    pub(crate) fn lacks_evidence(&self, accusation: &Accusation) -> bool {
        let alike = |kept: &&Accusation| (kept.accused, kept.kind) == (accusation.accused, accusation.kind);
        !self.evidence.contains_key(accusation) && self.evidence.keys().filter(alike).count() < KEPT
    }

    /// How many pieces of one kind against one replica are kept, of which there are most.
    pub(crate) fn most_evidence(&self) -> usize {
        let mut counts: BTreeMap<_, usize> = BTreeMap::new();
        for it in self.evidence.keys() {
            *counts.entry((it.accused, it.kind)).or_default() += 1;
        }
        counts.into_values().max().unwrap_or_default()
    }

    /// Who is proven to have lied, and in which kinds of statements, ascending.
    pub(crate) fn proven(&self) -> Vec<(ReplicaId, EvidenceKind)> {
        let convictions: BTreeSet<_> = self.evidence.keys().map(|it| (it.accused, it.kind)).collect();
        convictions.into_iter().collect()
    }

    /// Hands a replica the first piece of evidence of a kind that it lacks. Nothing that accuses the replica itself: a
    /// liar that never names it would be sent it for ever.
    pub(crate) fn hand_over_evidence(
        &self,
        to: ReplicaId,
        proven: &[(ReplicaId, EvidenceKind)],
        effects: &mut Effects,
    ) {
        let lacks = |it: &Accusation| proven.binary_search(&(it.accused, it.kind)).is_err();
        let lacked = self.evidence.iter().find(|(it, _)| it.accused != to && lacks(it));
        if let Some((_, evidence)) = lacked.filter(|_| !mutant!("evidence-kept-to-oneself")) {
            effects.send(to, PeerMessage::Evidence(evidence.get().clone()));
        }
    }

    /// Whether evidence makes this replica leave its view: that of a primary that contradicted itself *in it* (VC1);
    /// older evidence deposes nobody. A wrong NEW-VIEW ends a pending view only once its timer runs (VC5).
    fn deposes(&self, accusation: &Accusation, evidence: &Evidence) -> bool {
        let as_primary = matches!(accusation.kind, EvidenceKind::PrePrepare | EvidenceKind::NewView);
        if !as_primary || self.configuration.primary(accusation.view) != accusation.accused {
            return false;
        }
        let wrong_new_view = matches!(evidence, Evidence::WrongNewView(_));
        match self.view.pending {
            None => accusation.view == self.view.active,
            Some(pending) => accusation.view == pending && wrong_new_view && self.view.deadline.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Conflict, Message, Parameters, PrePrepare, Sequence, View};

    use super::*;
    use crate::testing::{Bench, LIAR, digest};

    /// VC1: a primary that is known as a liar from former views is left by all when it lies again, not by the one replica
    /// alone that has seen it.
    #[test]
    fn whoever_leaves_a_primary_for_its_lie_tells_the_others_of_it() {
        let mut bench = Bench::new(Parameters::default());
        let lie = |bench: &Bench, view, sequence| {
            let halves = [1, 2].map(|half| {
                let (view, sequence) = (View(view), Sequence(sequence));
                bench.sign(LIAR, PrePrepare { view, sequence, digest: digest(half) })
            });
            Evidence::from(Conflict::between(&halves[0], &halves[1]).expect("they contradict"))
        };
        let receive = |bench: &mut Bench, evidence: &Evidence| {
            let proven = Proven::new(evidence.clone(), &bench.configuration).expect("it holds");
            bench.message(ReplicaId(1), Message::Evidence(proven));
            let told =
                |it: &Effect| matches!(it, Effect::Broadcast(PeerMessage::Evidence(it)) if it == evidence);
            bench.effects.drain(..).filter(told).count()
        };
        for (sequence, told) in (1..=9).zip([1; 8].into_iter().chain([0])) {
            let former = lie(&bench, 4, sequence);
            assert_eq!(receive(&mut bench, &former), told);
        }
        assert_eq!(bench.replica.view.pending, None);
        let present = lie(&bench, 0, 1);
        assert_eq!(receive(&mut bench, &present), 1);
        assert_eq!(bench.replica.view.pending, Some(View(1)));
        assert_eq!(receive(&mut bench, &present), 0, "once");
        assert_eq!(bench.replica.evidence.len(), KEPT);
    }
}
