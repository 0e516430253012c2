//! What all workers of a run write down, in one place: so their number costs no memory.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pbft_messages::Sequence;

use crate::journal::{Journal, Write};
use crate::outcome::Failed;
use crate::request::{Request, Told};
use crate::settings::Extent;
use crate::tally::{Kind, Tally};
use crate::timeline::Timeline;

/// What is measured and learned.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) tally: Tally,
    pub(crate) timeline: Timeline,
    pub(crate) journal: Journal,
    /// When the last counted answer came.
    pub(crate) last_answer: Option<Instant>,
    /// The connections that ended early, since their sessions had expired.
    pub(crate) sessions_lost: BTreeSet<usize>,
    measured_from: Instant,
}

impl Ledger {
    /// `journal` holds what was written before.
    pub(crate) fn new(extent: Extent, journal: Journal, measured_from: Instant) -> Self {
        Self {
            tally: Tally::default(),
            timeline: Timeline::new(extent),
            journal,
            last_answer: None,
            sessions_lost: BTreeSet::new(),
            measured_from,
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self, request: Request, sequence: Sequence, told: Told) {
        if let Some(number) = request.write() {
            let write = Write { number, revision: told.revision, sequence };
            self.journal.acknowledge(request.key(), write);
        }
    }

    /// A request that counts was answered then.
    pub(crate) fn count(&mut self, kind: Kind, found: bool, latency: Duration, at: Instant) {
        self.tally.series_mut(kind).record(latency);
        self.tally.not_found += u64::from(!found);
        self.timeline.answered(at.saturating_duration_since(self.measured_from), latency);
        self.last_answer = self.last_answer.max(Some(at));
    }

    /// A request was given up then.
    pub(crate) fn failed(&mut self, request: Request, counts: bool, failed: Failed, at: Instant) {
        if failed.unknown
            && let Some(number) = request.write()
        {
            self.journal.doubt(request.key(), number);
        }
        if counts {
            let series = self.tally.series_mut(request.kind());
            *if failed.unknown { &mut series.unknown } else { &mut series.failed } += 1;
            *self.tally.errors.entry(failed.name).or_default() += 1;
            self.timeline.unanswered(at.saturating_duration_since(self.measured_from));
        }
    }
}
