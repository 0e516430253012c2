//! Datagrams on their way, in the order in which they come out.

use std::collections::BTreeMap;
use std::time::Duration;

/// The most bytes that are on their way at once; what does not fit is lost.
const MOST_BYTES: usize = 64 << 20;

/// Datagrams that come out later. Those that come out at the same time keep their order.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    waiting: BTreeMap<(Duration, u64), T>,
    put: u64,
    bytes: usize,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), put: 0, bytes: 0 }
    }
}

impl<T: AsRef<[u8]>> Waiting<T> {
    /// Lets a datagram come out at `at`.
    pub(super) fn put(&mut self, at: Duration, datagram: T) {
        let bytes = datagram.as_ref().len();
        if self.bytes + bytes <= MOST_BYTES {
            self.bytes += bytes;
            self.waiting.insert((at, self.put), datagram);
            self.put += 1;
        }
    }

    /// The next datagram, if it is out by now.
    pub(super) fn take(&mut self, now: Duration) -> Option<T> {
        let next = self.waiting.first_entry().filter(|next| next.key().0 <= now)?;
        let datagram = next.remove();
        self.bytes -= datagram.as_ref().len();
        Some(datagram)
    }

    /// When the next one comes out.
    pub(super) fn next(&self) -> Option<Duration> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_out_when_due_and_in_order() {
        let (mut waiting, at) = (Waiting::default(), Duration::from_secs);
        for (due, datagram) in [(5, "late"), (3, "first"), (3, "second")] {
            waiting.put(at(due), datagram);
        }
        assert_eq!((waiting.next(), waiting.take(at(2))), (Some(at(3)), None));
        assert_eq!([waiting.take(at(4)), waiting.take(at(4))], [Some("first"), Some("second")]);
        assert_eq!((waiting.take(at(4)), waiting.take(at(5)), waiting.next()), (None, Some("late"), None));
    }

    #[test]
    fn there_is_room_for_so_much_and_no_more() {
        let mut waiting = Waiting::default();
        let half = || vec![0; MOST_BYTES / 2];
        waiting.put(Duration::ZERO, half());
        waiting.put(Duration::ZERO, half());
        waiting.put(Duration::ZERO, vec![0]);
        assert_eq!((0..3).filter_map(|_| waiting.take(Duration::ZERO)).count(), 2);
        waiting.put(Duration::ZERO, half());
        assert!(waiting.take(Duration::ZERO).is_some());
    }
}
