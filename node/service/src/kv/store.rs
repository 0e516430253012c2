use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;

use super::snapshots::Snapshots;
use super::state::State;
use super::{Change, Error, Operation, Reply, restoration, transaction};
use crate::{Context, Event, Output, Reader, RestoreError, Service, Snapshot};

/// How many revisions a store made by [`KeyValueStore::default`] keeps readable.
pub const DEFAULT_RETAINED: NonZeroU64 = NonZeroU64::new(10_000).expect("the constant is not zero");

/// The replicated key-value store. It executes encoded [`Operation`]s; see the [module](super) for the data model.
///
/// A snapshot's leaves cost the serializing and hashing of the chunks, of 64 KiB on average, that changed since the
/// snapshot before, and a copy of a hundred bytes for each of the others (C2). The first one after
/// [`Service::restore`], and one whose predecessor was not asked for its leaves, costs that of all chunks.
pub struct KeyValueStore {
    state: State,
    snapshots: Snapshots,
    watched: bool,
}

impl KeyValueStore {
    /// An empty store that keeps the newest `retained` revisions readable, the current one included, and compacts
    /// older ones by itself.
    ///
    /// All replicas of a cluster must be given the same number, as it decides which reads succeed and what a snapshot
    /// holds; a snapshot made with another one is refused. The number also bounds what the history can take, to that
    /// many operations' writes.
    #[must_use]
    pub fn new(retained: NonZeroU64) -> Self {
        Self { state: State::new(retained), snapshots: Snapshots::default(), watched: true }
    }

    /// How many revisions are kept readable.
    #[must_use]
    pub fn retained(&self) -> NonZeroU64 {
        self.state.retained
    }

    /// The current revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.state.revision
    }

    /// What is to be told of a key that the newest revision changed.
    fn event(&self, key: &Bytes) -> Event {
        let change = match self.state.history.newest(key) {
            Some(life) => Change::Put(life.entry(key)),
            None => Change::Delete { key: key.clone(), mod_revision: self.state.revision },
        };
        Event { topic: key.clone(), content: change.encode() }
    }
}

impl Default for KeyValueStore {
    fn default() -> Self {
        Self::new(DEFAULT_RETAINED)
    }
}

fn decode(operation: &[u8]) -> Result<Operation, Error> {
    Operation::decode(operation).map_err(|_| Error::NotAnOperation)
}

impl Service for KeyValueStore {
    fn execute(&mut self, _: &Context, operation: &[u8]) -> Output {
        let done = decode(operation).and_then(|operation| transaction::run(&mut self.state, operation));
        let (result, changed) = match done {
            Ok((reply, changed)) => (Ok(reply), changed),
            Err(error) => (Err(error), Vec::new()),
        };
        let watched = changed.iter().filter(|_| self.watched);
        Output { result: Reply::encode(&result), events: watched.map(|key| self.event(key)).collect() }
    }

    fn watch(&mut self, watched: bool) {
        self.watched = watched;
    }

    fn reader(&self) -> Arc<dyn Reader> {
        // The clone shares the whole state.
        Arc::new(self.state.clone())
    }

    fn snapshot(&mut self) -> Box<dyn Snapshot> {
        Box::new(self.snapshots.take(&mut self.state))
    }

    fn restore(&mut self, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), RestoreError> {
        let state = restoration::restore(self.state.retained, chunks)?;
        *self = Self { state, snapshots: Snapshots::default(), watched: self.watched };
        Ok(())
    }
}

impl Reader for State {
    fn query(&self, operation: &[u8]) -> Bytes {
        let result = decode(operation).and_then(|operation| {
            if !operation.is_read_only() {
                return Err(Error::WriteInQuery);
            }
            // Nothing is written to the clone.
            let (reply, _) = transaction::run(&mut self.clone(), operation)?;
            // Not the store's revision: else a write to any other key would make the replicas' answers differ.
            Ok(Reply { revision: reply.answer.newest_change(), ..reply })
        });
        Reply::encode(&result)
    }
}
