//! What is checked of every message and every step at a correct replica: certificates (I6), bounds (I7), whether whoever
//! contradicts itself is convicted (I9), and durability (D1 to D5).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pbft_crypto::Digest;
use pbft_messages::{Commit, Configuration, EvidenceKind, Message, PeerMessage, ReplicaId, Sequence, View};
use pbft_protocol::Record;

use super::Cluster;
use crate::instance::Instance;
use crate::letter::Letter;
use crate::limits::exceeded;
use crate::phase::{Place, place};
use crate::violation::Invariant;
use crate::witness::Hearer;
use crate::{Contradictions, InstanceId, Violation};

impl Cluster {
    /// An instance is about to hear a message that it will believe.
    pub(super) fn watch(&mut self, at: InstanceId, letter: &Letter, message: &Message) {
        let Some(hearer) = hearer(&self.instances[at.0], at, &self.configuration) else { return };
        let heard = letter.heard(message, &self.configuration);
        self.witness.hears(&hearer, letter.from, message, heard);
        self.votes.hears((at, self.instances[at.0].run), message);
        if let Some(Err(wrong)) = self.look_again(letter, message) {
            let from = letter.from;
            self.checker.violated(Invariant::I6, format!("{at} believes {from}, who sent {wrong}"));
        }
    }

    /// An instance has begun a view.
    pub(super) fn watch_entry(&mut self, at: InstanceId, view: View) {
        if let Some(hearer) = hearer(&self.instances[at.0], at, &self.configuration) {
            self.witness.enters(&hearer, view);
        }
    }

    /// An instance has handled an input, in this run.
    pub(super) fn watch_handled(&mut self, at: InstanceId, run: u64) {
        if !self.witness.has_met() {
            return;
        }
        let instance = Some(&self.instances[at.0]).filter(|it| it.run == run);
        let hearer = instance.and_then(|it| hearer(it, at, &self.configuration));
        for (replica, kind, view, sequence) in self.witness.handled(hearer.as_ref()) {
            let place = format!("({kind:?}) at {sequence} in view {view}");
            let text = format!("{at} heard {replica} contradict itself {place}, and does not accuse it");
            self.checker.violated(Invariant::I9, text);
        }
    }

    /// Lets the second verifier look at a letter that the replicas' own has passed, unless it has.
    fn look_again(&mut self, letter: &Letter, read: &Message) -> Option<Result<(), String>> {
        let message = letter.certificates(read)?;
        Some(self.certificates.accepted(&message, &self.configuration))
    }

    /// An instance sends a message: others believe it, its certificates are good (I6), what it rests on is on its disk (D1
    /// to D3, C1), it is of no view that it has left (D3), and it contradicts nothing that it ever said (I9).
    pub(super) fn watch_sent(&mut self, from: InstanceId, message: &PeerMessage, letter: &Letter) {
        let instance = &self.instances[from.0];
        if instance.malicious {
            return;
        }
        if let Some(invariant) = instance.disk.forbids(instance.replica, message)
            && let Some(Place { phase, view, sequence }) = place(message)
        {
            let what = format!("{phase:?} at {sequence} in view {view}");
            let text = format!("{from} sends its {what} before what that rests on is durable");
            self.checker.violated(invariant, text);
        }
        if self.left.says(instance.replica, message, instance.disk.entered())
            && let Some(Place { phase, view, sequence }) = place(message)
        {
            let text = format!("{from} says its {phase:?} at {sequence} in view {view}, which it has left");
            self.checker.violated(Invariant::D3, text);
        }
        if let PeerMessage::Commit(vote) = message
            && let Ok(vote) = vote.peek()
        {
            self.votes.says((from, instance.run), instance.replica, &vote);
        }
        if let Err(wrong) = self.own.says(instance.replica, message) {
            self.checker.violated(Invariant::I9, format!("{from}, which is correct, {wrong}"));
        }
        let configuration = Arc::clone(&self.configuration);
        let wrong = match letter.open(&configuration) {
            Some(Message::RefusedProposal(_)) | None => Some("what nobody believes".to_owned()),
            Some(read) => self.look_again(letter, read).and_then(Result::err),
        };
        if let Some(wrong) = wrong {
            self.checker.violated(Invariant::I6, format!("{from}, which is correct, sends {wrong}"));
        }
    }

