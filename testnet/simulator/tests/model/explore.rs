//! The search through all states of the whole: the states of the correct replicas together. The network is the set of
//! what was sent, and any of it may arrive at any time, in any order, again, or never; so what was sent follows from the
//! states of the senders. Arrivals at different replicas commute, and their orders lead to the same whole.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use pbft_crypto::Digest;
use pbft_messages::{Message, View};

use crate::replica::{Automaton, MessageId, Messages, Sent, StateId, Step};
use crate::setting::Setting;

/// A state of the whole: that of each correct replica.
type Whole = [StateId; 3];

/// What a search found.
#[derive(Debug)]
pub(crate) struct Found {
    /// How many states of the whole.
    pub(crate) states: usize,
    /// How many states each correct replica was seen in.
    pub(crate) local: Vec<usize>,
    /// The most steps that a state is away from the start, on the way that it was found.
    pub(crate) depth: usize,
    /// Whether there are no more states than these.
    pub(crate) exhaustive: bool,
    /// How many states of the whole have executed anything.
    pub(crate) executed: usize,
    /// The first violation, and the steps to it.
    pub(crate) violation: Option<(String, Vec<String>)>,
}

/// What a vote is for: whether it is a COMMIT, the view, and the batch.
type Ballot = (bool, View, Digest);

fn ballot(message: &Message) -> Option<Ballot> {
    match message {
        Message::Prepare(vote, _) => Some((false, vote.value().view, vote.value().digest)),
        Message::Commit(vote) => Some((true, vote.value().view, vote.value().digest)),
        _ => None,
    }
}

pub(crate) struct Explorer {
    setting: Setting,
    messages: Messages,
    replicas: Vec<Automaton>,
    lies: BTreeSet<MessageId>,
    answers: HashMap<BTreeSet<MessageId>, BTreeSet<MessageId>>,
    start: Whole,
    /// Nothing of a lower view is delivered any more.
    from_view: View,
}

impl Explorer {
    pub(crate) fn new(setting: Setting) -> Self {
        let mut messages = Messages::default();
        let correct = setting.correct();
        let replicas = correct.iter().map(|me| Automaton::new(*me, &setting, &mut messages)).collect();
        let lies = setting.lies(&mut messages);
        let (answers, from_view) = (HashMap::new(), View(0));
        Self { setting, messages, replicas, lies, answers, start: [0; 3], from_view }
    }

    /// Starts where r3 alone has executed the first batch in view 0, by its own, r2's and the liar's COMMIT, while r1, the
    /// next primary, knows the second batch only; and lets nothing more of view 0 arrive. What arrived of it after a
    /// replica has left the view would be no vote of it.
    pub(crate) fn after_a_secret_decision(setting: Setting) -> Self {
        let mut it = Self::new(setting);
        let proposals: Vec<_> = it.lies.iter().copied().filter(|id| it.is_proposal(*id)).collect();
        for (replica, proposal) in [(0, proposals[1]), (1, proposals[0]), (2, proposals[0])] {
            it.go(replica, &Step::Hear(proposal));
        }
        for (replica, is_commit) in [(1, false), (2, false), (2, true)] {
            let steps = it.steps(&it.start.clone());
            let votes = steps.into_iter().find(|(at, step)| {
                let Step::Votes(ids) = step else { return false };
                let first = ballot(&it.messages.all[usize::from(ids[0])].message);
                *at == replica && first.is_some_and(|ballot| ballot.0 == is_commit)
            });
            it.go(replica, &votes.expect("enough votes").1);
        }
        assert_eq!(it.executed(&it.start).count(), 1, "r3 alone has executed it");
        it.from_view = View(1);
        it
    }

    fn go(&mut self, replica: usize, step: &Step) {
        let from = self.start[replica];
        self.start[replica] = self.replicas[replica].step(from, step, &self.setting, &mut self.messages);
    }

    fn is_proposal(&self, id: MessageId) -> bool {
        matches!(self.messages.all[usize::from(id)].message, Message::Proposal(..))
    }

    /// Looks at up to `limit` states, those with the fewest steps first.
    pub(crate) fn search(&mut self, limit: usize) -> Found {
        let mut seen: HashSet<Whole> = HashSet::from([self.start]);
        // Where each level's states came from, to tell the way to a violation.
        let mut levels: Vec<Vec<(Whole, u32, usize, Step)>> = vec![vec![(self.start, 0, 0, Step::Expire)]];
        let mut executed = 0;
        loop {
            let mut next = Vec::new();
            let last = levels.len() - 1;
            for index in 0..levels[last].len() {
                let whole = levels[last][index].0;
                executed += usize::from(self.executed(&whole).next().is_some());
                if let Some(why) = self.violation(&whole) {
                    let way = self.way(&levels, index);
                    return self.found(&seen, last, executed, false, Some((why, way)));
                }
                for (replica, step) in self.steps(&whole) {
                    let from = whole[replica];
                    let to = self.replicas[replica].step(from, &step, &self.setting, &mut self.messages);
                    let mut reached = whole;
                    reached[replica] = to;
                    if to != from && seen.insert(reached) {
                        next.push((reached, index as u32, replica, step));
                    }
                }
                if seen.len() >= limit {
                    return self.found(&seen, last, executed, false, None);
                }
            }
            if next.is_empty() {
                return self.found(&seen, last, executed, true, None);
            }
            levels.push(next);
        }
    }

