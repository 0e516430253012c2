//! When patience ends (VC1, N6): the timers follow from the state, and are set anew after every input.

use std::time::Duration;

use pbft_crypto::mutant;
use pbft_messages::Timestamp;

use crate::replica::Replica;
use crate::{Effects, Instant, Now, Timer, ViewChangeReason};

/// How many slots above the last executed one are looked at for an uncommitted certificate.
const SLOTS: usize = 16;

/// The service's next deadline, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// In agreed time.
    pub(crate) at: Timestamp,
    /// On this replica's monotonic clock, as estimated when it was last looked at.
    expected: Instant,
}

/// A clock of waiting that stands still while the window is closed: nobody is to blame then (VC1). Times on it are
/// [`Instant`]s too, and are only compared with each other.
#[derive(Debug)]
pub(crate) struct Patience {
    /// For how long it has stood still.
    closed: Duration,
    /// Since when it stands still, if it does.
    closed_since: Option<Instant>,
    /// When waiting began to count, on this clock: when the view was entered.
    from: Instant,
}

impl Patience {
    pub(crate) fn starting_at(now: Instant) -> Self {
        Self { closed: Duration::ZERO, closed_since: None, from: now }
    }

    /// What this clock shows.
    pub(crate) fn at(&self, now: Instant) -> Instant {
        let standing_still = self.closed_since.map_or(Duration::ZERO, |since| now.since(since));
        Instant::after_start(now.since_start().saturating_sub(self.closed + standing_still))
    }

    /// When this clock will show a time, if it does not stand still before.
    fn when(&self, shows: Instant) -> Instant {
        shows.plus(self.closed)
    }

    /// For how long something has waited in this view that waits since a time on this clock.
    pub(crate) fn waited(&self, since: Instant, now: Instant) -> Duration {
        self.at(now).since(since.max(self.from))
    }

    /// When something that waits since a time on this clock will have waited for so long in this view, if this clock
    /// does not stand still before.
    pub(crate) fn end(&self, since: Instant, wait: Duration) -> Instant {
        self.when(since.max(self.from).plus(wait))
    }

    /// All waiting starts to count anew (VC6).
    pub(crate) fn restart(&mut self, now: Instant) {
        self.from = self.at(now);
    }

    /// Stands still, or goes on.
    fn set_closed(&mut self, closed: bool, now: Instant) {
        match (self.closed_since, closed) {
            (None, true) => self.closed_since = Some(now),
            (Some(since), false) => {
                self.closed += now.since(since);
                self.closed_since = None;
            }
            _ => {}
        }
    }
}

impl Replica {
    /// Notes whether all up to H is executed, after either has moved.
    pub(crate) fn watch_window(&mut self, now: Now) {
        let closed = self.last_executed >= self.high();
        self.patience.set_closed(closed, now.instant);
    }

    /// Takes the deadline that the service gave after an execution. One that the service has already been told
    /// the time of is none: it would be told the same for ever.
    pub(crate) fn set_deadline(&mut self, at: Option<Timestamp>, now: Now) {
        let at = at.filter(|at| *at > self.ledger.last_time());
        self.deadline = at.map(|at| Deadline { at, expected: Instant::default() });
        self.estimate_deadline(now);
    }

    /// Places the deadline on the monotonic clock; the wall clock may have jumped.
    pub(crate) fn estimate_deadline(&mut self, now: Now) {
        if let Some(deadline) = &mut self.deadline {
            let remaining = Duration::from_nanos(deadline.at.0.saturating_sub(now.wall.0));
            deadline.expected = now.instant.plus(remaining);
        }
    }

    /// Sets every timer to what the state asks for.
    pub(crate) fn rearm(&mut self, now: Now, effects: &mut Effects) {
        let request = self.patience_ends().map(|(at, _)| at);
        let proposes = match self.deadline {
            _ if !self.may_propose() => None,
            _ if self.waiting.has_unproposed() => self.held_until(),
            deadline => deadline.filter(|deadline| deadline.at > now.wall).map(|deadline| deadline.expected),
        };
        self.timers.set(Timer::Request, request, effects);
        self.timers.set(Timer::ViewChange, self.view.deadline, effects);
        self.timers.set(Timer::Status, Some(self.status.next()), effects);
        self.timers.set(Timer::Deadline, proposes, effects);
    }

