//! Taking what clients send, and knowing which connections serve which session.

use std::collections::HashMap;
use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use pbft_messages::{ClientId, SessionId};
use pbft_transport::{ClientEvent, ClientEvents, ConnectionId};
use tokio::task;

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
pub(crate) fn receive_clients(
    mut events: ClientEvents,
    pool: &Pool,
    sessions: Sessions,
) -> impl Future<Output = ()> + Send + use<> {
    let jobs = pool.jobs();
    let mut intake = Intake::new(sessions, pool.client_frame_bytes());
    async move {
        while let Some(first) = events.recv().await {
            let mut looked = 0;
            let together = iter::once(first).chain(iter::from_fn(|| events.try_recv()));
            let together = together.inspect(|_| looked += 1);
            let shed = |connection, frame: &Bytes| jobs.checker().shed(connection, frame);
            jobs.give(intake.take(together, shed));
            if looked >= TOGETHER {
                // There may be no end of them, and other tasks need this thread too.
                task::yield_now().await;
            }
        }
    }
}

/// What is known of the clients.
///
/// Each client has a [`Budget`], for all its sessions. What is beyond it is shed before it costs a signature check, so a
/// client that floods costs itself (R2).
struct Intake {
    sessions: Sessions,
    frame_bytes: usize,
    /// At most one for each admitted client.
    budgets: HashMap<ClientId, Budget>,
}

impl Intake {
    fn new(sessions: Sessions, frame_bytes: usize) -> Self {
        Self { sessions, frame_bytes, budgets: HashMap::new() }
    }

    /// Takes events that came together, which are given together, or the first frame of a burst would be checked alone.
    ///
    /// It looks at [`TOGETHER`] of them at most, whatever they are: those of a client beyond its budget must not hold
    /// back the others' (R3).
    fn take(
        &mut self,
        events: impl Iterator<Item = ClientEvent>,
        mut shed: impl FnMut(ConnectionId, &Bytes),
    ) -> Vec<(LineId, Job)> {
        let mut arrived = Vec::new();
        for event in events.take(TOGETHER) {
            match event {
                ClientEvent::Connected { connection, client, session } => {
                    self.sessions.connected(client, session, connection);
                }
                ClientEvent::Disconnected { connection, client, session } => {
                    self.sessions.disconnected(client, session, connection);
                }
                ClientEvent::Frame { connection, client, session, frame } => {
                    let new = || Budget::new(OF_CLIENT, self.frame_bytes);
                    match self.budgets.entry(client).or_insert_with(new).try_room(&frame) {
                        None => shed(connection, &frame),
                        Some(room) => {
                            let frame = FromClient { client, session, frame };
                            let job = Job::Client(ClientJob { connection, frame, room });
                            arrived.push((LineId::Client(connection), job));
                        }
                    }
                }
            }
        }
        arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R3: a client that floods beyond its budget does not hold the others' frames back, however fast it is.
    #[test]
    fn a_flood_beyond_a_budget_holds_nobody_back() {
        let frame = |number: u8, bytes: usize| ClientEvent::Frame {
            connection: ConnectionId::numbered(number.into()),
            client: ClientId([number; 32]),
            session: SessionId(1),
            frame: vec![0; bytes].into(),
        };
        let mut intake = Intake::new(Sessions::default(), 1 << 20);
        let full = intake.take([frame(1, OF_CLIENT)].into_iter(), |_, _| panic!("it has room for that"));
        let mut flood = iter::once(frame(2, 1)).chain(iter::repeat_n(frame(1, 1), 2 * TOGETHER));
        let mut shed = 0;
        let given = intake.take(flood.by_ref(), |connection, _| {
            assert_eq!(connection, ConnectionId::numbered(1));
            shed += 1;
        });
        assert_eq!((given.len(), given[0].0), (1, LineId::Client(ConnectionId::numbered(2))));
        assert_eq!((shed, flood.count()), (TOGETHER - 1, TOGETHER + 1));
        drop(full);
        let given = intake.take([frame(1, 1)].into_iter(), |_, _| panic!("it has room again"));
        assert_eq!(given.len(), 1);
    }
}
