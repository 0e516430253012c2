//! What broke, and how to see it again.

use std::io;

use serde::Serialize;

use pbft_simulator::{Invariant, Violation};

use crate::arguments::Format;
use crate::output::result;
use crate::sim::meaning;

/// The most cases that are told one by one.
const TOLD: usize = 20;

/// The cases that broke a guarantee: all are counted, the first are told.
#[derive(Default, Serialize)]
pub(super) struct Findings {
    broken: usize,
    violations: Vec<Broken>,
}

/// A case that broke a guarantee.
#[derive(Serialize)]
pub(super) struct Broken {
    case: String,
    invariant: Invariant,
    step: u64,
    at_seconds: f64,
    text: String,
    /// Why that had to be expected, if it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    replay: String,
}

impl Findings {
    /// Takes a case; `replay` is the command that plays it again.
    pub(super) fn note(
        &mut self,
        case: String,
        violations: &[Violation],
        reason: Option<String>,
        replay: String,
    ) {
        let weightiest = Violation::weightiest(violations).cloned();
        let Some(Violation { invariant, at, step, text }) = weightiest else { return };
        self.broken += 1;
        if self.violations.len() < TOLD {
            let at_seconds = at.as_secs_f64();
            self.violations.push(Broken { case, invariant, step, at_seconds, text, reason, replay });
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.broken
    }

    /// How many are told one by one.
    pub(super) fn told(&self) -> usize {
        self.violations.len()
    }

    /// Those that are told, from one on.
    pub(super) fn since(&self, told: usize) -> impl Iterator<Item = &Broken> {
        self.violations.iter().skip(told)
    }

    /// Prints those that are told, unless they are a part of the one object of JSON.
    ///
    /// # Errors
    /// As [`result`].
    pub(super) fn print(&self, format: Format) -> io::Result<()> {
        match format {
            Format::Json => Ok(()),
            Format::Simple | Format::Table => self.since(0).try_for_each(|broken| result(&broken.tell())),
        }
    }
}

impl Broken {
    /// In a few lines.
    pub(super) fn tell(&self) -> String {
        let Self { case, invariant, step, at_seconds, text, reason, replay } = self;
        let meaning = meaning(*invariant);
        let reason = reason.as_ref().map(|why| format!("\n  why: {why}")).unwrap_or_default();
        format!(
            "{case} breaks {invariant} at step {step}, {at_seconds:.4} s ({meaning})\n  {text}{reason}\n  again: {replay}"
        )
    }
}
