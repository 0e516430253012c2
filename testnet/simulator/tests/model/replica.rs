//! One correct replica as an automaton: its states are numbered, and what an input makes of a state is computed once.
//!
//! The real core can be replayed but not copied, so a state is kept as the inputs that led to it. Two histories lead to
//! the same state if the cores look the same in every field and the same was sent and executed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use pbft_crypto::{Digest, Domain};
use pbft_messages::{Message, PeerMessage, ReplicaId, Sequence, Timestamp};
use pbft_protocol::{
    Effect, Effects, Halt, Input, Instant, LeftBehind, Now, Replica, Report, Timer, initial_records,
};

use crate::setting::Setting;

/// The number of a state of one replica.
pub(crate) type StateId = u32;

/// The number of a message.
pub(crate) type MessageId = u16;

/// What can happen to a replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// A message arrives. The network may repeat it.
    Hear(MessageId),
    /// Votes for the same arrive one after the other, enough to matter together. Fewer change nothing that can be seen.
    Votes(Vec<MessageId>),
    /// The timer of waiting requests expires; once.
    Expire,
}

/// A message that was sent by a replica, or might be by the adversary.
pub(crate) struct Sent {
    pub(crate) from: ReplicaId,
    /// To everybody else, or to one.
    pub(crate) to: Option<ReplicaId>,
    pub(crate) wire: PeerMessage,
    /// As it is believed.
    pub(crate) message: Message,
}

/// All messages that were ever met, each once.
#[derive(Default)]
pub(crate) struct Messages {
    known: HashMap<(ReplicaId, Option<ReplicaId>, Vec<u8>), MessageId>,
    pub(crate) all: Vec<Sent>,
}

impl Messages {
    /// The number of a message that arrives as `wire`; `None` if nobody would believe it.
    pub(crate) fn number(
        &mut self,
        setting: &Setting,
        from: ReplicaId,
        to: Option<ReplicaId>,
        wire: &PeerMessage,
    ) -> Option<MessageId> {
        let key = (from, to, wire.encode().to_vec());
        if let Some(id) = self.known.get(&key) {
            return Some(*id);
        }
        let message = wire.clone().verify(&setting.configuration).ok()?;
        let id = MessageId::try_from(self.all.len()).expect("a small model");
        self.all.push(Sent { from, to, wire: wire.clone(), message });
        self.known.insert(key, id);
        Some(id)
    }
}

/// What is to be known of a state.
pub(crate) struct State {
    history: Vec<Step>,
    pub(crate) sent: BTreeSet<MessageId>,
    /// What it executed at the one sequence of the model.
    pub(crate) executed: Option<Digest>,
    pub(crate) halted: Option<Halt>,
    pub(crate) expired: bool,
    next: HashMap<Step, StateId>,
}

pub(crate) struct Automaton {
    me: ReplicaId,
    pub(crate) states: Vec<State>,
    known: HashMap<Digest, StateId>,
}

impl Automaton {
    pub(crate) fn new(me: ReplicaId, setting: &Setting, messages: &mut Messages) -> Self {
        let mut automaton = Self { me, states: Vec::new(), known: HashMap::new() };
        automaton.reach(vec![], setting, messages);
        automaton
    }

    /// The state after one more step.
    pub(crate) fn step(
        &mut self,
        from: StateId,
        step: &Step,
        setting: &Setting,
        messages: &mut Messages,
    ) -> StateId {
        if let Some(next) = self.states[from as usize].next.get(step) {
            return *next;
        }
        let mut history = self.states[from as usize].history.clone();
        history.push(step.clone());
        let next = self.reach(history, setting, messages);
        self.states[from as usize].next.insert(step.clone(), next);
        next
    }

