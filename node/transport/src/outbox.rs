//! The bounded queue of frames that wait to be sent on one stream.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::limits::QueueLimits;

/// The frame was dropped, and counted: the queue is full or closed, or the frame is above the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped;

/// What several queues may hold together, in bytes.
#[derive(Debug)]
pub(crate) struct SharedBytes {
    limit: usize,
    held: AtomicUsize,
}

impl SharedBytes {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: AtomicUsize::new(0) }
    }

    /// Takes so many bytes, if there are as many left.
    fn take(&self, bytes: usize) -> bool {
        let more = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A queue that any thread puts frames into without waiting, and one task takes them out of.
#[derive(Debug)]
pub(crate) struct Outbox {
    frame_bytes: usize,
    limits: QueueLimits,
    /// What it holds counts here too.
    shared: Option<Arc<SharedBytes>>,
    state: Mutex<State>,
    filled: Notify,
    sent_frames: AtomicU64,
    sent_bytes: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    open: bool,
}

impl Outbox {
    /// An empty queue, open or closed. A closed queue drops what is put into it.
    pub(crate) fn new(frame_bytes: usize, limits: QueueLimits, open: bool) -> Self {
        Self {
            // A length has four bytes.
            frame_bytes: frame_bytes.min(u32::MAX as usize),
            limits,
            shared: None,
            state: Mutex::new(State { frames: VecDeque::new(), bytes: 0, open }),
            filled: Notify::new(),
            sent_frames: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// The same queue, which shares a bound with others.
    pub(crate) fn sharing(mut self, shared: Arc<SharedBytes>) -> Self {
        self.shared = Some(shared);
        self
    }

    /// Adds a frame at the end.
    pub(crate) fn put(&self, frame: Bytes) -> Result<(), Dropped> {
        if frame.len() > self.frame_bytes {
            tracing::error!(
                length = frame.len(),
                limit = self.frame_bytes,
                "a frame above the limit was not sent"
            );
            return Err(self.count_dropped(1));
        }
        {
            let mut state = self.state();
            let fits = state.frames.is_empty()
                || (state.frames.len() < self.limits.frames
                    && state.bytes.saturating_add(frame.len()) <= self.limits.bytes);
            let shared = |shared: &Arc<SharedBytes>| shared.take(frame.len());
            if !state.open || !fits || !self.shared.as_ref().is_none_or(shared) {
                drop(state);
                return Err(self.count_dropped(1));
            }
            state.bytes += frame.len();
            state.frames.push_back(frame);
        }
        self.filled.notify_one();
        Ok(())
    }

    /// Waits until a frame is there; then moves it and those behind it to `batch`, up to `bytes` in all.
    pub(crate) async fn take(&self, bytes: usize, batch: &mut Vec<Bytes>) {
        loop {
            {
                let mut state = self.state();
                let mut taken = 0;
                while let Some(length) = state.frames.front().map(Bytes::len) {
                    taken += length;
                    if taken > bytes && !batch.is_empty() {
                        break;
                    }
                    state.bytes -= length;
                    self.give_back(length);
                    batch.extend(state.frames.pop_front());
                }
            }
            if !batch.is_empty() {
                return;
            }
            self.filled.notified().await;
        }
    }

    /// Lets frames in.
    pub(crate) fn open(&self) {
        self.state().open = true;
    }

    /// Drops what waits, and whatever comes until the queue is opened again.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.state();
            state.open = false;
            self.give_back(std::mem::take(&mut state.bytes));
            std::mem::take(&mut state.frames).len()
        };
        self.count_dropped(waiting as u64);
    }

    /// Counts frames that the stream took.
    pub(crate) fn count_sent(&self, frames: u64, bytes: u64) {
        self.sent_frames.fetch_add(frames, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Frames and bytes that the stream took so far.
    pub(crate) fn sent(&self) -> (u64, u64) {
        (self.sent_frames.load(Ordering::Relaxed), self.sent_bytes.load(Ordering::Relaxed))
    }

    /// Frames that were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Frames that wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.state().frames.len()
    }

    fn give_back(&self, bytes: usize) {
        if let Some(shared) = &self.shared {
            shared.give_back(bytes);
        }
    }

    fn count_dropped(&self, frames: u64) -> Dropped {
        self.dropped.fetch_add(frames, Ordering::Relaxed);
        Dropped
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No operation under the lock can panic half-way, so a poisoned lock still guards a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QueueLimits = QueueLimits { frames: 3, bytes: 100 };

    fn frame(size: usize) -> Bytes {
        Bytes::from(vec![0; size])
    }

    #[test]
    fn both_bounds_hold() {
        let outbox = Outbox::new(80, LIMITS, true);
        assert_eq!(outbox.put(frame(60)), Ok(()));
        assert_eq!(outbox.put(frame(41)), Err(Dropped));
        assert_eq!(outbox.put(frame(40)), Ok(()));
        assert_eq!(outbox.put(frame(0)), Ok(()));
        assert_eq!(outbox.put(frame(0)), Err(Dropped));
        assert_eq!(outbox.put(frame(81)), Err(Dropped));
        assert_eq!((outbox.waiting(), outbox.dropped()), (3, 3));
    }

    /// R1: what one client leaves unread on many connections has a bound of its own.
    #[tokio::test]
    async fn queues_that_share_a_bound_keep_it_together() {
        let shared = Arc::new(SharedBytes::new(100));
        let outbox = || Outbox::new(80, LIMITS, true).sharing(shared.clone());
        let (first, second) = (outbox(), outbox());
        assert_eq!(first.put(frame(60)), Ok(()));
        assert_eq!((second.put(frame(41)), second.put(frame(40))), (Err(Dropped), Ok(())));
        first.take(60, &mut Vec::new()).await;
        assert_eq!(second.put(frame(60)), Ok(()));
        second.close();
        assert_eq!(first.put(frame(80)), Ok(()));
        drop(first);
        assert_eq!(shared.held.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn batches_are_bounded_and_in_order() {
        let outbox = Outbox::new(80, LIMITS, true);
        for size in [50, 20, 30] {
            outbox.put(frame(size)).unwrap();
        }
        let mut batch = Vec::new();
        outbox.take(70, &mut batch).await;
        assert_eq!(batch.drain(..).map(|frame| frame.len()).collect::<Vec<_>>(), [50, 20]);
        outbox.take(1, &mut batch).await;
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn a_closed_queue_drops_and_counts() {
        let outbox = Outbox::new(80, LIMITS, true);
        outbox.put(frame(1)).unwrap();
        outbox.close();
        assert_eq!(outbox.put(frame(1)), Err(Dropped));
        assert_eq!((outbox.waiting(), outbox.dropped()), (0, 2));
        outbox.open();
        assert_eq!(outbox.put(frame(1)), Ok(()));
    }
}
