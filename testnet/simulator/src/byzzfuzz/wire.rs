//! Counts the rounds, parts the replicas and mutates messages as planned.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use pbft_byzantine::Identity;
use pbft_messages::{PeerMessage, ReplicaMessage};

use super::mutation::Liar;
use super::plan::{Lie, Plan, ROUNDS};
use super::values::Values;
use crate::phase::{Place, place};
use crate::{Fate, InstanceId, Wire};

/// How many of a malicious replica's own messages are kept, to be replayed.
const KEPT: usize = 64;

/// What the wire did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// How many rounds there have been.
    pub(super) rounds: u64,
    /// How many messages a partition lost.
    pub(super) parted: u64,
    /// How many messages were mutated, each receiver's copy counted.
    pub(super) mutated: u64,
    /// How many process faults have struck.
    pub(super) struck: u64,
}

/// The wire of one run.
pub(super) struct Fuzzer {
    plan: Plan,
    identities: BTreeMap<InstanceId, Identity>,
    /// The rounds, in the order in which they were first spoken in.
    rounds: BTreeMap<Place, u64>,
    striking: Vec<Strike>,
    /// What each malicious replica has sent.
    sent: BTreeMap<InstanceId, Vec<PeerMessage>>,
    /// What each has answered each client.
    answered: BTreeMap<(InstanceId, usize), Vec<ReplicaMessage>>,
    done: Rc<RefCell<Done>>,
}

/// A process fault, and how far it is.
struct Strike {
    lie: Lie,
    /// The round that it strikes in, once that is known.
    round: Option<u64>,
    random: ChaCha8Rng,
    /// The mutated copy of each message: all who are lied to get the same.
    copies: Vec<(PeerMessage, Option<PeerMessage>)>,
}

/// What a message is to a lie that waits for its round.
#[derive(Clone, Copy)]
enum Said {
    /// It asks for a view or opens one.
    InViewChange,
    /// It belongs to a view, or is an answer.
    InAView,
    /// It is a question or a status, which are said all the time.
    Aside,
}

impl Fuzzer {
    pub(super) fn new(plan: Plan, identities: Vec<Identity>, done: Rc<RefCell<Done>>) -> Self {
        let strike = |lie: &Lie| {
            let random = ChaCha8Rng::seed_from_u64(lie.seed);
            Strike { lie: lie.clone(), round: None, random, copies: Vec::new() }
        };
        Self {
            striking: plan.lies.iter().map(strike).collect(),
            identities: identities.into_iter().map(|it| (InstanceId::from(it.replica), it)).collect(),
            plan,
            rounds: BTreeMap::new(),
            sent: BTreeMap::new(),
            answered: BTreeMap::new(),
            done,
        }
    }

    /// Whether all rounds that have faults are over.
    pub(super) fn is_over(plan: &Plan, done: &Done) -> bool {
        done.rounds > plan.begin + ROUNDS
    }

    /// The round that a message belongs to: that of its place, which it may open, or else the newest.
    fn round(&mut self, message: &PeerMessage) -> u64 {
        let newest = self.newest();
        let Some(place) = place(message) else { return newest };
        let opened = self.rounds.len() as u64;
        let round = *self.rounds.entry(place).or_insert(opened);
        self.done.borrow_mut().rounds = self.rounds.len() as u64;
        round
    }

    fn newest(&self) -> u64 {
        (self.rounds.len() as u64).saturating_sub(1)
    }

    /// The process fault that strikes what `from` says in a round to `receiver`.
    fn strike(&mut self, from: InstanceId, round: u64, receiver: usize, what: Said) -> Option<&mut Strike> {
        let last = self.plan.begin + ROUNDS;
        let opens = |lie: &Lie| match what {
            Said::InViewChange => true,
            Said::InAView => !lie.in_view_change && round < last,
            Said::Aside => false,
        };
        let hears = |lie: &Lie| lie.receivers >> receiver & 1 == 1;
        let mut own = self.striking.iter_mut().filter(|it| from == it.lie.liar && it.lie.from <= round);
        // One fault a round: whoever is first takes it. What no receiver hears takes none.
        let is_taken = |it: &Strike| it.round.is_none() && opens(&it.lie) && hears(&it.lie);
        let taken = own.find(|it| it.round == Some(round) || is_taken(it))?;
        if taken.round.replace(round).is_none() {
            self.done.borrow_mut().struck += 1;
        }
        hears(&taken.lie).then_some(taken)
    }
}

impl Wire for Fuzzer {
    fn peer(&mut self, _: Duration, from: InstanceId, to: InstanceId, message: &PeerMessage) -> Fate {
        let round = self.round(message);
        if !self.plan.together(round, from.0, to.0) {
            self.done.borrow_mut().parted += 1;
            return Fate::Lose;
        }
        let Some(identity) = self.identities.get(&from).cloned() else { return Fate::Pass };
        let mut sent = self.sent.remove(&from).unwrap_or_default();
        let what = match message {
            PeerMessage::Status(_) | PeerMessage::FetchBody(_) => Said::Aside,
            PeerMessage::ViewChange(_) | PeerMessage::NewView(_) => Said::InViewChange,
            _ => Said::InAView,
        };
        let fate = match self.strike(from, round, to.0, what) {
            None => Fate::Pass,
            Some(Strike { lie, random, copies, .. }) => {
                let known = copies.iter().find(|(original, _)| original == message);
                let copy = match known {
                    Some((_, copy)) => copy.clone(),
                    None => {
                        let values = Values { reach: lie.reach, random };
                        let copy = Liar { identity: &identity, values, earlier: &sent }.mutate(message);
                        copies.push((message.clone(), copy.clone()));
                        copy
                    }
                };
                self.done.borrow_mut().mutated += 1;
                copy.map_or(Fate::Lose, Fate::Replace)
            }
        };
        keep(&mut sent, message);
        self.sent.insert(from, sent);
        fate
    }

    fn answer(
        &mut self,
        _: Duration,
        from: InstanceId,
        client: usize,
        message: &ReplicaMessage,
    ) -> Option<ReplicaMessage> {
        let (round, clients) = (self.newest(), usize::from(self.plan.n));
        let Some(identity) = self.identities.get(&from).cloned() else { return Some(message.clone()) };
        let mut answered = self.answered.remove(&(from, client)).unwrap_or_default();
        let answer = match self.strike(from, round, clients, Said::InAView) {
            None => Some(message.clone()),
            Some(Strike { lie, random, .. }) => {
                let values = Values { reach: lie.reach, random };
                let mut liar = Liar { identity: &identity, values, earlier: &[] };
                let copy = liar.mutate_answer(message, &answered);
                self.done.borrow_mut().mutated += 1;
                copy
            }
        };
        keep(&mut answered, message);
        self.answered.insert((from, client), answered);
        answer
    }
}

/// Remembers what was said, so that it can be said again.
fn keep<T: Clone + PartialEq>(said: &mut Vec<T>, message: &T) {
    if said.last() != Some(message) {
        if said.len() == KEPT {
            said.remove(0);
        }
        said.push(message.clone());
    }
}
