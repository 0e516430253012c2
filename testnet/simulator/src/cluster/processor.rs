//! Processors that starve (row 61 of the catalogue of faults).

use std::time::Duration;

use super::{Cluster, Event};
use crate::InstanceId;

impl Cluster {
    /// Lets an instance's processor take so long for each input, of which the next ones wait; zero ends it.
    pub fn starve(&mut self, instance: impl Into<InstanceId>, each: Duration) {
        self.instances[instance.into().0].starved = (each > Duration::ZERO).then_some((each, self.now));
    }

    /// Until when an event waits for the processor; takes the processor if it is free.
    pub(super) fn is_kept_waiting(&mut self, event: &Event) -> Option<Duration> {
        let (Event::Arrival { to: at, .. } | Event::Request { to: at, .. } | Event::Local { at, .. }) = event
        else {
            return None;
        };
        let (each, free_at) = self.instances[at.0].starved.as_mut()?;
        if *free_at > self.now {
            return Some(*free_at);
        }
        *free_at = self.now + *each;
        None
    }
}