    /// Whether nobody is to blame for what waits: a view change is going on, this replica recovers, or all up to H is
    /// executed.
    fn blames_nobody(&self) -> bool {
        self.view.pending.is_some() || self.recovery.is_some() || self.last_executed >= self.high()
    }

    /// Since when the oldest of what the primary may be blamed for waits, on the clock of patience. An uncommitted
    /// certificate counts as a waiting request, and so does an empty batch.
    pub(crate) fn oldest_waiting(&self) -> Option<Instant> {
        if self.blames_nobody() {
            return None;
        }
        let uncommitted = self.log.above(self.last_executed).take(SLOTS).find_map(|(_, slot)| slot.due_since);
        [self.waiting.oldest(), uncommitted].into_iter().flatten().min()
    }

    /// When this replica gives its primary up, and why.
    fn patience_ends(&self) -> Option<(Instant, ViewChangeReason)> {
        if self.blames_nobody() {
            return None;
        }
        let request = self
            .oldest_waiting()
            .map(|since| (self.patience.end(since, self.view.timeout), ViewChangeReason::RequestTimeout));
        let overdue = self.deadline.filter(|_| !mutant!("idle-primary-kept")).map(|deadline| {
            let since = deadline.expected.max(self.patience.when(self.patience.from));
            (since.plus(self.parameters().clock_bound), ViewChangeReason::DeadlineOverdue)
        });
        [request, overdue].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The timer that measures the oldest waiting request has expired; other progress has not reset it (fault 25).
    pub(crate) fn on_request_timeout(&mut self, now: Now, effects: &mut Effects) {
        let due = self.patience_ends().filter(|(at, _)| *at <= now.instant);
        if let Some((_, reason)) = due {
            self.start_view_change(self.view.active.next(), reason, now, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pbft_crypto::{SecretKey, Signer as _};
    use pbft_messages::{Configuration, Member, Parameters, ReplicaId};

    use super::*;
    use crate::{Effect, Input, LeftBehind, Report, initial_records};

    fn key(replica: u16) -> SecretKey {
        SecretKey::from_seed(&[replica as u8 + 1; 32])
    }

    fn configuration() -> Configuration {
        let members = (0..4).map(|replica| Member {
            key: key(replica).public_key(),
            peer_address: ([127, 0, 0, 1], 1000 + replica).into(),
            client_address: ([127, 0, 0, 1], 2000 + replica).into(),
        });
        Configuration::new("test".into(), members.collect(), [], Parameters::default()).unwrap()
    }

    /// Fault 24: no request waits, and the primary does not tell the service the time that it asked for.
    #[test]
    fn fault_24_a_silent_idle_primary_is_replaced() {
        let (configuration, mut effects) = (Arc::new(configuration()), Effects::new());
        let bound = configuration.parameters().clock_bound;
        let deadline = Duration::from_secs(60);
        let left = LeftBehind {
            records: initial_records(),
            next_deadline: Some(Timestamp(deadline.as_nanos() as u64)),
            ..LeftBehind::default()
        };
        let (me, signer) = (ReplicaId(1), Arc::new(key(1)));
        let started = Replica::start(configuration, me, signer, left, Now::default(), &mut effects);
        let mut backup = started.unwrap();
        let overdue = Instant::after_start(deadline + bound);
        let timer = Effect::SetTimer { timer: Timer::Request, at: Some(overdue) };
        assert!(Vec::from(effects).contains(&timer));
        let now = Now { instant: overdue, wall: Timestamp((deadline + bound).as_nanos() as u64) };
        let mut effects = Effects::new();
        backup.handle(now, Input::Timer(Timer::Request), &mut effects);
        let reason = ViewChangeReason::DeadlineOverdue;
        let leaves = Report::ViewChange { view: backup.view.active.next(), reason };
        assert!(Vec::from(effects).contains(&Effect::Report(leaves)));
    }
}
