//! Taking the frames of other replicas.

use std::collections::HashMap;

use pbft_messages::{PeerMessage, ReplicaId};
use pbft_transport::{LaneReceiver, PeerFrame};

use super::check::{Frame, Job, PeerJob};
use super::line::LineId;
use super::pool::{Jobs, Pool};
use super::{Budget, OF_REPLICA};
use crate::inbound::Class;

/// Up to how many votes that came together are checked by the receiving task itself: waking a thread costs about as
/// much as checking one does.
const FEW: usize = 3;
/// How many are looked at together.
const BURST: usize = 32;

/// Takes frames from the vote lane until it ends.
pub(crate) fn receive_votes(mut lane: LaneReceiver, pool: &Pool) -> impl Future<Output = ()> + Send + use<> {
    let mut peers = Peers::new(pool);
    async move {
        let mut burst = Vec::with_capacity(BURST);
        while let Some(frame) = lane.recv().await {
            burst.push(frame);
            while burst.len() < BURST
                && let Some(frame) = lane.try_recv()
            {
                burst.push(frame);
            }
            let few = burst.len() <= FEW;
            burst.drain(..).for_each(|frame| peers.vote(frame, few));
        }
    }
}

/// Takes frames from the bulk lane until it ends.
pub(crate) fn receive_bulk(mut lane: LaneReceiver, pool: &Pool) -> impl Future<Output = ()> + Send + use<> {
    let mut peers = Peers::new(pool);
    async move {
        while let Some(frame) = lane.recv().await {
            peers.bulk(frame);
        }
    }
}

/// One lane's peers and their budgets, one each.
struct Peers {
    jobs: Jobs,
    frame_bytes: usize,
    budgets: HashMap<ReplicaId, Budget>,
}

impl Peers {
    fn new(pool: &Pool) -> Self {
        Self { jobs: pool.jobs(), frame_bytes: pool.frame_bytes(), budgets: HashMap::new() }
    }

    fn vote(&mut self, PeerFrame { from, frame: bytes }: PeerFrame, few: bool) {
        let line = LineId::Votes(from);
        if !(few && self.jobs.is_idle(line)) {
            return self.give(from, line, bytes);
        }
        let Some(room) = self.room(from, &bytes) else { return };
        let frame = self.jobs.checker().decode(&bytes);
        let light = matches!(&frame, Frame::Message(message) if is_light(message));
        let job = PeerJob { from, class: Class::Votes, frame, room };
        if light {
            let checker = self.jobs.checker();
            checker.deliver(checker.check_peer(job));
        } else {
            self.jobs.give([(line, Job::Peer(job))]);
        }
    }

    fn bulk(&mut self, PeerFrame { from, frame }: PeerFrame) {
        self.give(from, LineId::Bulk(from), frame);
    }

    fn give(&mut self, from: ReplicaId, line: LineId, bytes: bytes::Bytes) {
        if let Some(room) = self.room(from, &bytes) {
            let job = PeerJob { from, class: line.class(), frame: Frame::Bytes(bytes), room };
            self.jobs.give([(line, Job::Peer(job))]);
        }
    }

    /// A place for a frame in its sender's budget. Without one the frame is dropped, as a network may: waiting here
    /// would hold up the other replicas, and what matters is sent again.
    fn room(&mut self, from: ReplicaId, frame: &bytes::Bytes) -> Option<crate::inbound::Room> {
        let budget = self.budgets.entry(from).or_insert_with(|| Budget::new(OF_REPLICA, self.frame_bytes));
        let room = budget.try_room(frame);
        if room.is_none() {
            self.jobs.checker().metrics.dropped_peer_frame();
        }
        room
    }
}

/// Whether checking a message takes one signature at most.
fn is_light(message: &PeerMessage) -> bool {
    matches!(
        message,
        PeerMessage::Prepare(..)
            | PeerMessage::Commit(_)
            | PeerMessage::Checkpoint(_)
            | PeerMessage::Status(_)
            | PeerMessage::FetchBody(_)
            | PeerMessage::AskRecovery(_)
            | PeerMessage::FetchPart(_)
            | PeerMessage::NoSnapshot(_)
    )
}
