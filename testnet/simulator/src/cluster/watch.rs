//! What is checked of every message and every step at a correct replica: certificates (I6), bounds (I7), and whether
//! whoever contradicts itself is convicted (I9).

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_messages::{Commit, EvidenceKind, Message, PeerMessage, ReplicaId};

use super::Cluster;
use crate::letter::Letter;
use crate::limits::exceeded;
use crate::violation::Invariant;
use crate::{Contradictions, InstanceId, Violation};

impl Cluster {
    /// An instance is about to hear a message that it will believe.
    pub(super) fn watch(&mut self, at: InstanceId, letter: &Letter, message: &Message) {
        let instance = &self.instances[at.0];
        let Some(running) = instance.running.as_ref().filter(|_| !instance.malicious) else { return };
        let (standing, written) = (running.core.standing(), running.core.sizes().stable);
        let parameters = self.configuration.parameters();
        let heard = letter.heard(message, &self.configuration);
        self.witness.hears((at, instance.run), &standing, written, parameters, message, heard);
        self.votes.hears(at, message);
        if let Some(message) = letter.certificates(message)
            && let Err(wrong) = self.certificates.accepted(&message, &self.configuration)
        {
            let from = letter.from;
            self.checker.violated(Invariant::I6, format!("{at} believes {from}, who sent {wrong}"));
        }
    }

    /// An instance sends a message: what it says is on its disk (D1), and contradicts nothing that it ever said (I9).
    pub(super) fn watch_sent(&mut self, from: InstanceId, message: &PeerMessage) {
        let instance = &self.instances[from.0];
        if instance.malicious {
            return;
        }
        if let PeerMessage::Commit(vote) = message
            && let Ok(vote) = vote.peek()
            && !instance.disk.backs(&vote)
        {
            let text = format!("{from} sends a COMMIT of {} before what it claims is durable", vote.sequence);
            self.checker.violated(Invariant::D1, text);
        }
        if let Err(wrong) = self.witness.says(instance.replica, message) {
            self.checker.violated(Invariant::I9, format!("{from}, which is correct, {wrong}"));
        }
    }

    /// An instance takes a batch for committed.
    pub(super) fn watch_commit(&mut self, at: InstanceId, vote: Commit) {
        let voters = self.votes.committed(at, self.instances[at.0].replica, &vote);
        let quorum = self.configuration.quorum().get();
        if voters < quorum {
            let text = format!("{at} takes {} for committed by {voters} of {quorum}", vote.sequence);
            self.checker.violated(Invariant::I6, text);
        }
    }

    /// An instance's disk has written something.
    pub(super) fn watch_disk(&mut self, at: InstanceId) {
        let instance = &mut self.instances[at.0];
        if let Some((invariant, text)) = instance.disk.taken_back.take().filter(|_| !instance.malicious) {
            self.checker.violated(invariant, format!("{at} {text}"));
        }
    }

    /// An instance has handled an input.
    pub(super) fn check_bounds(&mut self, at: InstanceId) {
        let instance = &self.instances[at.0];
        let Some(running) = instance.running.as_ref().filter(|_| !instance.malicious) else { return };
        if let Some(text) = exceeded(&running.core.sizes(), &self.configuration) {
            self.checker.violated(Invariant::I7, format!("{at} holds {text}"));
        }
    }

    /// The contradictions that some correct replica could have noticed, and how many are proven.
    #[must_use]
    pub fn contradictions(&self) -> Contradictions {
        self.witness.contradictions()
    }

    /// Who was heard contradicting itself by a correct replica, in which kind of statements, and is not convicted of that
    /// by any (I9). After a run in which nobody fails any more, there should be nobody.
    #[must_use]
    pub fn unconvicted(&self) -> BTreeSet<(ReplicaId, EvidenceKind)> {
        self.witness.unconvicted()
    }

    /// That there is somebody all the same.
    pub(crate) fn missed_conviction(&self) -> Option<Violation> {
        let lies = self.unconvicted();
        let names: Vec<_> = lies.iter().map(|(replica, kind)| format!("{replica} ({kind:?})")).collect();
        let text = format!("{} signed contradictions and is not convicted", names.join(" and "));
        (!names.is_empty()).then(|| self.violation(Invariant::I9, text))
    }

    /// Lets everything settle once nothing fails any more. Tells if what waits is not executed in time (I8), or a liar is
    /// not convicted then (I9).
    pub(crate) fn unsettled(&mut self, limit: Duration, since: &str) -> Option<Violation> {
        let settled = self.settle(limit);
        self.compare_states();
        if settled {
            return self.missed_conviction();
        }
        let standing = |replica| format!("{replica}: {:?}", self.standing(replica));
        let standings: Vec<_> = self.correct().map(standing).collect();
        let text = format!("not everything is executed {limit:?} after {since}; {}", standings.join("; "));
        Some(self.violation(Invariant::I8, text))
    }
}
