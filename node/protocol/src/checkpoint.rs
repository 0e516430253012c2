//! Checkpoints and the collection of the log (OSDI'99 §4.3; C1, D5).

use pbft_crypto::{Digest, Verified, mutant};
use pbft_messages::{Checkpoint, PeerMessage, Proven, ReplicaId, Sequence, StableCertificate};

use crate::durability::Awaited;
use crate::replica::Replica;
use crate::{Effect, Effects, Halt, Now, Record, Rejection, Report};

/// How many windows of the log below h a replica keeps that is behind: what it hears while it fetches state.
const KEPT_WINDOWS: u64 = 4;

/// How many bytes of bodies it keeps of them at most.
const KEPT_BYTES: usize = 256 << 20;

impl Replica {
    /// A snapshot of this replica is durable. Its root is written before it is told to anybody.
    pub(crate) fn on_snapshot_taken(&mut self, sequence: Sequence, root: Digest, effects: &mut Effects) {
        let certified =
            self.stable.as_ref().map(|it| &it.get().statement).filter(|it| it.sequence == sequence);
        let known = self.snapshots.get(&sequence).copied().or(certified.map(|it| it.root));
        if let Some(certified) = known.filter(|known| *known != root) {
            return self.halt(Halt::Diverged { sequence, own: root, certified }, effects);
        }
        self.snapshots.insert(sequence, root);
        effects.report(Report::Checkpoint { sequence, root });
        let vote = self.sign(Checkpoint { sequence, root });
        let mut then = vec![Effect::Broadcast(PeerMessage::Checkpoint(vote.signed().clone()))];
        let mut awaited = Some(Awaited::Snapshot(sequence));
        if self.keeps_silent() {
            (then, awaited) = (vec![], None);
        }
        self.persist(vec![Record::Snapshot(sequence, root)], then, awaited, effects);
    }

    pub(crate) fn on_snapshot_durable(&mut self, sequence: Sequence, now: Now, effects: &mut Effects) {
        // Where a certificate was handed over meanwhile, nobody's vote is kept any more.
        let wanted = self.snapshots.get(&sequence).filter(|_| sequence > self.stable_sequence());
        if let Some(root) = wanted {
            let vote = self.sign(Checkpoint { sequence, root: *root });
            // The first of its own at this place: it cannot conflict.
            let _ = self.checkpoints.entry(sequence).or_default().insert(vote);
            self.try_stable(sequence, effects);
        }
        self.collect(now, effects);
    }

    /// A replica's vote for a state.
    pub(crate) fn on_checkpoint(
        &mut self,
        from: ReplicaId,
        vote: Verified<Checkpoint>,
        now: Now,
        effects: &mut Effects,
    ) {
        let sequence = vote.value().sequence;
        if sequence <= self.stable_sequence() {
            return self.compare_checkpoint(&vote, now, effects);
        }
        // Nobody takes a snapshot elsewhere.
        if !sequence.0.is_multiple_of(self.parameters().checkpoint_interval) {
            return self.reject(from, Rejection::Unasked, effects);
        }
        // Votes are kept for two windows; a replica that is further behind is handed the certificate (C4).
        if sequence > self.high().plus(self.parameters().window) {
            return self.reject(from, Rejection::BeyondWindow, effects);
        }
        if let Err(conflict) = self.checkpoints.entry(sequence).or_default().insert(vote) {
            self.accuse(*conflict, now, effects);
        }
        self.try_stable(sequence, effects);
    }

    /// A quorum of equal votes is a stable certificate.
    pub(crate) fn try_stable(&mut self, sequence: Sequence, effects: &mut Effects) {
        let quorum = self.configuration.quorum();
        if let Some(certificate) = self.checkpoints.get(&sequence).and_then(|votes| votes.quorum(quorum)) {
            self.on_stable(certificate, effects);
        }
    }

    /// A stable certificate, formed here or handed over: it is made durable before h moves (C1, fault 3).
    pub(crate) fn on_stable(&mut self, certificate: Proven<StableCertificate>, effects: &mut Effects) {
        let Checkpoint { sequence, root } = certificate.get().statement;
        if sequence <= self.stable_sequence() {
            return;
        }
        if !self.agrees_with(sequence, root, effects) || !self.stable_to_write(sequence) {
            return;
        }
        // Votes for what it covers stay until h moves, to compare others with them (section E).
        let record = Record::Stable(certificate.get().clone());
        self.persist(vec![record], vec![], [Awaited::Stable(certificate)], effects);
    }

