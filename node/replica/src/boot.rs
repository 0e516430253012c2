//! From a data folder to a replica that could run: store, snapshots and service, checked and fitting together.

use bytes::Bytes;

use pbft_messages::Sequence;
use pbft_protocol::{Record, latest_snapshot, ledger_chunks};
use pbft_service::Service;

use crate::execution::restore;
use crate::folder::DataFolder;
use crate::snapshot::{self, Shelf, SnapshotError, StoredSnapshot};
use crate::store::{self, Opened, StoreFile};
use crate::{Identity, RunError};

/// Everything that the protocol starts from.
pub(crate) struct Booted {
    pub(crate) store: StoreFile,
    pub(crate) records: Vec<Record>,
    pub(crate) shelf: Shelf,
    pub(crate) service: Box<dyn Service>,
    /// The first chunks of the latest snapshot.
    pub(crate) ledger: Vec<Bytes>,
}

/// Opens the store, loads the snapshots that it names, and lets the service restore from the latest.
pub(crate) fn boot(
    identity: &Identity,
    data: &DataFolder,
    mut service: Box<dyn Service>,
) -> Result<Booted, RunError> {
    let Opened { file: store, records } = store::open(data, &identity.binding())?;
    let mut loaded = Vec::new();
    let mut ledger = Vec::new();
    if let Some((sequence, root)) = latest_snapshot(&records) {
        let (stored, mut chunks) = snapshot::load(data, sequence, root)?;
        let own = ledger_chunks(&chunks).map_err(|error| SnapshotError::Damaged {
            path: data.snapshot(sequence),
            why: error.to_string(),
        })?;
        let state = chunks.split_off(own.min(chunks.len()));
        restore(&mut *service, sequence, state)?;
        ledger = chunks;
        loaded.push(stored);
        loaded.extend(earlier(data, &records, sequence));
    }
    let shelf = Shelf::new(data.clone(), loaded)?;
    Ok(Booted { store, records, shelf, service, ledger })
}

/// The snapshots before the latest, for replicas that still fetch them. Nothing here depends on them, so one that is
/// damaged is not served, and no more.
fn earlier<'a>(
    data: &'a DataFolder,
    records: &'a [Record],
    latest: Sequence,
) -> impl Iterator<Item = StoredSnapshot> + 'a {
    records.iter().filter_map(move |record| match record {
        Record::Snapshot(sequence, root) if *sequence < latest => {
            let loaded = snapshot::load(data, *sequence, *root);
            loaded
                .inspect_err(|error| tracing::warn!(%error, "an earlier snapshot is not served"))
                .ok()
                .map(|(stored, _)| stored)
        }
        _ => None,
    })
}
