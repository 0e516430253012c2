//! Handing a stored snapshot to the service.

use bytes::Bytes;

use pbft_messages::Sequence;
use pbft_protocol::ledger_chunks;
use pbft_service::Service;

use crate::RunError;
use crate::snapshot::ChunkStore;

/// Lets a service restore its part of a stored snapshot, chunk by chunk; gives the replica's own part, the first
/// chunks. When this returns, every chunk was compared with its digest, whether or not the service wanted it.
///
/// # Errors
/// [`RunError::Snapshot`] if the snapshot is damaged; [`RunError::Restore`] if the service does not take it;
/// [`RunError::Service`] if it panics.
pub(crate) fn restore(
    service: &mut dyn Service,
    snapshots: &ChunkStore,
    sequence: Sequence,
) -> Result<Vec<Bytes>, RunError> {
    let mut chunks = snapshots.chunks(sequence);
    let mut ledger = Vec::new();
    if let Some(first) = chunks.next() {
        let first = first?;
        let count = ledger_chunks(&first).map_err(|error| snapshots.damaged(error.to_string()))?;
        ledger.push(first);
        for chunk in chunks.by_ref().take(count - 1) {
            ledger.push(chunk?);
        }
    }
    let mut damage = None;
    let mut sound = std::iter::from_fn(|| match damage {
        None => chunks.next()?.map_err(|error| damage = Some(error)).ok(),
        Some(_) => None,
    });
    let doing = || format!("restoring the snapshot at sequence {sequence}");
    let restored = super::service(doing, || service.restore(&mut sound));
    sound.for_each(drop);
    match damage {
        Some(damage) => Err(damage.into()),
        None => restored?.map_err(|source| RunError::Restore { sequence, source }).map(|()| ledger),
    }
}
