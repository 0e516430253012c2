//! The cluster: virtual time, and everything that happens in it, one event after the other.

mod clients;
mod commands;
mod damage;
mod effects;
mod pace;
mod power;
mod processor;
mod queries;
mod traffic;
mod watch;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pbft_byzantine::ClientStrategy;
use pbft_messages::{Checkpoint, Chunk, Configuration, ReplicaId};
use pbft_protocol::{Input, Instant, Now, Report, Timer, WriteId};
use pbft_service::kv::KeyValueStore;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::agenda::Agenda;
use crate::certificates::Certificates;
use crate::checker::Checker;
use crate::client::Client;
use crate::instance::Instance;
use crate::keys::Keys;
use crate::left::Left;
use crate::letter::Letter;
use crate::network::Network;
use crate::question::Question;
use crate::transcript::Transcript;
use crate::votes::Votes;
use crate::witness::{Own, Witness};
use crate::{InstanceId, Settings, Wire};

pub use power::PowerCut;

/// How many events may happen at one instant: more than any cluster has to do then.
const AT_ONCE: u32 = 200_000;

/// A simulated cluster.
pub struct Cluster {
    configuration: Arc<Configuration>,
    keys: Keys,
    now: Duration,
    /// How many events have happened at this instant.
    at_once: u32,
    agenda: Agenda<Event>,
    random: ChaCha8Rng,
    network: Network,
    /// See [`Faults::replay`](crate::Faults::replay).
    old_letters: Vec<(InstanceId, Rc<Letter>)>,
    write_latency: Duration,
    service_latency: Duration,
    instances: Vec<Instance>,
    clients: Vec<Client>,
    /// How many unordered reads were begun, and how many a quorum answered.
    reads_begun: usize,
    reads_answered: usize,
    attackers: Vec<Box<dyn ClientStrategy>>,
    /// The longest that a request may take, while nothing is in its way.
    answered_within: Option<Duration>,
    /// The longest that an instance may ask for one view, while nothing is lost.
    views_within: Option<Duration>,
    /// Whether nobody may ask for another view.
    keeps_view: bool,
    checker: Checker,
    certificates: Certificates,
    witness: Witness,
    own: Own,
    left: Left,
    votes: Votes,
    reports: Vec<(Duration, InstanceId, Report)>,
    /// `None` if nobody wants it.
    transcript: Option<Transcript>,
    wire: Option<Box<dyn Wire>>,
    power_cuts: Vec<PowerCut>,
    power_cuts_come: u64,
}

enum Event {
    /// A message arrives.
    Arrival { to: InstanceId, letter: Rc<Letter> },
    /// A client begins to read, and so many times more after each interval.
    Reader { client: usize, more: u64, interval: Duration },
    /// A client's message arrives.
    Request { to: InstanceId, question: Rc<Question> },
    /// An answer arrives at a client.
    Answer { from: ReplicaId, to: Receiver, frame: Rc<[u8]> },
    /// A client is woken.
    Waking { client: usize },
    /// A malicious client may act.
    Attack { attacker: usize },
    /// Something that belongs to one run of an instance.
    Local { at: InstanceId, run: u64, what: Local },
    /// The power is back at an instance that lost it in a run.
    PowerReturns { at: InstanceId, run: u64 },
}

/// Who gets an answer.
#[derive(Clone, Copy)]
enum Receiver {
    Client(usize),
    /// All malicious clients: whatever one knows, all do.
    Attackers,
}

enum Local {
    Timer(Timer, Instant),
    Synced(WriteId),
    Kept(Chunk),
    Snapshot,
    Install(Checkpoint),
    Done(Box<Input>),
}

