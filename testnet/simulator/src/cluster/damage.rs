//! Disks that fail (rows 14 to 17 and 20 of the catalogue of faults).
//!
//! Of the store, what counts is modelled: a write is there whole or not at all, since each is one transaction whose
//! checksum tells a torn one; a record or chunk that has rotted or lies elsewhere is found by its checksum when the
//! replica starts, which then refuses; a failed sync stops the replica before anything is told that waited for it.

use super::Cluster;
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
}