    /// Whether a certified root is this replica's own, as far as it has one; if not, it stops (I1).
    pub(crate) fn agrees_with(
        &mut self,
        sequence: Sequence,
        certified: Digest,
        effects: &mut Effects,
    ) -> bool {
        match self.snapshots.get(&sequence) {
            Some(own) if *own != certified => {
                self.halt(Halt::Diverged { sequence, own: *own, certified }, effects);
                false
            }
            _ => true,
        }
    }

    /// Moves h to a certificate that is durable, and goes on with what the window now takes in.
    pub(crate) fn on_stable_durable(
        &mut self,
        certificate: Proven<StableCertificate>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Checkpoint { sequence, root } = certificate.get().statement;
        if sequence <= self.stable_sequence() {
            return;
        }
        // Votes that have come since it was handed over.
        self.compare_stable(certificate.get(), now, effects);
        self.stable = Some(certificate);
        self.watch_window(now);
        self.checkpoints = self.checkpoints.split_off(&sequence.next());
        effects.report(Report::Stable { sequence, root });
        self.collect(now, effects);
        self.revisit_slots(now, effects);
        if !mutant!("view-entry-not-retried") {
            self.try_new_view(now, effects);
        }
    }

    /// Goes on with every slot of the window as far as its state allows: the window, or the view, has moved.
    pub(crate) fn revisit_slots(&mut self, now: Now, effects: &mut Effects) {
        let (low, high) = (self.stable_sequence(), self.high());
        let sequences: Vec<_> = self
            .log
            .above(low)
            .map(|(sequence, _)| sequence)
            .take_while(|sequence| *sequence <= high)
            .collect();
        for sequence in sequences {
            self.try_accept(sequence, now, effects);
            self.try_prepare(sequence, effects);
            self.try_prepared(sequence, now, effects);
        }
    }

    /// Forgets what a stable checkpoint covers, once this replica holds a durable snapshot there or above (D5). A
    /// snapshot is of what was executed, so nothing that is yet to be executed is forgotten.
    pub(crate) fn collect(&mut self, now: Now, effects: &mut Effects) {
        self.collect_unreachable();
        let stable = self.stable_sequence();
        let held = self.snapshots.range(..=stable).next_back().map(|(sequence, _)| *sequence);
        let held = if mutant!("log-goes-before-snapshot") { Some(stable) } else { held };
        let Some(through) = held else { return };
        if through <= self.collected {
            return;
        }
        self.collected = through;
        self.log.collect(through);
        self.wanted.retain(|(_, sequence)| *sequence > through);
        let keep = self.snapshots_in_use(through, now);
        self.snapshots.retain(|sequence, _| *sequence >= through || keep.contains(sequence));
        effects.push(Effect::Collect { through, keep });
    }

    /// Forgets, in memory, what a replica far behind will not execute from its log: it fetches state instead. So its
    /// log stays bounded while the others go on (R1); in number also where all is executed and only snapshots lag.
    fn collect_unreachable(&mut self) {
        let kept = KEPT_WINDOWS * self.parameters().window;
        let stable = self.stable_sequence();
        let mut floor = Sequence(stable.0.saturating_sub(kept));
        let unreachable = floor.max(self.log.overflows_at(stable, KEPT_BYTES).unwrap_or_default());
        if self.last_executed < unreachable {
            self.unreachable = unreachable;
            floor = unreachable;
        }
        self.log.collect(floor);
        self.wanted.retain(|(_, sequence)| *sequence > floor);
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Message, Parameters};

    use super::*;
    use crate::Input;
    use crate::testing::{Bench, digest};

    /// D5: a certificate alone lets nothing go; the snapshot does.
    #[test]
    fn the_log_stays_until_the_snapshot_is_durable() {
        let mut bench = Bench::new(Parameters::default());
        let collected = |bench: &Bench| bench.effects.iter().any(|it| matches!(it, Effect::Collect { .. }));
        let certificate = Proven::new(bench.stable(128), &bench.configuration).expect("it is good");
        bench.message(ReplicaId(1), Message::Stable(certificate));
        assert_eq!((bench.replica.stable_sequence(), collected(&bench)), (Sequence(128), false));
        bench.input(Input::SnapshotTaken { sequence: Sequence(128), root: digest(1) });
        assert!(collected(&bench));
    }
}