    fn found(
        &self,
        seen: &HashSet<Whole>,
        depth: usize,
        executed: usize,
        exhaustive: bool,
        violation: Option<(String, Vec<String>)>,
    ) -> Found {
        let local = self.replicas.iter().map(|it| it.states.len()).collect();
        Found { states: seen.len(), local, depth, exhaustive, executed, violation }
    }

    /// What can happen next, and at which replica.
    fn steps(&mut self, whole: &Whole) -> Vec<(usize, Step)> {
        let states: Vec<_> =
            self.replicas.iter().zip(whole).map(|(it, id)| &it.states[*id as usize]).collect();
        let mut heard = BTreeSet::new();
        states.iter().for_each(|state| heard.extend(state.sent.iter().copied()));
        let mut steps = Vec::new();
        for (replica, state) in states.iter().enumerate().filter(|(_, state)| state.halted.is_none()) {
            if self.setting.expiry && !state.expired {
                steps.push((replica, Step::Expire));
            }
        }
        let answers = match self.answers.get(&heard) {
            Some(answers) => answers,
            None => {
                let answers = self.setting.answers(&heard, &mut self.messages);
                self.answers.entry(heard.clone()).or_insert(answers)
            }
        };
        let all: Vec<_> = heard.iter().chain(&self.lies).chain(answers).copied().collect();
        for (replica, me) in self.setting.correct().into_iter().enumerate() {
            let mut votes: BTreeMap<Ballot, Vec<MessageId>> = BTreeMap::new();
            for id in &all {
                let sent = &self.messages.all[usize::from(*id)];
                match ballot(&sent.message) {
                    _ if sent.to.is_some_and(|to| to != me) || self.is_past(sent) => {}
                    Some(ballot) => votes.entry(ballot).or_default().push(*id),
                    None if sent.from == me => {}
                    None => steps.push((replica, Step::Hear(*id))),
                }
            }
            let quorum = self.setting.configuration.quorum();
            for (ballot, votes) in votes {
                let needed = if ballot.0 { quorum.get() } else { quorum.prepares() };
                let of_others =
                    votes.iter().copied().filter(|id| self.messages.all[usize::from(*id)].from != me);
                let own = states[replica].sent.iter().any(|id| votes.contains(id));
                let of_others: Vec<_> = of_others.collect();
                if of_others.len() + usize::from(own) >= needed {
                    steps.push((replica, Step::Votes(of_others)));
                }
            }
        }
        steps
    }

    fn is_past(&self, sent: &Sent) -> bool {
        match &sent.message {
            Message::Proposal(header, _) => header.value().view < self.from_view,
            other => ballot(other).is_some_and(|(_, view, _)| view < self.from_view),
        }
    }

    fn executed(&self, whole: &Whole) -> impl Iterator<Item = Digest> {
        self.replicas.iter().zip(*whole).filter_map(|(it, id)| it.states[id as usize].executed)
    }

    /// I1: what correct replicas execute at a sequence is the same batch, and none meets certificates in conflict.
    fn violation(&self, whole: &Whole) -> Option<String> {
        let batches: BTreeSet<_> = self.executed(whole).collect();
        if batches.len() > 1 {
            return Some(format!("I1: correct replicas executed {batches:?} at one sequence"));
        }
        let mut halted = self.replicas.iter().zip(whole).map(|(it, id)| &it.states[*id as usize].halted);
        halted.find_map(|halt| halt.as_ref().map(|halt| format!("a correct replica stops: {halt}")))
    }

    fn tell(&self, id: MessageId) -> String {
        let sent = &self.messages.all[usize::from(id)];
        format!("{}: {:?}", sent.from, sent.wire)
    }

    fn way(&self, levels: &[Vec<(Whole, u32, usize, Step)>], index: usize) -> Vec<String> {
        let (mut way, mut index) = (Vec::new(), index);
        for level in levels[1..].iter().rev() {
            let (_, before, replica, step) = &level[index];
            let me = self.setting.correct()[*replica];
            way.push(match step {
                Step::Expire => format!("{me}: the timer expires"),
                Step::Hear(id) => format!("{me} hears {}", self.tell(*id)),
                Step::Votes(ids) => {
                    let votes: Vec<_> = ids.iter().map(|id| self.tell(*id)).collect();
                    format!("{me} hears {}", votes.join("; "))
                }
            });
            index = *before as usize;
        }
        way.reverse();
        way
    }
}