    fn reach(&mut self, history: Vec<Step>, setting: &Setting, messages: &mut Messages) -> StateId {
        let mut run = Run::new(self.me, setting);
        for step in &history {
            run.step(step, messages);
        }
        let sent: BTreeSet<_> = run
            .sent
            .iter()
            .filter(|(_, it)| setting.delivers(it))
            .filter_map(|(to, it)| messages.number(setting, self.me, *to, it))
            .collect();
        let expired = history.contains(&Step::Expire);
        let look = format!("{} {sent:?} {:?} {:?} {expired}", decisive(&run.core), run.executed, run.halted);
        let name = Digest::of(Domain::Batch, look.as_bytes());
        *self.known.entry(name).or_insert_with(|| {
            let (executed, halted) = (run.executed, run.halted);
            self.states.push(State { history, sent, executed, halted, expired, next: HashMap::new() });
            StateId::try_from(self.states.len() - 1).expect("a small model")
        })
    }
}

/// How a core looks, without what no vote depends on: evidence, what is kept to find it, and the numbers of writes.
fn decisive(core: &Replica) -> String {
    const LEFT_OUT: [&str; 4] = ["evidence:", "former_commits:", "opened_by:", "last: WriteId("];
    let whole = format!("{core:#?}");
    let mut below = None;
    let lines = whole.lines().filter(|line| {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        // A field's content is further in than its name, but for the bracket that closes it.
        let inside =
            below.is_some_and(|outer| indent > outer || indent == outer && text.starts_with(['}', ')', ']']));
        if !inside {
            below = LEFT_OUT.iter().any(|field| text.starts_with(field)).then_some(indent);
        }
        below.is_none()
    });
    lines.collect()
}

/// The core, alive. Writes are durable at once, and executions done at once.
struct Run {
    core: Replica,
    now: Now,
    timers: BTreeMap<Timer, Instant>,
    sent: Vec<(Option<ReplicaId>, PeerMessage)>,
    executed: Option<Digest>,
    halted: Option<Halt>,
}

impl Run {
    fn new(me: ReplicaId, setting: &Setting) -> Self {
        let now = Now { instant: Instant::default(), wall: Timestamp(1_000_000_000) };
        let left = LeftBehind { records: initial_records(), ..LeftBehind::default() };
        let mut effects = Effects::new();
        let signer = Arc::new(Setting::key(me));
        let core = Replica::start(setting.configuration.clone(), me, signer, left, now, &mut effects)
            .expect("the first start");
        let (timers, sent) = (BTreeMap::new(), Vec::new());
        let mut run = Self { core, now, timers, sent, executed: None, halted: None };
        run.carry_out(effects.into());
        for submission in &setting.submissions {
            run.input(Input::Submission(submission.clone()));
        }
        run
    }

    fn step(&mut self, step: &Step, messages: &Messages) {
        match step {
            Step::Hear(id) => self.hear(*id, messages),
            Step::Votes(ids) => ids.iter().for_each(|id| self.hear(*id, messages)),
            Step::Expire => {
                if let Some(at) = self.timers.get(&Timer::Request) {
                    self.now.instant = *at;
                    self.input(Input::Timer(Timer::Request));
                }
            }
        }
    }

    fn hear(&mut self, id: MessageId, messages: &Messages) {
        let Sent { from, message, .. } = &messages.all[usize::from(id)];
        self.input(Input::Message { from: *from, message: message.clone() });
    }

    fn input(&mut self, input: Input) {
        let mut effects = Effects::new();
        self.core.handle(self.now, input, &mut effects);
        self.carry_out(effects.into());
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message } => self.sent.push((Some(to), message)),
                Effect::Broadcast(message) => self.sent.push((None, message)),
                Effect::Persist { id, then, .. } => {
                    self.carry_out(then);
                    self.input(Input::Durable(id));
                }
                Effect::SetTimer { timer, at: Some(at) } => drop(self.timers.insert(timer, at)),
                Effect::SetTimer { timer, at: None } => drop(self.timers.remove(&timer)),
                Effect::Execute(execution) => {
                    let results = vec![bytes::Bytes::new(); execution.operations.len()];
                    self.input(Input::Executed {
                        sequence: execution.sequence,
                        results,
                        next_deadline: None,
                    });
                }
                Effect::Report(Report::Executed { sequence: Sequence(1), digest, .. }) => {
                    self.executed = Some(digest);
                }
                Effect::Halt(halt) => self.halted = Some(halt),
                _ => {}
            }
        }
    }
}
