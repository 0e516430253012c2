//! Taking what clients send, and knowing which connections serve which session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pbft_messages::{ClientId, SessionId};
use pbft_transport::{ClientEvent, ClientEvents, ConnectionId};

use super::check::{ClientJob, Job};
use super::line::LineId;
use super::pool::{Pool, TOGETHER};
use super::submissions::FromClient;
use super::{Budget, OF_CLIENT};

/// The connections of each client's sessions. Cloning gives another handle on the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<Table>>);

type Table = HashMap<(ClientId, SessionId), Vec<ConnectionId>>;

impl Sessions {
    /// The connections that serve a session now.
    pub(crate) fn connections(&self, client: ClientId, session: SessionId) -> Vec<ConnectionId> {
        self.table().get(&(client, session)).cloned().unwrap_or_default()
    }

    fn connected(&self, client: ClientId, session: SessionId, connection: ConnectionId) {
        self.table().entry((client, session)).or_default().push(connection);
    }

    fn disconnected(&self, client: ClientId, session: SessionId, connection: ConnectionId) {
        let mut table = self.table();
        if let Some(connections) = table.get_mut(&(client, session)) {
            connections.retain(|other| *other != connection);
            if connections.is_empty() {
                table.remove(&(client, session));
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing under the lock panics half-way, so a poisoned lock still guards a whole table.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what happens on the clients' connections until the listener ends.
///
/// Each client has a [`Budget`], for all its sessions. What is beyond it is shed before it costs a signature check, so a
/// client that floods costs itself (R2).
pub(crate) fn receive_clients(
    mut events: ClientEvents,
    pool: &Pool,
    sessions: Sessions,
) -> impl Future<Output = ()> + Send + use<> {
    let (jobs, frame_bytes) = (pool.jobs(), pool.client_frame_bytes());
    // At most one for each admitted client.
    let mut budgets = HashMap::new();
    async move {
        while let Some(first) = events.recv().await {
            let mut next = Some(first);
            let mut arrived = Vec::new();
            // What came together is given together, or the first frame of a burst would be checked alone.
            while let Some(event) = next {
                match event {
                    ClientEvent::Connected { connection, client, session } => {
                        sessions.connected(client, session, connection);
                    }
                    ClientEvent::Disconnected { connection, client, session } => {
                        sessions.disconnected(client, session, connection);
                    }
                    ClientEvent::Frame { connection, client, session, frame } => {
                        let budget =
                            budgets.entry(client).or_insert_with(|| Budget::new(OF_CLIENT, frame_bytes));
                        match budget.try_room(&frame) {
                            None => jobs.checker().shed(connection, &frame),
                            Some(room) => {
                                let frame = FromClient { client, session, frame };
                                let job = Job::Client(ClientJob { connection, frame, room });
                                arrived.push((LineId::Client(connection), job));
                            }
                        }
                    }
                }
                next = if arrived.len() < TOGETHER { events.try_recv() } else { None };
            }
            jobs.give(arrived);
        }
    }
}
