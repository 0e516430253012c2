//! Every timer by name, in one table. Expiry is an input like any other.

use crate::{Effect, Effects, Instant};

/// A timer of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The oldest waiting request, or a service deadline, has waited too long (VC1).
    Request,
    /// A view change that a quorum asked for has not ended (VC7).
    ViewChange,
    /// Time to tell the others where this replica stands, and to ask again for what has not come (C4).
    Status,
    /// The service's next deadline: an idle primary proposes an empty timed batch (N6). Or the end of the time for which
    /// a busy one holds requests back, to fill a batch (N7).
    Deadline,
}

impl Timer {
    /// All timers.
    pub const ALL: [Self; 4] = [Self::Request, Self::ViewChange, Self::Status, Self::Deadline];
}

/// When each timer expires, if it runs.
#[derive(Debug, Default)]
pub(crate) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    /// Sets or stops a timer; says so to the driver only if that changes anything.
    pub(crate) fn set(&mut self, timer: Timer, at: Option<Instant>, effects: &mut Effects) {
        if self.0[timer as usize] != at {
            self.0[timer as usize] = at;
            effects.push(Effect::SetTimer { timer, at });
        }
    }

    /// Notes that a timer has expired. An expiry that was overtaken by a newer setting is ignored.
    pub(crate) fn expired(&mut self, timer: Timer, now: Instant) -> bool {
        let due = self.0[timer as usize].is_some_and(|at| at <= now);
        if due {
            self.0[timer as usize] = None;
        }
        due
    }
}
