//! Messages between replicas, and from replicas to clients.

use std::borrow::Cow;
use std::rc::Rc;

use pbft_messages::{ClientId, PeerMessage, ReplicaId, ReplicaMessage, SessionId, codec};

use rand::RngExt as _;

use super::{Cluster, Event, Receiver};
use crate::client::SESSION;
use crate::letter::Letter;
use crate::{Fate, InstanceId};

/// How many messages are remembered, to be heard again.
const OLD_LETTERS: usize = 1024;

impl Cluster {
    /// The instances that go by a replica's name: its own, and its twin if it has one.
    pub(super) fn instances_of(&self, replica: ReplicaId) -> impl Iterator<Item = InstanceId> + use<> {
        let own = InstanceId::from(replica);
        let twins = self.configuration.n()..self.instances.len();
        let twins: Vec<_> =
            twins.filter(|at| self.instances[*at].replica == replica).map(InstanceId).collect();
        std::iter::once(own).chain(twins)
    }

    pub(super) fn send(&mut self, from: InstanceId, to: &[ReplicaId], message: &PeerMessage) {
        if let Some(transcript) = &mut self.transcript {
            transcript.message(self.now, from, to, message);
        }
        let me = self.instances[from.0].replica;
        let letter = Rc::new(Letter::new(me, message));
        self.watch_sent(from, message, &letter);
        for to in to.iter().filter(|to| **to != me) {
            for to in self.instances_of(*to) {
                self.send_to(from, to, message, &letter);
            }
        }
    }

    fn send_to(&mut self, from: InstanceId, to: InstanceId, message: &PeerMessage, letter: &Rc<Letter>) {
        if self.network.is_cut(from, to) {
            return;
        }
        let fate = self.wire.as_mut().map_or(Fate::Pass, |wire| wire.peer(self.now, from, to, message));
        let letter = match fate {
            Fate::Pass => Rc::clone(letter),
            Fate::Lose => return,
            Fate::Replace(message) => Rc::new(Letter::new(letter.from, &message)),
        };
        let held_back = self.network.held_back(from, to, self.now);
        for delay in self.network.arrivals(&mut self.random).into_iter().flatten() {
            self.plan(held_back + delay, Event::Arrival { to, letter: Rc::clone(&letter) });
        }
        self.replay(to, letter);
    }

    /// Perhaps lets an old message be heard again, and remembers this one for that.
    fn replay(&mut self, to: InstanceId, letter: Rc<Letter>) {
        let share = self.network.faults.replay;
        if share == 0.0 {
            return;
        }
        if !self.old_letters.is_empty() && self.random.random_bool(share) {
            let (to, letter) = &self.old_letters[self.random.random_range(0..self.old_letters.len())];
            let event = Event::Arrival { to: *to, letter: Rc::clone(letter) };
            self.plan(self.network.faults.latency, event);
        }
        // Old ones stay among them for long: each new one takes the place of any other.
        if self.old_letters.len() < OLD_LETTERS {
            self.old_letters.push((to, letter));
        } else {
            let place = self.random.random_range(0..OLD_LETTERS);
            self.old_letters[place] = (to, letter);
        }
    }

    /// Answers a client over whatever connections serve a session.
    pub(super) fn answer(
        &mut self,
        from: InstanceId,
        (client, session): (ClientId, SessionId),
        message: &ReplicaMessage,
    ) {
        if !self.network.serves_clients(from) {
            return;
        }
        let honest =
            self.clients.iter().position(|it| (it.id, SESSION, it.is_opened) == (client, session, true));
        let to = honest.map_or(Receiver::Attackers, Receiver::Client);
        let message = match (&mut self.wire, to) {
            (Some(wire), Receiver::Client(to)) => match wire.answer(self.now, from, to, message) {
                Some(message) => Cow::Owned(message),
                None => return,
            },
            _ => Cow::Borrowed(message),
        };
        let frame: Rc<[u8]> = codec::encode(&*message).into();
        let from = self.instances[from.0].replica;
        for delay in self.network.arrivals(&mut self.random).into_iter().flatten() {
            self.plan(delay, Event::Answer { from, to, frame: Rc::clone(&frame) });
        }
    }
}
