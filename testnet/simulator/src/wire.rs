//! A hand on the wire: whoever wants to see, lose or change messages as they are sent.

use std::time::Duration;

use pbft_messages::{PeerMessage, ReplicaId, ReplicaMessage};

use crate::InstanceId;

/// What becomes of a message.
#[expect(clippy::large_enum_variant, reason = "it is looked at once and gone")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes its way.
    Pass,
    /// It is lost.
    Lose,
    /// Another one goes in its place.
    Replace(PeerMessage),
}

/// Sees every message as it is sent, once for each receiver; see [`crate::Cluster::set_wire`].
pub trait Wire {
    /// A message between replicas.
    fn peer(&mut self, now: Duration, from: InstanceId, to: InstanceId, message: &PeerMessage) -> Fate {
        let _ = (now, from, to, message);
        Fate::Pass
    }

    /// A replica's answer to the client at this place; what goes in its place, if anything does.
    fn answer(
        &mut self,
        now: Duration,
        from: InstanceId,
        client: usize,
        message: &ReplicaMessage,
    ) -> Option<ReplicaMessage> {
        let _ = (now, from, client);
        Some(message.clone())
    }
}

/// A wire that loses the messages for which a function gives `false`, and leaves the rest alone. The two ends are
/// told apart by the replicas that they are instances of.
pub(crate) struct Filter<F> {
    pub(crate) replicas: Vec<ReplicaId>,
    pub(crate) passes: F,
}

impl<F: FnMut(ReplicaId, ReplicaId, &PeerMessage) -> bool> Wire for Filter<F> {
    fn peer(&mut self, _: Duration, from: InstanceId, to: InstanceId, message: &PeerMessage) -> Fate {
        let [from, to] = [from, to].map(|instance| self.replicas[instance.0]);
        if (self.passes)(from, to, message) { Fate::Pass } else { Fate::Lose }
    }
}
