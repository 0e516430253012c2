//! The driver's one queue: everything that happens to a replica arrives here, from whatever thread.
//!
//! Consensus goes first: votes, then what the replica's own threads have finished, then bulk, then clients. While a
//! class above is not emptied, of a lower one a single message is taken each time, so that a flooding client cannot
//! starve agreement, nor a flooding replica the clients (R2, R3).
//!
//! Bounds (R1): votes, bulk and submissions hold a place in a budget of their sender ([`Room`]) until the driver takes
//! them. What the replica's own threads report is bounded by what the driver has given them to do.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use pbft_protocol::{Effect, Input, Standing, WriteId};

use crate::RunError;

/// A place in the budget of whoever sent something; given back when this is dropped.
pub(crate) type Room = OwnedSemaphorePermit;

/// How urgent a message from outside is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    Votes,
    Bulk,
    Clients,
}

/// Something for the driver to deal with.
pub(crate) enum Event {
    /// For the protocol.
    Input(Input),
    /// A write is durable: what waited for it may leave, and the protocol is told.
    Released { id: WriteId, then: Vec<Effect> },
    /// A thread made an effect of its own, such as the answer to a read.
    Effect(Effect),
    /// A part of a snapshot, and its place among those that its receiver asked for.
    Answer(Effect, Room),
    /// A thread cannot go on, so the replica stops.
    Failed(RunError),
    /// Somebody wants to know how the replica stands, and what its outlet says of faults.
    Standing(oneshot::Sender<(Standing, Value)>),
    /// A command for the outlet.
    Command(Value, oneshot::Sender<Result<Value, String>>),
    /// Stop in good order.
    Stop,
}

/// How much waits for the driver, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depths {
    pub(crate) votes: usize,
    pub(crate) events: usize,
    pub(crate) bulk: usize,
    pub(crate) clients: usize,
}

/// The queue. Cloning gives another handle on it.
#[derive(Clone, Default)]
pub(crate) struct Inbound(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queues: Mutex<Queues>,
    filled: Condvar,
}

#[derive(Default)]
struct Queues {
    votes: VecDeque<(Input, Room)>,
    events: VecDeque<Event>,
    bulk: VecDeque<(Input, Room)>,
    clients: VecDeque<(Input, Room)>,
    /// The driver sleeps, so whoever adds something wakes it.
    asleep: bool,
    /// The driver has ended, so nothing is taken in any more.
    closed: bool,
}

/// How many of each class the driver takes at once, at most. They are few enough that a vote which arrives meanwhile
/// does not wait long, and enough to spare locking and waking under load.
const VOTES: usize = 64;
const EVENTS: usize = 64;
const BULK: usize = 4;
const CLIENTS: usize = 16;

/// How many of a class are taken while more urgent ones wait.
const LEAST: usize = 1;

impl Inbound {
    /// Adds a message from outside.
    pub(crate) fn message(&self, class: Class, input: Input, room: Room) {
        self.add(|queues| match class {
            Class::Votes => queues.votes.push_back((input, room)),
            Class::Bulk => queues.bulk.push_back((input, room)),
            Class::Clients => queues.clients.push_back((input, room)),
        });
    }

    /// Adds what one of the replica's own threads or tasks has to say.
    pub(crate) fn event(&self, event: Event) {
        self.add(|queues| queues.events.push_back(event));
    }

    fn add(&self, add: impl FnOnce(&mut Queues)) {
        let mut queues = self.queues();
        if queues.closed {
            return;
        }
        add(&mut queues);
        if std::mem::take(&mut queues.asleep) {
            drop(queues);
            self.0.filled.notify_one();
        }
    }

    /// Waits until there is something or `deadline` has come, then moves the most urgent of it to `batch`.
    pub(crate) fn take(&self, deadline: Option<Instant>, batch: &mut Vec<Event>) {
        let mut freed = Vec::new();
        let mut queues = self.queues();
        while queues.is_empty() {
            queues.asleep = true;
            let Some(deadline) = deadline else {
                queues = self.0.filled.wait(queues).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                queues.asleep = false;
                return;
            }
            (queues, _) = self.0.filled.wait_timeout(queues, left).unwrap_or_else(PoisonError::into_inner);
        }
        queues.asleep = false;
        queues.take(batch, &mut freed);
        drop(queues);
        // Giving a place back can wake its sender, which is better done without the lock.
        drop(freed);
    }

