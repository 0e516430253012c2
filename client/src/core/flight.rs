//! One submission on its way: who was asked, what they answered, and when to ask again.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::{RngExt as _, rngs::StdRng};

use pbft_messages::{ClientMessage, Configuration, ReplicaId};

use super::votes::Votes;
use super::{Settings, Ticket};

/// How often in a row a busy primary may put a submission off before all replicas are asked: a lying primary that
/// calls itself busy delays a request, but does not censor it.
const REBUFFS: u32 = 4;

/// Whom a submission was last sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressed {
    /// This replica alone, which was believed to be the primary.
    Primary(ReplicaId),
    /// Every replica.
    All,
}

/// A submission that was signed and sent, and is not wholly answered.
#[derive(Debug)]
pub(super) struct Flight {
    /// Whose it is; `None` for the session's opening.
    pub(super) ticket: Option<Ticket>,
    /// The signed message. It is sent again as it is, never signed anew.
    pub(super) message: ClientMessage,
    /// The answers to each request; `None` once it is answered for good.
    pub(super) votes: Vec<Option<Votes>>,
    /// When to send it again.
    pub(super) due: Duration,
    addressed: Addressed,
    /// Whether the next sending goes to the primary alone again, since somebody was busy.
    back_off: bool,
    /// Until when it was to wait when it was sent again early, if it was.
    hurried: Option<Duration>,
    /// Who has said since the last sending that they are busy.
    busy: BTreeSet<ReplicaId>,
    /// Whose last word about it was that they are busy.
    pub(super) shed_by: BTreeSet<ReplicaId>,
    /// How often in a row a busy primary put it off.
    rebuffs: u32,
    /// How often a busy primary put it off in all: each pause is longer than the one before.
    pauses: u32,
    /// How often it went to all.
    broadcasts: u32,
}

impl Flight {
    pub(super) fn new(ticket: Option<Ticket>, message: ClientMessage, votes: Vec<Option<Votes>>) -> Self {
        Self {
            ticket,
            message,
            votes,
            due: Duration::ZERO,
            // Every flight is sent right after it is made, which sets these.
            addressed: Addressed::All,
            back_off: true,
            hurried: None,
            busy: BTreeSet::new(),
            shed_by: BTreeSet::new(),
            rebuffs: 0,
            pauses: 0,
            broadcasts: 0,
        }
    }

    /// Decides whom to send to now, and when to look again.
    ///
    /// The first sending goes to `primary`, unless it is known to be out of reach; later ones go to all, except
    /// after a busy replica's request for patience.
    pub(super) fn address(
        &mut self,
        now: Duration,
        primary: ReplicaId,
        primary_reachable: bool,
        settings: &Settings,
        random: &mut StdRng,
    ) -> Addressed {
        self.busy.clear();
        self.hurried = None;
        let interval = if std::mem::take(&mut self.back_off) && primary_reachable {
            self.addressed = Addressed::Primary(primary);
            settings.retry_after
        } else {
            self.addressed = Addressed::All;
            self.rebuffs = 0;
            self.broadcasts += 1;
            doubled(settings.retry_after, self.broadcasts, settings.retry_cap)
        };
        self.due = now + jittered(interval, random);
        self.addressed
    }

    /// Whether the next sending is to all because nobody answered.
    pub(super) fn goes_to_all(&self) -> bool {
        !self.back_off
    }

    /// Whether somebody has said since the last sending that they are busy: perhaps nobody has it.
    pub(super) fn is_shed(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Whether it waits to be sent to the primary alone, which was busy.
    pub(super) fn backs_off(&self) -> bool {
        self.back_off
    }

    /// The next sending goes to the primary alone.
    pub(super) fn spare_others(&mut self) {
        self.back_off = true;
    }

    /// Gives the primary the same time once more.
    pub(super) fn put_off(&mut self, now: Duration, settings: &Settings, random: &mut StdRng) {
        self.due = now + jittered(settings.retry_after, random);
    }

    /// It is sent to the primary before its time. If that is busy still, the pause goes on as if nothing had been sent.
    pub(super) fn hurry(&mut self, pause_ends: Duration) {
        self.hurried = Some(pause_ends);
    }

    /// Takes note that `from` did not take the submission.
    ///
    /// A busy primary gets a little time, more each time, and is asked again, alone. Once all were asked, f+1 busy replicas mean
    /// that the cluster truly has too much to do: then the next try is the primary's alone as well, after the
    /// longer interval that is set already. Fewer mean nothing.
    pub(super) fn on_busy(
        &mut self,
        now: Duration,
        from: ReplicaId,
        configuration: &Configuration,
        settings: &Settings,
        random: &mut StdRng,
    ) {
        if from.index() >= configuration.n() || !self.busy.insert(from) {
            return;
        }
        self.shed_by.insert(from);
        match self.addressed {
            Addressed::Primary(primary) if from == primary && self.hurried.is_some_and(|end| end > now) => {
                self.back_off = true;
                self.due = self.hurried.take().unwrap_or(now);
            }
            Addressed::Primary(primary) if from == primary && self.rebuffs < REBUFFS => {
                self.back_off = true;
                let pause = doubled(settings.busy_after, self.pauses, settings.retry_cap);
                self.rebuffs += 1;
                self.pauses = self.pauses.saturating_add(1);
                self.due = now + jittered(pause, random);
            }
            Addressed::All if configuration.weak_quorum().reached(self.busy.len()) => self.back_off = true,
            _ => {}
        }
    }

    /// The place of the first request that is not answered; `None` if all are.
    pub(super) fn first_unanswered(&self) -> Option<usize> {
        self.votes.iter().position(Option::is_some)
    }
}

/// `base` doubled `times` times, at most `cap`.
fn doubled(base: Duration, times: u32, cap: Duration) -> Duration {
    base.saturating_mul(1 << times.min(16)).min(cap.max(base))
}

/// Up to a quarter more than `interval`.
fn jittered(interval: Duration, random: &mut StdRng) -> Duration {
    interval + interval.mul_f64(random.random_range(0.0..0.25))
}
