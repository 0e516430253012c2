//! From a data folder to a replica that could run: store, snapshots and service, checked and fitting together.

use bytes::Bytes;

use pbft_protocol::{Record, latest_snapshot};
use pbft_service::Service;

use crate::execution::restore;
use crate::folder::DataFolder;
use crate::snapshot::ChunkStore;
use crate::store::{self, Opened, StoreFile};
use crate::{Durability, Identity, RunError};

/// Everything that the protocol starts from.
pub(crate) struct Booted {
    pub(crate) store: StoreFile,
    pub(crate) records: Vec<Record>,
    pub(crate) chunks: ChunkStore,
    pub(crate) service: Box<dyn Service>,
    /// The first chunks of the latest snapshot.
    pub(crate) ledger: Vec<Bytes>,
}

/// Opens the store and the snapshots that it names, and lets the service restore from the latest.
pub(crate) fn boot(
    identity: &Identity,
    data: &DataFolder,
    durability: Durability,
    mut service: Box<dyn Service>,
) -> Result<Booted, RunError> {
    let Opened { file: store, records } = store::open(data, &identity.binding())?;
    let snapshot = |record: &Record| match record {
        Record::Snapshot(sequence, root) => Some((*sequence, *root)),
        _ => None,
    };
    let named = records.iter().filter_map(snapshot).collect();
    let chunks = ChunkStore::open(data, &named, durability == Durability::Sync)?;
    let ledger = match latest_snapshot(&records) {
        Some((sequence, _)) => restore(&mut *service, &chunks, sequence)?,
        None => Vec::new(),
    };
    Ok(Booted { store, records, chunks, service, ledger })
}
