//! The connections of a replica's clients, and the limits on how many there may be.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::Connection;

use pbft_messages::{ClientId, SessionId};

use super::ConnectionId;
use crate::inbox::ByteBudget;
use crate::limits::ClientLimits;
use crate::outbox::{Outbox, SharedBytes};

/// A client's connection, as the replica sends to it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: ConnectionId,
    pub(super) client: ClientId,
    pub(super) session: SessionId,
    pub(super) connection: Connection,
    pub(super) outbox: Outbox,
    /// For frames that are on their way in, shared by all connections of the client.
    pub(super) partial: ByteBudget,
}

/// The client, or all clients together, have as many connections as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// All connections, found by id and by the session that they serve.
#[derive(Debug)]
pub(super) struct Table {
    limits: ClientLimits,
    last_id: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: HashMap<ConnectionId, Arc<Entry>>,
    sessions: HashMap<(ClientId, SessionId), ConnectionId>,
    per_client: HashMap<ClientId, PerClient>,
}

/// What the connections of one client have in common. It lasts as long as one of them is in the table.
#[derive(Debug)]
struct PerClient {
    connections: usize,
    partial: ByteBudget,
    outgoing: Arc<SharedBytes>,
}

impl Table {
    pub(super) fn new(limits: ClientLimits) -> Self {
        Self { limits, last_id: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Adds a connection. If the session had one, that is taken out and given back, to be closed: a client that dials
    /// again has lost it, even if this side has not noticed.
    pub(super) fn insert(
        &self,
        client: ClientId,
        session: SessionId,
        connection: Connection,
    ) -> Result<(Arc<Entry>, Option<Arc<Entry>>), Full> {
        let id = ConnectionId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        let mut state = self.state();
        let replaced = state.sessions.get(&(client, session)).copied().and_then(|old| state.remove(old));
        let own = state.per_client.get(&client).map_or(0, |own| own.connections);
        if state.connections.len() >= self.limits.connections || own >= self.limits.connections_per_client {
            // Only reached if nothing was replaced, since that made a place of either kind.
            return Err(Full);
        }
        let ClientLimits { reply_bytes, partial_bytes, outgoing, outgoing_bytes_per_client, .. } =
            self.limits;
        let new = || PerClient {
            connections: 0,
            partial: ByteBudget::new(partial_bytes),
            outgoing: Arc::new(SharedBytes::new(outgoing_bytes_per_client.max(outgoing.bytes))),
        };
        let own = state.per_client.entry(client).or_insert_with(new);
        own.connections += 1;
        let partial = own.partial.clone();
        let outbox = Outbox::new(reply_bytes, outgoing, true).sharing(own.outgoing.clone());
        let entry = Arc::new(Entry { id, client, session, connection, outbox, partial });
        state.connections.insert(id, entry.clone());
        state.sessions.insert((client, session), id);
        Ok((entry, replaced))
    }

    /// Takes a connection out, if it is still there.
    pub(super) fn remove(&self, id: ConnectionId) -> Option<Arc<Entry>> {
        self.state().remove(id)
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<Arc<Entry>> {
        self.state().connections.get(&id).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.state().connections.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.limits.connections
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No operation under the lock can panic half-way, so a poisoned lock still guards a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, id: ConnectionId) -> Option<Arc<Entry>> {
        let entry = self.connections.remove(&id)?;
        self.sessions.remove(&(entry.client, entry.session));
        if let Some(own) = self.per_client.get_mut(&entry.client) {
            own.connections -= 1;
            if own.connections == 0 {
                self.per_client.remove(&entry.client);
            }
        }
        Some(entry)
    }
}