impl Cluster {
    /// A cluster whose replicas have all started.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let keys = settings.keys();
        let configuration = settings.configuration(&keys).expect("whoever makes settings checks them");
        let client = |(index, key): (usize, &Arc<_>)| {
            Client::new(
                index,
                Arc::clone(key),
                Arc::clone(&configuration),
                settings.workload,
                settings.together,
            )
        };
        let instance = |replica: ReplicaId| {
            let service = settings.service.unwrap_or(|| Box::new(KeyValueStore::default()));
            Instance::new(replica, Arc::clone(&keys.replicas[replica.index()]), service)
        };
        let mut cluster = Self {
            now: Duration::ZERO,
            at_once: 0,
            agenda: Agenda::default(),
            random: ChaCha8Rng::seed_from_u64(settings.seed),
            network: Network::new(settings.faults.clone()),
            old_letters: Vec::new(),
            write_latency: settings.write_latency,
            service_latency: settings.service_latency,
            instances: configuration.replicas().chain(settings.twins.iter().copied()).map(instance).collect(),
            clients: keys.clients.iter().enumerate().map(client).collect(),
            reads_begun: 0,
            reads_answered: 0,
            attackers: Vec::new(),
            answered_within: None,
            views_within: None,
            keeps_view: false,
            checker: Checker::new(settings.service.is_none()),
            certificates: Certificates::default(),
            witness: Witness::default(),
            own: Own::default(),
            left: Left::default(),
            votes: Votes::default(),
            reports: Vec::new(),
            transcript: settings.trace.then(Transcript::default),
            wire: None,
            power_cuts: Vec::new(),
            power_cuts_come: 0,
            configuration,
            keys,
        };
        for instance in 0..cluster.instances.len() {
            if settings.twins.contains(&cluster.instances[instance].replica) {
                cluster.count_as_malicious(InstanceId(instance));
            }
            cluster.start(InstanceId(instance));
        }
        cluster
    }

    /// Runs for some virtual time.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.happens(end) {}
        self.now = end;
    }

    /// Runs until something holds; `false` if it does not within `limit`.
    pub fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !holds(self) {
            if !self.happens(end) {
                return false;
            }
        }
        true
    }

    /// Lets the next event happen; `false` if there is none by `end`.
    ///
    /// # Panics
    /// If time stands still, since events bring about others at the same instant for ever.
    fn happens(&mut self, end: Duration) -> bool {
        let Some((at, event)) = self.agenda.next(end) else { return false };
        self.at_once = if at == self.now { self.at_once + 1 } else { 1 };
        self.now = at;
        assert!(self.at_once <= AT_ONCE, "time stands still at {at:?}: {AT_ONCE} events, and more to come");
        if let Some(free_at) = self.is_kept_waiting(&event) {
            self.plan(free_at - at, event);
            return true;
        }
        self.checker.event(at);
        self.happen(event);
        true
    }

    fn plan(&mut self, delay: Duration, event: Event) {
        self.agenda.plan(self.now + delay, event);
    }

    fn plan_local(&mut self, at: InstanceId, delay: Duration, what: Local) {
        let run = self.instances[at.0].run;
        self.plan(delay, Event::Local { at, run, what });
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival { to, letter } => {
                if let Some(message) = letter.open(&self.configuration) {
                    self.watch(to, &letter, message);
                    self.input(to, Input::Message { from: letter.from, message: message.clone() });
                }
            }
            Event::Request { to, question } => {
                if let Some(input) = question.open(&self.configuration) {
                    self.input(to, input);
                }
            }
            Event::Reader { client, more, interval } => self.on_reader(client, more, interval),
            Event::Answer { from, to, frame } => self.on_answer(from, to, &frame),
            Event::Local { at, run, what } => {
                let instance = &self.instances[at.0];
                if instance.run == run && instance.running.is_some() {
                    self.local(at, what);
                }
            }
            Event::PowerReturns { at, run } => self.on_power_returned(at, run),
            Event::Waking { client } => self.on_waking(client),
            Event::Attack { attacker } => self.on_attack(attacker),
        }
    }

    fn local(&mut self, at: InstanceId, what: Local) {
        let instance = &mut self.instances[at.0];
        match what {
            Local::Timer(timer, set_for) => {
                let timers = instance.running.as_ref().map(|running| &running.timers);
                if timers.is_none_or(|timers| timers.get(&timer) != Some(&set_for)) {
                    return;
                }
                // The clock may have become slower since the timer was set: no timer goes off early.
                let left = set_for.since(Instant::after_start(instance.pace.at(self.now)));
                if left > Duration::ZERO {
                    let delay = instance.pace.takes(left);
                    self.plan_local(at, delay, Local::Timer(timer, set_for));
                } else {
                    self.input(at, Input::Timer(timer));
                }
            }
            Local::Synced(_) | Local::Kept(_) | Local::Snapshot | Local::Install(_)
                if instance.disk.fails =>
            {
                self.halt_on_disk(at);
            }
            Local::Synced(id) => {
                let then = instance.disk.sync(id);
                self.watch_disk(at);
                self.step(at);
                self.carry_out(at, then.into());
                self.step(at);
                self.input(at, Input::Durable(id));
            }
            Local::Kept(Chunk { sequence, index, content }) => {
                instance.disk.archive.keep_chunk(content);
                self.step(at);
                self.input(at, Input::ChunkKept { sequence, index });
            }
            Local::Snapshot => self.on_snapshot(at),
            Local::Install(state) => self.on_install(at, state),
            Local::Done(input) => self.input(at, *input),
        }
    }

    fn input(&mut self, at: InstanceId, input: Input) {
        let (now, run) = (self.clocks(at), self.instances[at.0].run);
        let effects = self.instances[at.0].handle(now, input);
        self.check_bounds(at);
        self.carry_out(at, effects);
        self.watch_handled(at, run);
    }

    fn clocks(&self, at: InstanceId) -> Now {
        let instance = &self.instances[at.0];
        Now { instant: Instant::after_start(instance.pace.at(self.now)), wall: instance.clock.at(self.now) }
    }

    /// Tells something in the story, if anybody wants it.
    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(transcript) = &mut self.transcript {
            transcript.line(self.now, &line());
        }
    }
}
