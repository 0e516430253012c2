//! Power cuts at a chosen step of a replica: right after it issues a write or answers a client, when a write has become
//! durable, and when what waited for it is done.

use std::time::Duration;

use pbft_protocol::Effect;

use super::{Cluster, Event};
use crate::InstanceId;

/// How long the power is gone.
const OUTAGE: Duration = Duration::from_millis(20);

/// When the power goes, for whom, and what their disks had written by then.
#[derive(Clone, Debug)]
pub struct PowerCut {
    /// By whose steps it is timed.
    pub at: InstanceId,
    /// After how many of them.
    pub step: usize,
    /// How many of the writes that were not synced survive, oldest first: a disk may be further than it has said.
    pub survive: usize,
    /// Who loses power.
    pub victims: Vec<InstanceId>,
}

/// Whether the power may go right after this effect.
pub(super) fn is_step(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Persist { .. }
            | Effect::Note(_)
            | Effect::Collect { .. }
            | Effect::Snapshot { .. }
            | Effect::Gather { .. }
            | Effect::KeepChunk(_)
            | Effect::Install(_)
            | Effect::Reply { .. }
            | Effect::AnswerRead { .. }
    )
}

impl Cluster {
    /// Plans a power cut, beside those that are planned. The power comes back by itself, and with it those that lost it.
    pub fn cut_power(&mut self, cut: PowerCut) {
        self.power_cuts.push(cut);
    }

    /// Whether every planned power cut has come.
    #[must_use]
    pub fn power_was_cut(&self) -> bool {
        self.power_cuts.is_empty()
    }

    /// How many power cuts have come.
    #[must_use]
    pub fn power_cuts_come(&self) -> u64 {
        self.power_cuts_come
    }

    /// Gives up the power cuts that have not come.
    pub fn cancel_power_cuts(&mut self) {
        self.power_cuts.clear();
    }

    /// The steps that a replica has taken so far: for each, how many of its writes were not synced then.
    #[must_use]
    pub fn steps(&self, instance: impl Into<InstanceId>) -> &[usize] {
        &self.instances[instance.into().0].steps
    }

    /// A replica has taken a step, unless its power went in the one before.
    pub(super) fn step(&mut self, replica: InstanceId) {
        let instance = &mut self.instances[replica.0];
        if instance.running.is_none() {
            return;
        }
        instance.steps.push(instance.disk.unsynced());
        let taken = instance.steps.len();
        let due = |cut: &mut PowerCut| cut.at == replica && cut.step == taken;
        let cuts: Vec<_> = self.power_cuts.extract_if(.., due).collect();
        for PowerCut { victims, survive, .. } in cuts {
            self.power_cuts_come += 1;
            for victim in victims {
                let instance = &mut self.instances[victim.0];
                if instance.running.is_some() {
                    instance.disk.sync_oldest(survive);
                    self.crash(victim);
                    let run = self.instances[victim.0].run;
                    self.plan(OUTAGE, Event::PowerReturns { at: victim, run });
                }
            }
        }
    }

    /// The power is back: whoever lost it starts, unless somebody has started or stopped it meanwhile.
    pub(super) fn on_power_returned(&mut self, replica: InstanceId, run: u64) {
        let instance = &self.instances[replica.0];
        if instance.running.is_none() && instance.run == run {
            self.start(replica);
        }
    }
}
