//! Guarantees, and how it is told that one was broken.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// What a run is checked against. The numbers are those of the catalogue of faults and of the protocol's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Invariant {
    /// Agreement: no two correct replicas execute different batches at one sequence, or reach different states.
    I1,
    /// Validity: what is executed was signed by an admitted client.
    I2,
    /// Exactly once: no request is executed at two places.
    I3,
    /// Linearizability of what clients see.
    I4,
    /// An acknowledged operation is never lost.
    I5,
    /// Certificates in use verify, and none conflict.
    I6,
    /// Every queue and log is within its bound.
    I7,
    /// After the faults, what waits is executed. Where nothing is in its way a request is answered in time, and load
    /// alone changes no view (N8).
    I8,
    /// Contradictory signed statements give evidence, and nobody correct is accused.
    I9,
    /// An unordered read shows the state after some sequence, and no older one than the client knew of; and a client
    /// follows no view that only faulty replicas claim.
    N5,
    /// The agreed time is the same everywhere and rises.
    N6,
    /// A COMMIT leaves when its certificate and body are durable, and not before.
    D1,
    /// A PRE-PREPARE or PREPARE leaves when a reservation of its view that covers it is durable, and not before.
    D2,
    /// A VIEW-CHANGE and a NEW-VIEW leave when their exact bytes are durable, and a vote when the entry of its view is, and
    /// not before; and of a view that was left nothing new is said.
    D3,
    /// A batch is executed when it is noted as committed, and not before.
    D4,
    /// The log goes when a stable certificate that covers it is durable, and a snapshot at or above that, and not before.
    D5,
    /// A CHECKPOINT leaves when its snapshot is durable; and a lower stable checkpoint never takes the place of a higher
    /// one on disk.
    C1,
    /// Views never go down.
    VC8,
    /// A replica stops though nothing is wrong with it.
    Halt,
    /// Nothing that is received makes the code panic.
    Panic,
}

impl fmt::Display for Invariant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// A guarantee that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// When.
    pub at: Duration,
    /// In which of the run's events, counted from 1.
    pub step: u64,
    /// What happened, in words.
    pub text: String,
}

impl Violation {
    /// The one that says most: one lie breaks several guarantees at about the same time, and the first of the list
    /// weighs most.
    #[must_use]
    pub fn weightiest(violations: &[Self]) -> Option<&Self> {
        violations.iter().min_by_key(|it| it.invariant)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, at, step, text } = self;
        write!(formatter, "{invariant} at {:.4} s, step {step}: {text}", at.as_secs_f64())
    }
}