    /// An instance is about to write records: it made their certificates itself, or believes them.
    pub(super) fn watch_records(&mut self, at: InstanceId, records: &[Record]) {
        if self.instances[at.0].malicious {
            return;
        }
        for record in records {
            if let Err(wrong) = self.certificates.written(record, &self.configuration) {
                self.checker.violated(Invariant::I6, format!("{at} writes {wrong}"));
            }
        }
    }

    /// An instance takes a batch for committed.
    pub(super) fn watch_commit(&mut self, at: InstanceId, vote: Commit) {
        let voters = self.votes.committed((at, self.instances[at.0].run), &vote);
        let quorum = self.configuration.quorum().get();
        if voters < quorum {
            let text = format!("{at} takes {} for committed by {voters} of {quorum}", vote.sequence);
            self.checker.violated(Invariant::I6, text);
        }
    }

    /// An instance has executed a batch.
    pub(super) fn watch_execution(&mut self, at: InstanceId, sequence: Sequence, digest: Digest) {
        self.checker.batch(at, sequence, digest);
        if !self.instances[at.0].disk.is_decided(sequence, digest) {
            let text = format!("{at} executes a batch at {sequence} that it has not noted as committed");
            self.checker.violated(Invariant::D4, text);
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

/// An instance as one that hears something: if it is correct, runs, and is not told to stop.
fn hearer<'a>(instance: &Instance, at: InstanceId, configuration: &'a Configuration) -> Option<Hearer<'a>> {
    let running = instance.running.as_ref().filter(|it| !instance.malicious && !it.is_stopping)?;
    let (standing, written) = (running.core.standing(), running.core.stable_when_written());
    Some(Hearer { at, run: instance.run, standing, written, parameters: configuration.parameters() })
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Digest, Domain, Verified};
    use pbft_messages::{Checkpoint, Endorsed, Prepare, Sequence, StableCertificate, ViewChange};

    use super::*;
    use crate::Settings;
    use crate::disk::Disk;

    const R1: InstanceId = InstanceId(1);

    fn cluster() -> Cluster {
        Cluster::new(Settings::new(4, 1))
    }

    /// Lets r1 send a message; gives what is wrong with it.
    fn wrong_with(cluster: &mut Cluster, message: &PeerMessage) -> Vec<(Invariant, String)> {
        let letter = Letter::new(ReplicaId(1), message);
        cluster.watch_sent(R1, message, &letter);
        cluster.violations().iter().map(|it| (it.invariant, it.text.clone())).collect()
    }

    /// A stable certificate of these replicas, each of whose votes bears the next one's name.
    fn stable(cluster: &Cluster, voters: &[u16], renamed: u16) -> StableCertificate {
        let statement = Checkpoint { sequence: Sequence(8), root: Digest::of(Domain::MerkleRoot, b"") };
        let vote = |voter: &u16| {
            let identity = cluster.identity(ReplicaId(*voter));
            let scope = identity.configuration.scope();
            let vote = Verified::sign(statement.clone(), identity.replica, &*identity.signer, scope);
            (ReplicaId((voter + renamed) % 4), *vote.signed().signature())
        };
        Endorsed { signatures: voters.iter().map(vote).collect(), statement: statement.clone() }
    }

