//! A link's events that wait for the caller, bounded in number and in bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::LinkEvent;

/// The caller has dropped the events.
#[derive(Debug)]
pub(super) struct Abandoned;

/// The putting end, for one task.
#[derive(Debug)]
pub(super) struct Waiting {
    queue: mpsc::Sender<LinkEvent>,
    bytes: usize,
    /// The sizes of the events that wait, the newest last, and of some that were taken since.
    sizes: Mutex<VecDeque<usize>>,
}

impl Waiting {
    /// A queue of so many events and so many bytes. One frame is always let in, whatever its size.
    pub(super) fn new(events: usize, bytes: usize) -> (Self, mpsc::Receiver<LinkEvent>) {
        let (queue, receiver) = mpsc::channel(events.max(1));
        (Self { queue, bytes, sizes: Mutex::default() }, receiver)
    }

    /// Waits until there is room, and puts an event there.
    pub(super) async fn put(&self, event: LinkEvent) -> Result<(), Abandoned> {
        let size = match &event {
            LinkEvent::Frame(frame) => frame.len(),
            _ => 0,
        };
        // The receiver counts places and not bytes, so room for bytes is waited for as the places that the oldest
        // events leave.
        let places = self.queue.max_capacity() - self.others(size);
        let mut permits = self.queue.reserve_many(places).await.map_err(|_| Abandoned)?;
        if let Some(permit) = permits.next() {
            self.sizes.lock().unwrap_or_else(PoisonError::into_inner).push_back(size);
            permit.send(event);
        }
        Ok(())
    }

    /// How many events may wait besides one of this size: of the newest, as many as fit.
    fn others(&self, size: usize) -> usize {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let most = self.queue.max_capacity();
        let taken = sizes.len().saturating_sub(most - self.queue.capacity());
        sizes.drain(..taken);
        let Some(mut left) = self.bytes.checked_sub(size) else { return 0 };
        let fitting = sizes.iter().rev().take_while(|other| {
            let rest = left.checked_sub(**other);
            left = rest.unwrap_or(0);
            rest.is_some()
        });
        let fitting = fitting.count();
        // If all that wait fit, there is nothing to wait for but a place.
        if fitting == sizes.len() { most - 1 } else { fitting.min(most - 1) }
    }

    /// Waits until the caller has dropped the events.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;

    use super::*;

    fn frame(size: usize) -> LinkEvent {
        LinkEvent::Frame(Bytes::from(vec![0; size]))
    }

    /// Whether there is room now.
    fn fits(waiting: &Waiting, event: LinkEvent) -> bool {
        let put = pin!(waiting.put(event));
        matches!(put.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
    }

    #[test]
    fn frames_wait_within_both_bounds() {
        let (waiting, mut events) = Waiting::new(4, 100);
        assert!(fits(&waiting, LinkEvent::Connected));
        assert!(fits(&waiting, frame(60)) && fits(&waiting, frame(40)) && !fits(&waiting, frame(1)));
        assert!(fits(&waiting, LinkEvent::Disconnected) && !fits(&waiting, LinkEvent::Connected));
        // The first event has no bytes, so the second must be taken too.
        events.try_recv().unwrap();
        assert!(!fits(&waiting, frame(60)));
        events.try_recv().unwrap();
        assert!(!fits(&waiting, frame(61)) && fits(&waiting, frame(60)));
        // A frame above the bound waits until nothing else does, and is let in then.
        assert!(!fits(&waiting, frame(1000)));
        while events.try_recv().is_ok() {}
        assert!(fits(&waiting, frame(1000)) && !fits(&waiting, frame(1)));
        events.try_recv().unwrap();
        assert!(fits(&waiting, frame(1)));
        drop(events);
        assert!(!fits(&waiting, frame(1)));
    }
}
