//! Carries out what the replicas' cores want done.

use pbft_messages::{Checkpoint, Commit, ReplicaMessage};
use pbft_protocol::{Effect, Effects, Input, Instant, Report, Timer};

use super::{Cluster, Local, power};
use crate::InstanceId;
use crate::disk::Pending;
use crate::violation::Invariant;

impl Cluster {
    pub(super) fn carry_out(&mut self, replica: InstanceId, effects: Effects) {
        for effect in effects {
            // Its power may have gone within the list.
            if self.instances[replica.0].running.is_none() {
                return;
            }
            let is_step = power::is_step(&effect);
            self.carry_out_one(replica, effect);
            if is_step {
                self.step(replica);
            }
        }
    }

    fn carry_out_one(&mut self, me: InstanceId, effect: Effect) {
        match effect {
            Effect::Send { to, message } => self.send(me, &[to], &message),
            Effect::Broadcast(message) => {
                let everybody: Vec<_> = self.configuration.replicas().collect();
                self.send(me, &everybody, &message);
            }
            Effect::Persist { id, records, then } => {
                self.watch_records(me, &records);
                let disk = &mut self.instances[me.0].disk;
                disk.issue(Pending::Persist { id, records, then });
                disk.busy_until = disk.busy_until.max(self.now + self.write_latency);
                let delay = disk.busy_until - self.now;
                self.plan_local(me, delay, Local::Synced(id));
            }
            Effect::Note(records) => {
                self.watch_records(me, &records);
                self.instances[me.0].disk.issue(Pending::Note(records));
            }
            Effect::Collect { through, keep } => {
                self.instances[me.0].disk.issue(Pending::Collect(through, keep));
            }
            Effect::SetTimer { timer, at } => self.set_timer(me, timer, at),
            Effect::Execute(execution) => {
                let instance = &mut self.instances[me.0];
                if let Some(running) = &mut instance.running {
                    if !instance.malicious {
                        self.checker.executes(me, running.through, &execution);
                    }
                    let done = running.execute(&execution);
                    self.plan_local(me, self.service_latency, Local::Done(Box::new(done)));
                }
            }
            Effect::Snapshot { sequence, ledger } => {
                if let Some(running) = &mut self.instances[me.0].running {
                    let state = running.state(ledger);
                    running.snapshots.push_back((sequence, state));
                    running.snapshots_until = running.snapshots_until.max(self.now + self.service_latency);
                    let delay = running.snapshots_until - self.now;
                    self.plan_local(me, delay, Local::Snapshot);
                }
            }
            Effect::Audit { sequence, ledger, .. } => {
                if let Some(running) = &mut self.instances[me.0].running {
                    let root = running.state(ledger).root();
                    running.audits.push_back((sequence, root));
                }
            }
            Effect::ServePart { to, id } => {
                let message = self.instances[me.0].disk.archive.answer(id);
                self.send(me, &[to], &message);
            }
            Effect::Gather { sequence, leaves } => {
                let missing = self.instances[me.0].disk.archive.gather(sequence, leaves);
                let done = Input::Gathering { sequence, missing };
                self.plan_local(me, self.service_latency, Local::Done(Box::new(done)));
            }
            Effect::KeepChunk(chunk) => self.plan_local(me, self.write_latency, Local::Kept(chunk)),
            Effect::Install(certificate) => {
                let state = certificate.get().statement.clone();
                self.plan_local(me, self.service_latency, Local::Install(state));
            }
            Effect::Query(query) => {
                let (now, instance) = (self.clocks(me), &mut self.instances[me.0]);
                if let Some(running) = &instance.running {
                    let result = running.service.reader().query(&query.read.operation);
                    let effects = instance.outgoing(now, vec![query.answered(result)].into());
                    self.carry_out(me, effects);
                }
            }
            Effect::AnswerRead { client, session, answer } => {
                self.answer(me, (client, session), &ReplicaMessage::Read(answer));
            }
            Effect::Reply { client, session, replies } => {
                // It tells its view as soon as it is in it; the report waits until that is durable (D3).
                let instance = &self.instances[me.0];
                if let Some(running) = instance.running.as_ref().filter(|_| !instance.malicious) {
                    self.checker.entered(running.core.standing().view);
                }
                self.answer(me, (client, session), &ReplicaMessage::Replies(replies));
            }
            Effect::Busy { client, session, first } => {
                self.answer(me, (client, session), &ReplicaMessage::Busy { session, first });
            }
            Effect::Report(report) => self.on_report(me, report),
            Effect::Halt(halt) => {
                if !self.instances[me.0].malicious {
                    self.checker.violated(Invariant::Halt, format!("{me} stops: {halt}"));
                }
                self.instances[me.0].stop();
            }
        }
    }

    /// The oldest snapshot in the making is on the disk.
    pub(super) fn on_snapshot(&mut self, me: InstanceId) {
        let instance = &mut self.instances[me.0];
        let oldest = instance.running.as_mut().and_then(|running| running.snapshots.pop_front());
        let Some((sequence, state)) = oldest else { return };
        let root = instance.disk.archive.keep(sequence, state);
        self.step(me);
        self.input(me, Input::SnapshotTaken { sequence, root });
    }

