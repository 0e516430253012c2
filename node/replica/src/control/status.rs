use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::timeout;

use pbft_crypto::Digest;
use pbft_messages::{ReplicaId, Sequence, View};
use pbft_protocol::{Input, Transferring};

use super::Desk;
use crate::inbound::Event;

/// How a replica stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Which replica.
    pub replica: ReplicaId,
    /// The last view entered.
    pub view: View,
    /// The view asked for, during a view change.
    pub pending_view: Option<View>,
    /// The primary of the last view entered.
    pub primary: ReplicaId,
    /// Whether that is this replica.
    pub is_primary: bool,
    /// The last sequence executed.
    pub last_executed: Sequence,
    /// The last stable checkpoint.
    pub stable: Sequence,
    /// How many requests wait for execution.
    pub waiting: usize,
    /// The state that is being fetched from other replicas, and how far that has come.
    pub transferring: Option<Transferring>,
    /// The stable checkpoint that the replica waits for before it votes again, after it has lost its votes; 0 until it
    /// knows which.
    pub recovering: Option<Sequence>,
    /// The Merkle root of the executed state; `None` if it was not asked for, or not computed within two seconds.
    pub state_root: Option<Digest>,
    /// After which sequence the state has this root.
    pub state_root_at: Option<Sequence>,
    /// What a testnet made the replica suffer or do, as its outlet tells it; null is nothing.
    pub faults: Value,
    /// `sync` or `memory`.
    pub durability: String,
    /// The links to the other replicas.
    pub peers: Vec<PeerStatus>,
    /// How many connections of clients are open.
    pub clients: usize,
    /// The replica's process.
    pub process: u32,
}

/// The link to another replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The other replica.
    pub replica: ReplicaId,
    /// Whether the link is up.
    pub connected: bool,
    /// The estimated round-trip time in milliseconds, while it is up.
    pub round_trip_ms: Option<f64>,
    /// Why it is down, if that is known.
    pub failure: Option<String>,
}

/// How long the root of the state is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

impl Desk {
    pub(super) async fn status(&self, state_root: bool) -> Result<Status, String> {
        let (sender, answer) = oneshot::channel();
        self.inbound.event(Event::Standing(sender));
        let (standing, faults) = answer.await.map_err(|_| "the replica has stopped".to_owned())?;
        let root = if state_root { self.state_root(standing.last_executed).await } else { None };
        let peers = self.network.statistics().into_iter().map(|peer| PeerStatus {
            replica: peer.peer,
            connected: peer.connected,
            round_trip_ms: peer.round_trip.map(|time| time.as_secs_f64() * 1e3),
            failure: peer.last_failure.map(|failure| failure.to_string()),
        });
        Ok(Status {
            replica: self.replica,
            view: standing.view,
            pending_view: standing.pending,
            primary: standing.primary,
            is_primary: standing.primary == self.replica,
            last_executed: standing.last_executed,
            stable: standing.stable,
            waiting: standing.waiting,
            transferring: standing.transferring,
            recovering: standing.recovering,
            state_root: root.map(|(_, root)| root),
            state_root_at: root.map(|(at, _)| at),
            faults,
            durability: self.durability.to_string(),
            peers: peers.collect(),
            clients: self.listener.statistics().connections,
            process: std::process::id(),
        })
    }

    /// The root of the state now, or of the one that an audit finds in a moment.
    async fn state_root(&self, last_executed: Sequence) -> Option<(Sequence, Digest)> {
        if let Some(root) = self.audits.known(last_executed) {
            return Some((last_executed, root));
        }
        let (id, answer) = self.audits.ask();
        self.inbound.event(Event::Input(Input::Audit(id)));
        let answer = timeout(PATIENCE, answer).await;
        self.audits.forget(id);
        answer.ok()?.ok()
    }
}
