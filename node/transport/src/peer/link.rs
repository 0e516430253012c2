//! One connection to a peer, from the hello to its end: two streams out, two streams in, each with a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use quinn::Connection;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Lane;
use super::state::Peer;
use crate::frame::{FrameError, FrameReader, send_all};
use crate::inbox::InboxSender;
use crate::quic::HELLO_TIMEOUT;

/// How a stream of a link ended; all of the link ends with it.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamEnd {
    /// Nobody's fault: the connection is gone, or as good as gone.
    #[error("the connection was lost")]
    Lost,
    /// A frame broke a rule, or the stream did.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream's first byte names no lane, or a lane that another stream has, or did not come.
    #[error("a stream did not say which lane it is")]
    NoLane,
}

impl StreamEnd {
    /// Whether the peer broke a rule.
    pub(super) fn is_offence(&self) -> bool {
        match self {
            Self::Lost => false,
            Self::Frame(error) => error.is_offence(),
            Self::NoLane => true,
        }
    }
}

/// Starts the tasks of a link. They end with the set.
pub(super) fn start(
    peer: &Arc<Peer>,
    inboxes: &[InboxSender<Bytes>; 2],
    connection: &Connection,
) -> JoinSet<StreamEnd> {
    let mut tasks = JoinSet::new();
    let claimed = Arc::new(Lane::ALL.map(|_| AtomicBool::new(false)));
    for lane in Lane::ALL {
        let (peer_sending, connection_sending) = (peer.clone(), connection.clone());
        tasks.spawn(async move {
            match send_lane(&peer_sending, &connection_sending, lane).await {
                Err(end) => end,
                Ok(never) => match never {},
            }
        });
        // One task a stream that the peer opens; which lane it is shows when it has begun.
        let receiving = Receiving {
            peer: peer.clone(),
            connection: connection.clone(),
            inboxes: inboxes.clone(),
            claimed: claimed.clone(),
        };
        tasks.spawn(async move {
            match receiving.run().await {
                Err(end) => end,
                Ok(never) => match never {},
            }
        });
    }
    tasks
}

/// A task's way to say that it ends by an error only.
enum Never {}

async fn send_lane(peer: &Peer, connection: &Connection, lane: Lane) -> Result<Never, StreamEnd> {
    // Whatever fails here, the connection's own end tells why.
    let mut stream = connection.open_uni().await.map_err(|_| StreamEnd::Lost)?;
    stream.set_priority(lane.priority()).map_err(|_| StreamEnd::Lost)?;
    stream.write_all(&[lane.tag()]).await.map_err(|_| StreamEnd::Lost)?;
    send_all(&mut stream, peer.outbox(lane)).await.map_err(|_| StreamEnd::Lost)?;
    Err(StreamEnd::Lost)
}

struct Receiving {
    peer: Arc<Peer>,
    connection: Connection,
    inboxes: [InboxSender<Bytes>; 2],
    claimed: Arc<[AtomicBool; 2]>,
}

impl Receiving {
    async fn run(self) -> Result<Never, StreamEnd> {
        let opened =
            timeout(HELLO_TIMEOUT, self.connection.accept_uni()).await.map_err(|_| StreamEnd::NoLane)?;
        let stream = opened.map_err(|_| StreamEnd::Lost)?;
        // The lane decides about the limit, so the reader has none to allow yet.
        let mut reader = FrameReader::new(stream, 0);
        let tag = timeout(HELLO_TIMEOUT, reader.tag()).await.map_err(|_| StreamEnd::NoLane)??;
        let lane = Lane::from_tag(tag).ok_or(StreamEnd::NoLane)?;
        if self.claimed[lane.index()].swap(true, Ordering::Relaxed) {
            return Err(StreamEnd::NoLane);
        }
        reader.set_limit(self.peer.limits.of(lane).frame_bytes);
        let inbox = &self.inboxes[lane.index()];
        loop {
            let length = reader.length().await?;
            let room = inbox.reserve(length).await;
            let frame = reader.body(length).await?;
            self.peer.count_received(lane, length);
            if let Some(delay) = self.peer.budget.delay(Instant::now()) {
                sleep(delay).await;
            }
            // A caller that dropped the receiver wants no frames, but may want the links.
            let _ = inbox.put(frame, room).await;
        }
    }
}