    /// How much waits.
    pub(crate) fn depths(&self) -> Depths {
        let queues = self.queues();
        Depths {
            votes: queues.votes.len(),
            events: queues.events.len(),
            bulk: queues.bulk.len(),
            clients: queues.clients.len(),
        }
    }

    /// Drops everything that waits and whatever comes: the driver has ended.
    pub(crate) fn close(&self) {
        let dropped = {
            let mut queues = self.queues();
            let dropped = std::mem::take(&mut *queues);
            queues.closed = true;
            dropped
        };
        drop(dropped);
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        // No operation under the lock can panic half-way, so a poisoned lock still guards whole queues.
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn is_empty(&self) -> bool {
        self.votes.is_empty() && self.events.is_empty() && self.bulk.is_empty() && self.clients.is_empty()
    }

    fn take(&mut self, batch: &mut Vec<Event>, freed: &mut Vec<Room>) {
        let move_some = |queue: &mut VecDeque<(Input, Room)>,
                         most: usize,
                         batch: &mut Vec<Event>,
                         freed: &mut Vec<Room>| {
            for (input, room) in queue.drain(..queue.len().min(most)) {
                batch.push(Event::Input(input));
                freed.push(room);
            }
            queue.is_empty()
        };
        let mut emptied = move_some(&mut self.votes, VOTES, batch, freed);
        batch.extend(self.events.drain(..self.events.len().min(EVENTS)));
        emptied &= self.events.is_empty();
        emptied &= move_some(&mut self.bulk, if emptied { BULK } else { LEAST }, batch, freed);
        move_some(&mut self.clients, if emptied { CLIENTS } else { LEAST }, batch, freed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use pbft_protocol::{AuditId, Timer};

    use super::*;

    fn inputs(batch: &[Event]) -> Vec<&Input> {
        batch
            .iter()
            .filter_map(|event| match event {
                Event::Input(input) => Some(input),
                _ => None,
            })
            .collect()
    }

    fn add(inbound: &Inbound, class: Class, count: u64, budget: &Arc<Semaphore>) {
        for number in 0..count {
            let room = budget.clone().try_acquire_owned().unwrap();
            inbound.message(class, Input::Audit(AuditId(number)), room);
        }
    }

    /// R2, R3: submissions are taken one at a time while anything of agreement waits, and never not at all.
    #[test]
    fn the_most_urgent_goes_first() {
        let (inbound, budget) = (Inbound::default(), Arc::new(Semaphore::new(1000)));
        add(&inbound, Class::Clients, 100, &budget);
        add(&inbound, Class::Bulk, 5, &budget);
        add(&inbound, Class::Votes, 70, &budget);
        inbound.event(Event::Input(Input::Timer(Timer::Status)));
        let sizes = |inbound: &Inbound| {
            let mut batch = Vec::new();
            inbound.take(None, &mut batch);
            inputs(&batch).len()
        };
        assert_eq!(sizes(&inbound), VOTES + 1 + 2 * LEAST);
        assert_eq!(sizes(&inbound), 6 + BULK + CLIENTS);
        let left = 100 - LEAST - CLIENTS;
        assert_eq!(inbound.depths(), Depths { clients: left, ..Depths::default() });
        // Places are given back as the driver takes what held them.
        assert_eq!(budget.available_permits(), 1000 - left);
        inbound.close();
        assert_eq!(budget.available_permits(), 1000);
        add(&inbound, Class::Votes, 1, &budget);
        assert_eq!((inbound.depths(), budget.available_permits()), (Depths::default(), 1000));
    }

    #[test]
    fn taking_ends_at_the_deadline_or_when_something_comes() {
        let inbound = Inbound::default();
        let mut batch = Vec::new();
        inbound.take(Some(Instant::now() + Duration::from_millis(1)), &mut batch);
        assert!(batch.is_empty());
        let other = inbound.clone();
        let thread = std::thread::spawn(move || other.event(Event::Stop));
        inbound.take(None, &mut batch);
        assert!(matches!(batch[..], [Event::Stop]));
        thread.join().unwrap();
    }
}
