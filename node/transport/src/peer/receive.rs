//! What a replica receives from the others, for the caller to take.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use tokio::sync::mpsc;

use pbft_messages::ReplicaId;

use super::PeerEvent;
use crate::inbox::InboxReceiver;

/// A frame, and who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFrame {
    /// The replica whose key authenticated the connection.
    pub from: ReplicaId,
    /// The bytes that it sent.
    pub frame: Bytes,
}

/// The receiving ends of a [`super::PeerNetwork`]. They are separate so that the caller can take votes first.
#[derive(Debug)]
pub struct PeerReceivers {
    /// Frames of the vote lane.
    pub votes: LaneReceiver,
    /// Frames of the bulk lane.
    pub bulk: LaneReceiver,
    /// Changes of the links. A frame can be taken before the event that its link is up.
    pub links: mpsc::Receiver<PeerEvent>,
}

/// Frames of one lane, from all peers in turn.
///
/// Each peer has a queue of its own, so one that floods fills its own queue, and delays another's next frame by no
/// more than one frame.
#[derive(Debug)]
pub struct LaneReceiver {
    queues: Vec<(ReplicaId, InboxReceiver<Bytes>)>,
    /// The queue to look at first.
    next: usize,
}

impl LaneReceiver {
    pub(super) fn new(queues: Vec<(ReplicaId, InboxReceiver<Bytes>)>) -> Self {
        Self { queues, next: 0 }
    }

    /// Waits for the next frame; `None` after the network was shut down and all frames are taken (and if there are
    /// no peers). Dropping the future loses no frame.
    pub async fn recv(&mut self) -> Option<PeerFrame> {
        poll_fn(|context| {
            let mut ended = 0;
            for turn in 0..self.queues.len() {
                let place = (self.next + turn) % self.queues.len();
                let (from, queue) = &mut self.queues[place];
                match queue.poll(context) {
                    Poll::Ready(Some(frame)) => {
                        self.next = place + 1;
                        return Poll::Ready(Some(PeerFrame { from: *from, frame }));
                    }
                    Poll::Ready(None) => ended += 1,
                    Poll::Pending => {}
                }
            }
            if ended == self.queues.len() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    /// Takes the next frame if there is one.
    pub fn try_recv(&mut self) -> Option<PeerFrame> {
        (0..self.queues.len()).find_map(|turn| {
            let place = (self.next + turn) % self.queues.len();
            let (from, queue) = &mut self.queues[place];
            let frame = queue.try_take()?;
            self.next = place + 1;
            Some(PeerFrame { from: *from, frame })
        })
    }
}