    /// Nobody hears what is refused, so it is noticed where it is sent, or written.
    #[test]
    fn what_a_correct_replica_sends_and_writes_is_good() {
        let mut cluster = cluster();
        let (good, forged, few) =
            (stable(&cluster, &[0, 1, 3], 0), stable(&cluster, &[0, 1, 3], 1), stable(&cluster, &[0, 1], 0));
        assert_eq!(wrong_with(&mut cluster, &PeerMessage::Stable(good.clone())), []);
        let told = "r1, which is correct, sends what nobody believes".to_owned();
        assert_eq!(wrong_with(&mut cluster, &PeerMessage::Stable(forged)), [(Invariant::I6, told)]);

        let writes = |cluster: &mut Cluster, certificate| {
            cluster.watch_records(R1, &[Record::Stable(certificate)]);
            cluster.violations().len()
        };
        assert_eq!((writes(&mut cluster, good), writes(&mut cluster, few)), (1, 2));
    }

    /// A replica counts itself among those who committed once it has sent its COMMIT, and not before.
    #[test]
    fn a_batch_is_not_committed_by_who_has_yet_to_vote() {
        let mut cluster = cluster();
        let digest = Digest::of(Domain::Batch, b"");
        let commit = Commit { view: View(0), sequence: Sequence(1), digest };
        for voter in [0, 2] {
            let identity = cluster.identity(ReplicaId(voter));
            let scope = identity.configuration.scope();
            let vote = Verified::sign(commit.clone(), identity.replica, &*identity.signer, scope);
            let message = PeerMessage::Commit(vote.signed().clone());
            let letter = Letter::new(identity.replica, &message);
            let read = Message::Commit(vote);
            cluster.watch(R1, &letter, &read);
        }
        cluster.watch_commit(R1, commit);
        let told: Vec<_> = cluster.violations().iter().map(|it| it.text.as_str()).collect();
        assert_eq!(told, ["r1 takes 1 for committed by 2 of 3"]);
    }

    /// Nothing is sent before what it rests on is on the disk (D2, D3, C1), and nothing that contradicts what was sent
    /// (I9).
    #[test]
    fn what_a_correct_replica_sends_is_on_its_disk() {
        let mut cluster = cluster();
        let identity = cluster.identity(ReplicaId(1));
        let (configuration, signer) = (Arc::clone(&identity.configuration), identity.signer);
        let scope = configuration.scope();
        let digest = |name| Digest::of(Domain::Batch, name);
        let (view, sequence) = (View(0), Sequence(3));
        let prepare =
            Verified::sign(Prepare { view, sequence, digest: digest(b"a") }, ReplicaId(1), &*signer, scope);
        let prepare = PeerMessage::Prepare(prepare.signed().clone(), *prepare.signed().signature());
        let checkpoint = |root| {
            let vote = Checkpoint { sequence: Sequence(8), root: digest(root) };
            PeerMessage::Checkpoint(Verified::sign(vote, ReplicaId(1), &*signer, scope).signed().clone())
        };
        let view_change = |stable| {
            let value = ViewChange { view: View(1), stable, prepared: vec![] };
            Verified::sign(value, ReplicaId(1), &*signer, scope).signed().clone()
        };
        let bare = view_change(None);
        let sent = [prepare, checkpoint(b"a"), PeerMessage::ViewChange(bare.clone())];
        sent.iter().for_each(|it| drop(wrong_with(&mut cluster, it)));
        let told: Vec<_> = cluster.violations().iter().map(|it| it.invariant).collect();
        assert_eq!(told, [Invariant::D2, Invariant::C1, Invariant::D3]);

        let shown = view_change(Some(stable(&cluster, &[0, 1, 3], 0)));
        let records = [
            Record::Reservation(view, sequence),
            Record::Snapshot(Sequence(8), digest(b"a")),
            Record::ViewChange(bare),
        ];
        cluster.instances[1].disk = Disk::new(records.into());
        for message in &sent {
            assert_eq!(wrong_with(&mut cluster, message).len(), 3);
        }
        let more = [Record::Snapshot(Sequence(8), digest(b"b")), Record::ViewChange(shown.clone())];
        cluster.instances[1].disk = Disk::new(more.into());
        for message in [checkpoint(b"b"), PeerMessage::ViewChange(shown)] {
            let wrong = wrong_with(&mut cluster, &message);
            assert_eq!(wrong.last().map(|it| it.0), Some(Invariant::I9), "{wrong:?}");
        }
    }
}
