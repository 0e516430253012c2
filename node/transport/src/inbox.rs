//! The bounded queue of frames that were received and wait for the caller.
//!
//! It is bounded in items and in bytes. A queue of one sender reserves room for a frame's bytes before the frame is
//! read. A queue of many senders reserves it when the frame is complete, as otherwise one that lets frames stall would
//! hold up the others; until then the bytes count in a [`ByteBudget`] of the sender's own. Either way a full queue
//! stops the reading of the stream, and QUIC's flow control stops the sender.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::limits::QueueLimits;

/// The receiving end is gone: nobody wants frames any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned;

/// Room for one frame.
#[derive(Debug)]
pub(crate) struct Room {
    /// Gives the bytes back when it is dropped.
    _permit: OwnedSemaphorePermit,
}

/// So many bytes, to be shared by frames. Cloning gives another handle on the same bytes.
#[derive(Clone, Debug)]
pub(crate) struct ByteBudget {
    bytes: Arc<Semaphore>,
    capacity: u32,
}

impl ByteBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        let capacity = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        // A semaphore cannot count as far as a 32-bit number on 32-bit machines.
        let capacity = capacity.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self { bytes: Arc::new(Semaphore::new(capacity as usize)), capacity }
    }

    /// Waits until there is room for `length` bytes. A frame larger than the whole budget waits for all of it.
    pub(crate) async fn reserve(&self, length: usize) -> Room {
        let length = u32::try_from(length).unwrap_or(u32::MAX).clamp(1, self.capacity);
        let permit = self.bytes.clone().acquire_many_owned(length).await;
        Room { _permit: permit.expect("this semaphore is never closed") }
    }
}

/// The putting end.
#[derive(Debug)]
pub(crate) struct InboxSender<T> {
    queue: mpsc::Sender<(T, Option<Room>)>,
    bytes: ByteBudget,
}

impl<T> Clone for InboxSender<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), bytes: self.bytes.clone() }
    }
}

/// The taking end.
#[derive(Debug)]
pub(crate) struct InboxReceiver<T>(mpsc::Receiver<(T, Option<Room>)>);

/// Makes a queue.
pub(crate) fn inbox<T>(limits: QueueLimits) -> (InboxSender<T>, InboxReceiver<T>) {
    let (sender, receiver) = mpsc::channel(limits.frames.max(1));
    (InboxSender { queue: sender, bytes: ByteBudget::new(limits.bytes) }, InboxReceiver(receiver))
}

impl<T> InboxSender<T> {
    /// Waits until there is room for `length` bytes. A frame larger than the whole queue waits for all of it.
    pub(crate) async fn reserve(&self, length: usize) -> Room {
        self.bytes.reserve(length).await
    }

    /// Waits until there is a place, and puts a frame there.
    pub(crate) async fn put(&self, item: T, room: Room) -> Result<(), Abandoned> {
        self.queue.send((item, Some(room))).await.map_err(|_| Abandoned)
    }

    /// As [`InboxSender::put`], for an item without bytes.
    pub(crate) async fn put_empty(&self, item: T) -> Result<(), Abandoned> {
        self.queue.send((item, None)).await.map_err(|_| Abandoned)
    }
}

impl<T> InboxReceiver<T> {
    /// Takes the next item and gives its room back; `None` when all senders are gone and the queue is empty.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(context).map(|item| item.map(|(item, _room)| item))
    }

    /// As [`InboxReceiver::poll`], without waiting.
    pub(crate) fn try_take(&mut self) -> Option<T> {
        self.0.try_recv().ok().map(|(item, _room)| item)
    }
}
