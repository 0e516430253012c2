//! The cluster: virtual time, and everything that happens in it, one event after the other.

mod effects;
mod power;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pbft_byzantine::Strategy;
use pbft_crypto::{Digest, Signed};
use pbft_messages::{
    Chunk, ClientId, ClientMessage, Configuration, Outcome, PeerMessage, RecoveryNonce, ReplicaId,
    ReplicaMessage, Reply, Sequence, Submission, Timestamp, codec,
};
use pbft_protocol::{AuditId, Input, Instant, Now, Report, Standing, Timer, WriteId};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::checker::{Checker, Violation};
use crate::client::{Client, RETRY, SESSION};
use crate::clock::WallClock;
use crate::instance::Instance;
use crate::network::{Faults, Network};
use crate::reads::Reads;
use crate::settings::{Settings, replica_key};
use crate::transcript::Transcript;

pub use power::PowerCut;

/// A simulated cluster.
pub struct Cluster {
    configuration: Arc<Configuration>,
    now: Duration,
    /// What will happen, by time and then by the order in which it was planned.
    events: BTreeMap<(Duration, u64), Event>,
    planned: u64,
    random: ChaCha8Rng,
    network: Network,
    write_latency: Duration,
    instances: Vec<Instance>,
    clients: Vec<Client>,
    reads: Reads,
    checker: Checker,
    reports: Vec<(Duration, ReplicaId, Report)>,
    transcript: Transcript,
    filter: Option<Filter>,
    power_cut: Option<PowerCut>,
}

/// See [`Cluster::set_filter`].
type Filter = Box<dyn FnMut(ReplicaId, ReplicaId, &PeerMessage) -> bool>;

enum Event {
    /// A message arrives, as bytes.
    Arrival { from: ReplicaId, to: ReplicaId, frame: Vec<u8> },
    /// A client begins to read, and so many times more after each interval.
    Reader { client: usize, more: u64, interval: Duration },
    /// A client's read arrives.
    Read { to: ReplicaId, client: usize, frame: Vec<u8> },
    /// A client's submission arrives.
    Submission { to: ReplicaId, frame: Vec<u8> },
    /// An answer arrives at a client.
    Answer { from: ReplicaId, to: usize, frame: Vec<u8> },
    /// Something that belongs to one run of a replica.
    Local { at: ReplicaId, run: u64, what: Local },
    /// The power is back at a replica that lost it in a run.
    PowerReturns { at: ReplicaId, run: u64 },
    /// A client looks after its unanswered requests.
    Retry { client: usize },
}

enum Local {
    Timer(Timer, Instant),
    Synced(WriteId),
    Kept(Chunk),
    Done(Box<Input>),
}

