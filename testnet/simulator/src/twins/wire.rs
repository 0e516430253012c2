//! The partitions: who hears whom, by the view and the phase that a message belongs to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use pbft_messages::{PeerMessage, View};

use super::Round;
use crate::phase::{Phase, Place, place};
use crate::{Fate, InstanceId, Wire};

/// How many batches a view gets through. The requests are more, so each view but the last leaves some waiting, whose
/// timers lead to the next.
pub(super) const BATCHES: u64 = 2;

/// For how long a round parts its VIEW-CHANGEs. A view that no block has a quorum for would otherwise be asked for for
/// ever, and no later round would ever come.
const ASKING: Duration = Duration::from_millis(600);

/// Which round's partition governs which phase of view v.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// Round v's governs all of view v.
    Whole,
    /// PREPAREs are parted as in the next round: of those who accepted a batch, few prepare it.
    LatePrepares,
    /// COMMITs, and what follows them, are parted as in the next round: of those who prepared a batch, few decide it.
    LateCommits,
}

impl Schedule {
    /// Each scenario is played by all of them.
    pub(super) const ALL: [Self; 3] = [Self::Whole, Self::LatePrepares, Self::LateCommits];

    /// How many rounds after v the one is that governs a phase of view v.
    fn later(self, phase: Phase) -> u64 {
        match (self, phase) {
            (Self::LatePrepares, Phase::Prepare) => 1,
            (Self::LateCommits, Phase::Commit | Phase::Checkpoint) => 1,
            _ => 0,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Whole => "the schedule of whole views",
            Self::LatePrepares => "the schedule of late PREPAREs",
            Self::LateCommits => "the schedule of late COMMITs",
        })
    }
}

/// Delivers inside a block only. The last round is followed by the first; after the last view nobody is parted.
pub(super) struct Parted {
    rounds: Vec<Round>,
    schedule: Schedule,
    /// The highest view that each instance has spoken in: what belongs to none belongs there.
    spoken: BTreeMap<InstanceId, View>,
    /// When each view was asked for first.
    asked: BTreeMap<View, Duration>,
}

impl Parted {
    pub(super) fn new(rounds: &[Round], schedule: Schedule) -> Self {
        Self { rounds: rounds.to_vec(), schedule, spoken: BTreeMap::new(), asked: BTreeMap::new() }
    }

    fn passes(&mut self, now: Duration, from: InstanceId, to: InstanceId, message: &PeerMessage) -> bool {
        let spoken = self.spoken.entry(from).or_default();
        let (phase, view) = match place(message) {
            Some(Place { phase: Phase::Checkpoint, .. }) | None => (Phase::Checkpoint, *spoken),
            Some(Place { phase, view, .. }) => {
                *spoken = view.max(*spoken);
                (phase, view)
            }
        };
        let rounds = self.rounds.len() as u64;
        if view.0 >= rounds {
            return true;
        }
        if phase == Phase::ViewChange && now >= *self.asked.entry(view).or_insert(now) + ASKING {
            return true;
        }
        if let (PeerMessage::Proposal(..), Some(Place { sequence, .. })) = (message, place(message))
            && sequence.0 > BATCHES * (view.0 + 1)
        {
            return false;
        }
        let round = (view.0 + self.schedule.later(phase)) % rounds;
        // It is below the number of rounds.
        self.rounds[round as usize].together(from.0, to.0)
    }
}

impl Wire for Parted {
    fn peer(&mut self, now: Duration, from: InstanceId, to: InstanceId, message: &PeerMessage) -> Fate {
        if self.passes(now, from, to, message) { Fate::Pass } else { Fate::Lose }
    }
}
