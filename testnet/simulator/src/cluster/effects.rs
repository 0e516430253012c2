//! Carries out what the replicas' cores want done.

use std::time::Duration;

use pbft_messages::{Checkpoint, ReplicaId, ReplicaMessage};
use pbft_protocol::{Effect, Effects, Input, Instant, Report, Timer};

use super::{Cluster, Local, power};
use crate::archive::Archive;
use crate::disk::Pending;

/// How long an execution, a snapshot or an installation takes.
const SERVICE_LATENCY: Duration = Duration::from_micros(100);

impl Cluster {
    pub(super) fn carry_out(&mut self, replica: ReplicaId, effects: Effects) {
        for effect in effects {
            // Its power may have gone within the list.
            if self.instances[replica.index()].running.is_none() {
                return;
            }
            let is_step = power::is_step(&effect);
            self.carry_out_one(replica, effect);
            if is_step {
                self.step(replica);
            }
        }
    }

    fn carry_out_one(&mut self, me: ReplicaId, effect: Effect) {
        match effect {
            Effect::Send { to, message } => self.send(me, &[to], &message),
            Effect::Broadcast(message) => {
                let others: Vec<_> = self.configuration.replicas().filter(|replica| *replica != me).collect();
                self.send(me, &others, &message);
            }
            Effect::Persist { id, records, then } => {
                self.instances[me.index()].disk.issue(Pending::Persist { id, records, then });
                self.plan_local(me, self.write_latency, Local::Synced(id));
            }
            Effect::Note(records) => self.instances[me.index()].disk.issue(Pending::Note(records)),
            Effect::Collect { through, keep } => {
                self.instances[me.index()].disk.issue(Pending::Collect(through, keep));
            }
            Effect::SetTimer { timer, at } => self.set_timer(me, timer, at),
            Effect::Execute(execution) => {
                let malicious = self.instances[me.index()].malicious;
                if let Some(time) = execution.time.filter(|_| !malicious) {
                    self.checker.time(me, execution.sequence, self.now, time);
                }
                for it in execution.operations.iter().filter(|_| !malicious) {
                    self.checker.operation(me, it.client, &it.operation, execution.sequence);
                }
                if let Some(running) = &mut self.instances[me.index()].running {
                    let done = running.execute(&execution);
                    self.plan_local(me, SERVICE_LATENCY, Local::Done(Box::new(done)));
                }
            }
            Effect::Snapshot { sequence, ledger } => {
                let instance = &mut self.instances[me.index()];
                if let Some(running) = &mut instance.running {
                    let root = instance.disk.archive.keep(sequence, running.chunks(ledger));
                    let done = Input::SnapshotTaken { sequence, root };
                    self.plan_local(me, SERVICE_LATENCY, Local::Done(Box::new(done)));
                }
            }
            Effect::Audit { sequence, ledger, .. } => {
                if let Some(running) = &mut self.instances[me.index()].running {
                    let root = Archive::default().keep(sequence, running.chunks(ledger));
                    running.audits.push_back((sequence, root));
                }
            }
            Effect::ServePart { to, id } => {
                let message = self.instances[me.index()].disk.archive.answer(id);
                self.send(me, &[to], &message);
            }
            Effect::Gather { sequence, leaves } => {
                let missing = self.instances[me.index()].disk.archive.gather(sequence, leaves);
                let done = Input::Gathering { sequence, missing };
                self.plan_local(me, SERVICE_LATENCY, Local::Done(Box::new(done)));
            }
            Effect::KeepChunk(chunk) => self.plan_local(me, self.write_latency, Local::Kept(chunk)),
            Effect::Install(certificate) => {
                let Checkpoint { sequence, root } = certificate.get().statement;
                let instance = &mut self.instances[me.index()];
                if let Some(running) = &mut instance.running {
                    instance.disk.archive.finish();
                    let chunks = instance.disk.archive.load(sequence, root).expect("all of it was fetched");
                    let done = running.install(sequence, chunks);
                    self.plan_local(me, SERVICE_LATENCY, Local::Done(Box::new(done)));
                }
            }
            Effect::Query(query) => {
                let (now, instance) = (self.clocks(me), &mut self.instances[me.index()]);
                if let Some(running) = &instance.running {
                    let result = running.service.reader().query(&query.read.operation);
                    let effects = instance.outgoing(now, vec![query.answered(result)].into());
                    self.carry_out(me, effects);
                }
            }
            Effect::AnswerRead { client, answer, .. } => {
                self.answer(me, client, &ReplicaMessage::Read(answer));
            }
            Effect::Reply { client, replies, .. } => {
                for reply in replies {
                    self.answer(me, client, &ReplicaMessage::Replies(vec![reply]));
                }
            }
            Effect::Busy { .. } => {}
            Effect::Report(report) => self.on_report(me, report),
            Effect::Halt(halt) => {
                if !self.instances[me.index()].malicious {
                    self.checker.violated(format!("{me} stops: {halt}"));
                }
                self.instances[me.index()].running = None;
            }
        }
    }

    fn set_timer(&mut self, me: ReplicaId, timer: Timer, at: Option<Instant>) {
        let now = Instant::after_start(self.now);
        let Some(running) = &mut self.instances[me.index()].running else { return };
        match at {
            Some(at) => {
                running.timers.insert(timer, at);
                self.plan_local(me, at.since(now), Local::Timer(timer, at));
            }
            None => {
                running.timers.remove(&timer);
            }
        }
    }

    fn on_report(&mut self, me: ReplicaId, report: Report) {
        if !self.instances[me.index()].malicious {
            match &report {
                Report::Executed { sequence, digest, .. } => self.checker.batch(me, *sequence, *digest),
                Report::Checkpoint { sequence, root } => self.checker.root(me, *sequence, *root),
                Report::Evidence(it) if !self.instances[it.accused.index()].malicious => {
                    self.checker.violated(format!("I9: {me} accuses {}, which is correct", it.accused));
                }
                _ => {}
            }
        }
        self.transcript.report(self.now, me, &report);
        self.reports.push((self.now, me, report));
    }
}
