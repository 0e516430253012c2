//! The events of this run, the newest of them in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use pbft_messages::{ReplicaId, Timestamp};
use pbft_protocol::Report;

use super::{EventLine, Metrics, narrate::narrate};

/// How many events are kept in memory: some ten seconds' worth under full load.
const KEPT: usize = 100_000;

/// The log. Cloning gives another handle on it.
#[derive(Clone)]
pub(crate) struct EventLog(Arc<Shared>);

struct Shared {
    replica: ReplicaId,
    metrics: Arc<Metrics>,
    ring: Mutex<Ring>,
    /// How many events there were; followers wait for it to change.
    recorded: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    /// The number of the oldest event that is kept.
    first: u64,
    events: VecDeque<(Timestamp, Report)>,
}

/// A piece of the log.
pub(crate) struct Read {
    /// How many events before the first of these were no longer kept.
    pub(crate) skipped: u64,
    /// The events.
    pub(crate) lines: Vec<EventLine>,
    /// Where to go on reading.
    pub(crate) next: u64,
}

impl EventLog {
    /// An empty log.
    pub(crate) fn new(replica: ReplicaId, metrics: Arc<Metrics>) -> Self {
        let recorded = watch::Sender::new(0);
        Self(Arc::new(Shared { replica, metrics, ring: Mutex::default(), recorded }))
    }

    /// Records an event: the one way into logs, metrics, the file and the control socket.
    pub(crate) fn record(&self, time: Timestamp, report: Report) {
        narrate(self.0.replica, &report);
        self.0.metrics.observe(&report);
        let recorded = {
            let mut ring = self.ring();
            if ring.events.len() == KEPT {
                ring.events.pop_front();
                ring.first += 1;
            }
            ring.events.push_back((time, report));
            ring.first + ring.events.len() as u64
        };
        self.0.recorded.send_replace(recorded);
    }

    /// Reads up to `most` events, from number `from` on, or from the oldest that is kept.
    pub(crate) fn read(&self, from: u64, most: usize) -> Read {
        let ring = self.ring();
        let start = from.clamp(ring.first, ring.first + ring.events.len() as u64);
        let lines: Vec<_> = (start..)
            // The offset is below the number of kept events, which is a usize.
            .zip(ring.events.iter().skip((start - ring.first) as usize).take(most))
            .map(|(count, (time, report))| EventLine {
                replica: self.0.replica,
                count,
                time: *time,
                report: report.clone(),
            })
            .collect();
        Read { skipped: start.saturating_sub(from), next: start + lines.len() as u64, lines }
    }

    /// Tells when there are more events than before.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.0.recorded.subscribe()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing under the lock panics half-way, so a poisoned lock still guards a whole ring.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(read: &Read) -> Vec<u64> {
        read.lines.iter().map(|line| line.count).collect()
    }

    #[test]
    fn readers_go_on_where_they_were_and_learn_what_they_missed() {
        let log = EventLog::new(ReplicaId(0), Arc::default());
        (0..3).for_each(|time| log.record(Timestamp(time), Report::Shed));
        let read = log.read(0, 2);
        assert_eq!((counts(&read), read.next, read.skipped), (vec![0, 1], 2, 0));
        assert_eq!(counts(&log.read(read.next, 10)), [2]);
        assert!(log.read(9, 10).lines.is_empty());
        (0..KEPT as u64).for_each(|time| log.record(Timestamp(time), Report::Shed));
        let read = log.read(1, 1);
        assert_eq!((counts(&read), read.skipped), (vec![3], 2));
        assert_eq!(*log.watch().borrow(), KEPT as u64 + 3);
    }
}