    /// A fetched state is a snapshot on the disk, and the service restores from it.
    pub(super) fn on_install(&mut self, me: InstanceId, Checkpoint { sequence, root }: Checkpoint) {
        let instance = &mut self.instances[me.0];
        let Some(running) = &mut instance.running else { return };
        instance.disk.archive.finish();
        let chunks = instance.disk.archive.load(sequence, root).expect("all of it was fetched");
        let done = running.install(sequence, chunks);
        self.step(me);
        self.input(me, done);
    }

    fn set_timer(&mut self, me: InstanceId, timer: Timer, at: Option<Instant>) {
        let now = self.clocks(me).instant;
        let pace = self.instances[me.0].pace;
        let Some(running) = &mut self.instances[me.0].running else { return };
        match at {
            Some(at) => {
                running.timers.insert(timer, at);
                self.plan_local(me, pace.takes(at.since(now)), Local::Timer(timer, at));
            }
            None => {
                running.timers.remove(&timer);
            }
        }
    }

    fn on_report(&mut self, me: InstanceId, report: Report) {
        if !self.instances[me.0].malicious {
            match &report {
                Report::Committed { view, sequence, digest } => {
                    self.watch_commit(me, Commit { view: *view, sequence: *sequence, digest: *digest });
                }
                Report::Executed { sequence, digest, .. } => self.watch_execution(me, *sequence, *digest),
                Report::ViewEntered { view, .. } => {
                    self.checker.entered(*view);
                    self.asks(me, None);
                    self.watch_entry(me, *view);
                }
                Report::ViewChange { reason, .. } => self.asks(me, Some(*reason)),
                Report::Checkpoint { sequence, root } => self.checker.root(me, *sequence, *root),
                Report::Evidence(it) => {
                    self.witness.convicts(me, it);
                    if !self.instances[me.0].disk.proofs().any(|proof| proof == *it) {
                        let text = format!("{me} accuses {} and does not write the proof down", it.accused);
                        self.checker.violated(Invariant::I9, text);
                    }
                    if !self.instances[it.accused.index()].malicious {
                        self.witness.accuses_falsely();
                        let text = format!("{me} accuses {}, which is correct", it.accused);
                        self.checker.violated(Invariant::I9, text);
                    }
                }
                _ => {}
            }
        }
        if let Some(transcript) = &mut self.transcript {
            transcript.report(self.now, me, &report);
        }
        self.reports.push((self.now, me, report));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pbft_crypto::{Digest, Domain, Verified};
    use pbft_messages::{Conflict, Evidence, Part, PartId, PeerMessage, ReplicaId, Sequence};
    use pbft_protocol::Record;

    use super::*;
    use crate::{Cluster, Settings};

    const MS: Duration = Duration::from_millis(1);
    const R1: InstanceId = InstanceId(1);

    /// A cluster in which r1 is making its first snapshot.
    fn making() -> Cluster {
        let mut settings = Settings { service_latency: MS * 50, ..Settings::new(4, 1) };
        (settings.parameters.checkpoint_interval, settings.parameters.window) = (1, 2);
        let mut cluster = Cluster::new(settings);
        cluster.load(1, 1);
        let is_making = |cluster: &Cluster| {
            cluster.instances[1].running.as_ref().is_some_and(|running| !running.snapshots.is_empty())
        };
        assert!(cluster.run_until(MS * 500, is_making));
        cluster
    }

    fn holds_one(cluster: &Cluster) -> bool {
        let id = PartId { sequence: Sequence(1), part: Part::Leaves(0) };
        !matches!(cluster.instances[1].disk.archive.answer(id), PeerMessage::NoSnapshot(_))
    }

    /// I9: proof that is told to everybody and not kept is gone with the next restart.
    #[test]
    fn who_accuses_has_written_the_proof_down() {
        let mut cluster = Cluster::new(Settings::new(4, 1));
        let identity = cluster.identity(ReplicaId(3));
        cluster.count_as_malicious(InstanceId(3));
        let [first, second] = [b"a", b"b"].map(|name| {
            let value = Checkpoint { sequence: Sequence(8), root: Digest::of(Domain::MerkleRoot, name) };
            Verified::sign(value, identity.replica, &*identity.signer, identity.configuration.scope())
        });
        let evidence: Evidence = Conflict::between(&first, &second).unwrap().into();
        let accusation = evidence.accusation().unwrap();
        let report = || Effect::Report(Report::Evidence(accusation));
        let note = Effect::Note(vec![Record::Evidence(evidence)]);
        cluster.carry_out(R1, vec![note, report()].into());
        assert_eq!(cluster.violations(), []);
        cluster.crash(R1);
        cluster.start(R1);
        cluster.carry_out(R1, vec![report()].into());
        let told: Vec<_> = cluster.violations().iter().map(|it| it.text.as_str()).collect();
        assert_eq!(told, ["r1 accuses r3 and does not write the proof down"]);
    }

    #[test]
    fn a_snapshot_is_there_when_it_is_said_to_be() {
        let mut cluster = making();
        cluster.run_for(MS * 40);
        assert!(!holds_one(&cluster));
        cluster.run_for(MS * 20);
        assert!(holds_one(&cluster));

        let mut killed = making();
        killed.crash(R1);
        killed.start(R1);
        killed.run_for(MS * 20);
        assert!(!holds_one(&killed), "it was in memory");

        let mut failing = making();
        failing.fail_sync(R1);
        failing.run_for(MS * 60);
        assert!(!holds_one(&failing) && failing.standing(R1).is_none(), "it halts");
    }
}