impl Cluster {
    /// A cluster whose replicas have all started.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let configuration = settings.configuration();
        let weak_quorum = configuration.weak_quorum().get();
        let clients = (0..settings.clients)
            .map(|index| Client::new(index, configuration.scope().clone(), weak_quorum))
            .collect();
        let mut cluster = Self {
            now: Duration::ZERO,
            events: BTreeMap::new(),
            planned: 0,
            random: ChaCha8Rng::seed_from_u64(settings.seed),
            network: Network::new(settings.faults),
            write_latency: settings.write_latency,
            instances: configuration
                .replicas()
                .map(|replica| Instance::new(replica, settings.service))
                .collect(),
            clients,
            reads: Reads::default(),
            checker: Checker::default(),
            reports: Vec::new(),
            transcript: Transcript::default(),
            filter: None,
            power_cut: None,
            configuration,
        };
        for replica in cluster.configuration.replicas() {
            cluster.start(replica);
        }
        cluster
    }

    /// Starts a replica that is down, from its disk.
    pub fn start(&mut self, replica: ReplicaId) {
        let now = self.clocks(replica);
        self.transcript.line(self.now, &format!("{replica} starts"));
        let effects = self.instances[replica.index()].start(&self.configuration, now);
        self.carry_out(replica, effects);
    }

    /// Kills a replica: its memory is gone, and what its disk had not synced.
    pub fn crash(&mut self, replica: ReplicaId) {
        self.transcript.line(self.now, &format!("{replica} crashes"));
        let instance = &mut self.instances[replica.index()];
        instance.running = None;
        instance.disk.crash();
    }

    /// Kills a replica and takes its disk away. Started again, it recovers (D8).
    pub fn wipe(&mut self, replica: ReplicaId) {
        self.transcript.line(self.now, &format!("{replica} loses its disk"));
        let nonce = RecoveryNonce(self.random.random());
        self.instances[replica.index()].wipe(nonce);
    }

    /// Stops a replica in good order.
    pub fn shut_down(&mut self, replica: ReplicaId) {
        self.input(replica, Input::Shutdown);
        self.run_for(self.write_latency * 4);
        self.transcript.line(self.now, &format!("{replica} stops in good order"));
        self.instances[replica.index()].running = None;
    }

    /// Makes a replica malicious.
    pub fn corrupt(&mut self, replica: ReplicaId, strategy: Box<dyn Strategy>) {
        self.transcript.line(self.now, &format!("{replica} turns malicious: {}", strategy.name()));
        let instance = &mut self.instances[replica.index()];
        instance.malicious = true;
        instance.strategy = Some(strategy);
    }

    /// What a strategy needs to know of a replica: its keys among it.
    #[must_use]
    pub fn identity(&self, replica: ReplicaId) -> pbft_byzantine::Identity {
        pbft_byzantine::Identity {
            replica,
            signer: Arc::new(replica_key(replica)),
            configuration: Arc::clone(&self.configuration),
        }
    }

    /// Cuts every link between two groups of replicas.
    pub fn partition(&mut self, left: &[ReplicaId], right: &[ReplicaId]) {
        for from in left {
            for to in right {
                self.network.cut(*from, *to);
                self.network.cut(*to, *from);
            }
        }
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// Looks at every message between replicas as it is sent; those for which it gives `false` are lost.
    pub fn set_filter(&mut self, filter: impl FnMut(ReplicaId, ReplicaId, &PeerMessage) -> bool + 'static) {
        self.filter = Some(Box::new(filter));
    }

    /// Loses no more messages by the filter.
    pub fn clear_filter(&mut self) {
        self.filter = None;
    }

    /// Lets a message arrive in the name of a replica, as a malicious one would send it.
    pub fn inject(&mut self, from: ReplicaId, to: ReplicaId, message: &PeerMessage) {
        self.plan(Duration::ZERO, Event::Arrival { from, to, frame: message.encode().to_vec() });
    }

    /// What a right wall clock shows.
    #[must_use]
    pub fn wall_clock(&self) -> Timestamp {
        WallClock::default().at(self.now)
    }

    /// Sets a replica's wall clock, from now on; it survives crashes.
    pub fn set_wall_clock(&mut self, replica: ReplicaId, clock: WallClock) {
        self.instances[replica.index()].clock = WallClock { since: self.now, ..clock };
    }

    /// What the correct replicas' services were told the time is: for each timed batch when it was first executed
    /// anywhere, by a right clock, and its agreed time.
    pub fn agreed_times(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        let times = self.checker.times();
        times.map(|(executed, agreed)| (WallClock::default().at(executed), agreed))
    }

    /// Changes how long a durable write takes, at every replica.
    pub fn set_write_latency(&mut self, latency: Duration) {
        self.write_latency = latency;
    }

    /// Changes the network's faults.
    pub fn set_faults(&mut self, faults: Faults) {
        self.network.faults = faults;
    }

    /// Lets every client issue so many requests more, `depth` at a time.
    pub fn load(&mut self, requests: u64, depth: usize) {
        for client in 0..self.clients.len() {
            self.load_from(client, requests, depth);
        }
    }

    /// Lets one client issue so many requests more, `depth` at a time.
    pub fn load_from(&mut self, client: usize, requests: u64, depth: usize) {
        self.clients[client].issue(requests, depth);
        self.pump(client);
        self.plan(RETRY, Event::Retry { client });
    }

    /// Lets a client begin an unordered read after each interval, so many times: of how many requests are done.
    pub fn read(&mut self, client: usize, times: u64, interval: Duration) {
        if let Some(more) = times.checked_sub(1) {
            self.plan(interval, Event::Reader { client, more, interval });
        }
    }

    /// How many unordered reads a quorum has answered, and how many not.
    #[must_use]
    pub fn reads(&self) -> (usize, usize) {
        (self.reads.answered, self.reads.open())
    }

    /// Lets a client send a submission of its own making to some replicas, as a malicious client would.
    pub fn submit(&mut self, client: usize, submission: Submission, to: &[ReplicaId]) {
        let id = self.clients[client].id();
        for request in submission.requests() {
            self.checker.issued(id, request.operation.clone());
        }
        let signed = self.clients[client].sign(submission);
        self.send_submission(&signed, to);
    }

    /// Runs for some virtual time.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    /// Runs until something holds; `false` if it does not within `limit`.
    pub fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !holds(self) {
            match self.events.first_entry().filter(|entry| entry.key().0 <= end) {
                Some(entry) => {
                    let ((at, _), event) = entry.remove_entry();
                    self.now = at;
                    self.happen(event);
                }
                None => return false,
            }
        }
        true
    }

    /// Runs until every client has all its answers and every running correct replica has executed everything.
    pub fn settle(&mut self, limit: Duration) -> bool {
        self.run_until(limit, |cluster| {
            let highest = cluster.checker.highest();
            let standings = cluster.correct().filter_map(|replica| cluster.standing(replica));
            cluster.is_answered()
                && standings.map(|standing| standing.last_executed).all(|executed| executed == highest)
        })
    }

    /// The replicas that never had a strategy.
    pub fn correct(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.instances.iter().filter(|instance| !instance.malicious).map(|instance| instance.id)
    }

    /// Where a replica stands; `None` if it is down.
    #[must_use]
    pub fn standing(&self, replica: ReplicaId) -> Option<Standing> {
        self.instances[replica.index()].running.as_ref().map(|running| running.core.standing())
    }

    /// What the replicas reported, with the time.
    #[must_use]
    pub fn reports(&self) -> &[(Duration, ReplicaId, Report)] {
        &self.reports
    }

    /// The guarantees that were broken.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.checker.violations()
    }

    /// How many requests the clients have answers to.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.clients.iter().map(|client| client.answered.len()).sum()
    }

    /// Whether every client has all its answers.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.clients.iter().all(Client::is_done)
    }

    /// How many requests one client has answers to.
    #[must_use]
    pub fn answered_to(&self, client: usize) -> usize {
        self.clients[client].answered.len()
    }

    /// The state roots of the running correct replicas, each with the sequence it is of.
    #[must_use]
    pub fn state_roots(&mut self) -> Vec<(Sequence, Digest)> {
        let correct: Vec<_> = self.correct().collect();
        for replica in &correct {
            self.input(*replica, Input::Audit(AuditId(0)));
        }
        let audits = |instance: &mut Instance| instance.running.as_mut().and_then(|it| it.audits.pop_back());
        correct.iter().filter_map(|replica| audits(&mut self.instances[replica.index()])).collect()
    }

    /// The story so far, a line each event; statuses and forwarded requests are left out.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.transcript.text()
    }

    /// Begins the transcript anew.
    pub fn clear_transcript(&mut self) {
        self.transcript = Transcript::default();
    }

    /// The virtual time.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now
    }

    fn clocks(&self, replica: ReplicaId) -> Now {
        let wall = self.instances[replica.index()].clock.at(self.now);
        Now { instant: Instant::after_start(self.now), wall }
    }

    fn plan(&mut self, delay: Duration, event: Event) {
        self.planned += 1;
        self.events.insert((self.now + delay, self.planned), event);
    }

    fn plan_local(&mut self, at: ReplicaId, delay: Duration, what: Local) {
        let run = self.instances[at.index()].run;
        self.plan(delay, Event::Local { at, run, what });
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival { from, to, frame } => {
                let message = PeerMessage::decode(&frame).expect("simulated replicas encode well");
                // A malicious replica's message may be refused here, as the real node's workers would.
                if let Ok(message) = message.verify(&self.configuration) {
                    self.input(to, Input::Message { from, message });
                }
            }
            Event::Reader { client, more, interval } => {
                let frame = codec::encode(&ClientMessage::Read(self.reads.begin(self.checker.known())));
                for to in self.configuration.replicas().collect::<Vec<_>>() {
                    for delay in self.network.arrivals(&mut self.random) {
                        self.plan(delay, Event::Read { to, client, frame: frame.clone() });
                    }
                }
                self.read(client, more, interval);
            }
            Event::Read { to, client, frame } => {
                let Ok(ClientMessage::Read(read)) = codec::decode(&frame) else { return };
                self.input(to, Input::Read { client: self.clients[client].id(), session: SESSION, read });
            }
            Event::Submission { to, frame } => {
                let Ok(ClientMessage::Submit(signed)) = codec::decode(&frame) else { return };
                if let Ok(submission) = signed.verify(&self.configuration) {
                    self.input(to, Input::Submission(submission));
                }
            }
            Event::Answer { from, to, frame } => match codec::decode(&frame) {
                Ok(ReplicaMessage::Replies(replies)) => {
                    replies.into_iter().for_each(|reply| self.on_reply(from, to, reply));
                }
                Ok(ReplicaMessage::Read(answer)) => {
                    let read = self.reads.on_answer(from, answer, self.configuration.quorum());
                    if let Some((known, count)) = read {
                        self.checker.read(known, count);
                    }
                }
                _ => {}
            },
            Event::Local { at, run, what } => {
                if self.instances[at.index()].run == run && self.instances[at.index()].running.is_some() {
                    self.local(at, what);
                }
            }
            Event::PowerReturns { at, run } => self.on_power_returned(at, run),
            Event::Retry { client } => {
                let everybody: Vec<_> = self.configuration.replicas().collect();
                for signed in self.clients[client].unanswered() {
                    self.send_submission(&signed, &everybody);
                }
                if !self.clients[client].is_done() {
                    self.plan(RETRY, Event::Retry { client });
                }
            }
        }
    }

    fn local(&mut self, at: ReplicaId, what: Local) {
        match what {
            Local::Timer(timer, set_for) => {
                let timers = self.instances[at.index()].running.as_mut().map(|running| &mut running.timers);
                if timers.is_some_and(|timers| timers.get(&timer) == Some(&set_for)) {
                    self.input(at, Input::Timer(timer));
                }
            }
            Local::Synced(id) => {
                if let Some(then) = self.instances[at.index()].disk.sync(id) {
                    self.step(at);
                    self.carry_out(at, then.into());
                    self.step(at);
                    self.input(at, Input::Durable(id));
                }
            }
            Local::Kept(Chunk { sequence, index, content }) => {
                self.instances[at.index()].disk.archive.keep_chunk(content);
                self.step(at);
                self.input(at, Input::ChunkKept { sequence, index });
            }
            Local::Done(input) => self.input(at, *input),
        }
    }

    fn input(&mut self, replica: ReplicaId, input: Input) {
        let now = self.clocks(replica);
        let effects = self.instances[replica.index()].handle(now, input);
        self.carry_out(replica, effects);
    }

    fn send(&mut self, from: ReplicaId, to: &[ReplicaId], message: &PeerMessage) {
        self.transcript.message(self.now, from, to, message);
        let frame = message.encode().to_vec();
        for to in to.iter().filter(|to| **to != from) {
            if self.network.is_cut(from, *to) {
                continue;
            }
            if self.filter.as_mut().is_some_and(|filter| !filter(from, *to, message)) {
                continue;
            }
            for delay in self.network.arrivals(&mut self.random) {
                self.plan(delay, Event::Arrival { from, to: *to, frame: frame.clone() });
            }
        }
    }

    pub(super) fn answer(&mut self, from: ReplicaId, client: ClientId, message: &ReplicaMessage) {
        let Some(to) = self.clients.iter().position(|it| it.id() == client) else { return };
        let frame = codec::encode(message);
        for delay in self.network.arrivals(&mut self.random) {
            self.plan(delay, Event::Answer { from, to, frame: frame.clone() });
        }
    }

    fn on_reply(&mut self, from: ReplicaId, to: usize, reply: Reply) {
        let client = &mut self.clients[to];
        let id = client.id();
        if let Some((operation, sequence, outcome)) = client.on_reply(from, reply) {
            match outcome {
                Outcome::Executed(_) => self.checker.acknowledged(id, &operation, sequence),
                Outcome::Opened => {}
                Outcome::Refused(refusal) => {
                    self.checker.violated(format!("client {id} was refused: {refusal}"))
                }
            }
            self.pump(to);
        }
    }

    /// Lets a client send what it may.
    fn pump(&mut self, client: usize) {
        while let Some((signed, operation)) = self.clients[client].next_submission() {
            let id = self.clients[client].id();
            self.checker.issued(id, operation);
            let primary = self.configuration.primary(self.clients[client].view);
            self.send_submission(&signed, &[primary]);
        }
    }

    fn send_submission(&mut self, signed: &Signed<Submission>, to: &[ReplicaId]) {
        let frame = codec::encode(&ClientMessage::Submit(signed.clone()));
        for to in to {
            for delay in self.network.arrivals(&mut self.random) {
                self.plan(delay, Event::Submission { to: *to, frame: frame.clone() });
            }
        }
    }
}
