//! Disks that fail and processors that starve (rows 14 to 21, 23 and 61 of the catalogue of faults).
//!
//! Of the store, what counts is modelled: a write is there whole or not at all, since each is one transaction whose
//! checksum tells a torn one; a record or chunk that has rotted or lies elsewhere is found by its checksum when the
//! replica starts, which then refuses; a failed sync stops the replica before anything is told that waited for it.

use std::time::Duration;

use super::{Cluster, Event};
use crate::InstanceId;

impl Cluster {
    /// Kills an instance whose disk has written some of what was not synced, oldest first; the write after them is torn.
    pub fn tear(&mut self, instance: impl Into<InstanceId>, survive: usize) {
        let at = instance.into();
        self.instances[at.0].disk.sync_oldest(survive);
        self.crash(at);
    }

    /// Kills an instance and flips a bit on its disk, or puts a write in the wrong place: started again it finds out, and
    /// refuses until its disk is replaced ([`Cluster::wipe`]). It is faulty, not malicious.
    pub fn damage_disk(&mut self, instance: impl Into<InstanceId>) {
        let at = instance.into();
        self.crash(at);
        self.tell(|| format!("{at}'s disk is damaged"));
        self.instances[at.0].disk.is_damaged = true;
    }

    /// Lets an instance's next sync fail, of a write, a chunk or a snapshot: it halts, and nothing that waited is done.
    pub fn fail_sync(&mut self, instance: impl Into<InstanceId>) {
        self.instances[instance.into().0].disk.fails = true;
    }

    /// Lets an instance's syncs succeed again.
    pub fn mend_sync(&mut self, instance: impl Into<InstanceId>) {
        self.instances[instance.into().0].disk.fails = false;
    }

    pub(super) fn halt_on_disk(&mut self, at: InstanceId) {
        self.tell(|| format!("{at} halts: its disk does not sync"));
        let instance = &mut self.instances[at.0];
        instance.disk.fails = false;
        instance.stop();
    }

    /// Remembers what is on an instance's disk.
    pub fn save_disk(&mut self, instance: impl Into<InstanceId>) {
        let instance = &mut self.instances[instance.into().0];
        instance.saved = Some(instance.disk.image());
    }

    /// Kills an instance and puts back what was on its disk when it was saved, if it was. It does not know what it has
    /// said since: from now on it counts as malicious.
    pub fn roll_back_disk(&mut self, instance: impl Into<InstanceId>) {
        let at = instance.into();
        if let Some(saved) = self.instances[at.0].saved.take() {
            self.crash(at);
            self.tell(|| format!("{at}'s disk is rolled back"));
            self.instances[at.0].disk = saved;
            self.count_as_malicious(at);
        }
    }

    /// Holds back all that is sent over a link, in this direction, for some time; it then comes at once.
    pub fn clog(&mut self, from: impl Into<InstanceId>, to: impl Into<InstanceId>, duration: Duration) {
        self.network.clog(from.into(), to.into(), self.now + duration);
    }

    /// Makes an instance's monotonic clock too fast by so many millionths, or too slow.
    pub fn set_drift(&mut self, instance: impl Into<InstanceId>, drift: i32) {
        let now = self.now;
        let instance = &mut self.instances[instance.into().0];
        instance.pace = instance.pace.drifting(drift, now);
    }

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
