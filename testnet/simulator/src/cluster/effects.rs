//! Carries out what the replicas' cores want done.

use std::time::Duration;

use pbft_messages::{Checkpoint, Commit, ReplicaMessage};
use pbft_protocol::{Effect, Effects, Input, Instant, Report, Timer};

use super::{Cluster, Local, power};
use crate::InstanceId;
use crate::disk::Pending;
use crate::violation::Invariant;

/// How long an execution, a snapshot or an installation takes.
const SERVICE_LATENCY: Duration = Duration::from_micros(100);

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
                let disk = &mut self.instances[me.0].disk;
                disk.issue(Pending::Persist { id, records, then });
                disk.busy_until = disk.busy_until.max(self.now + self.write_latency);
                let delay = disk.busy_until - self.now;
                self.plan_local(me, delay, Local::Synced(id));
            }
            Effect::Note(records) => self.instances[me.0].disk.issue(Pending::Note(records)),
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
                    self.plan_local(me, SERVICE_LATENCY, Local::Done(Box::new(done)));
                }
            }
            Effect::Snapshot { sequence, ledger } => {
                let instance = &mut self.instances[me.0];
                if let Some(running) = &mut instance.running {
                    let root = instance.disk.archive.keep(sequence, running.state(ledger));
                    let done = Input::SnapshotTaken { sequence, root };
                    self.plan_local(me, SERVICE_LATENCY, Local::Done(Box::new(done)));
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
                self.plan_local(me, SERVICE_LATENCY, Local::Done(Box::new(done)));
            }
            Effect::KeepChunk(chunk) => self.plan_local(me, self.write_latency, Local::Kept(chunk)),
            Effect::Install(certificate) => {
                let Checkpoint { sequence, root } = certificate.get().statement;
                let instance = &mut self.instances[me.0];
                if let Some(running) = &mut instance.running {
                    instance.disk.archive.finish();
                    let chunks = instance.disk.archive.load(sequence, root).expect("all of it was fetched");
                    let done = running.install(sequence, chunks);
                    self.plan_local(me, SERVICE_LATENCY, Local::Done(Box::new(done)));
                }
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
                Report::Executed { sequence, digest, .. } => self.checker.batch(me, *sequence, *digest),
                Report::ViewEntered { view, .. } => {
                    self.checker.entered(*view);
                    self.asks(me, false);
                }
                Report::ViewChange { .. } => self.asks(me, true),
                Report::Checkpoint { sequence, root } => self.checker.root(me, *sequence, *root),
                Report::Evidence(it) => {
                    self.witness.convicts(me, it);
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
