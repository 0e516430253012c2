//! A service that asks for the time, again and again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pbft_messages::{Sequence, Timestamp, codec};
use pbft_service::{Context, Output, Reader, RestoreError, Service, Snapshot, WholeSnapshot};

/// How long after a batch the service wants to be told the time.
pub(crate) const PERIOD: Duration = Duration::from_millis(300);

/// Rings a [`PERIOD`] after whatever it was told last (N6). It knows nothing but the time.
#[derive(Default)]
pub(crate) struct Alarm {
    time: Timestamp,
}

impl Service for Alarm {
    fn begin_batch(&mut self, _: Sequence, time: Option<Timestamp>) {
        self.time = time.unwrap_or(self.time);
    }

    fn execute(&mut self, _: &Context, _: &[u8]) -> Output {
        codec::encode(&self.time).into()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(Shown(self.time))
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        Some(Timestamp(self.time.0.saturating_add(PERIOD.as_nanos() as u64)))
    }

    fn snapshot(&mut self) -> Box<dyn Snapshot> {
        Box::new(WholeSnapshot::new(codec::encode(&self.time)))
    }

    fn restore(&mut self, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), RestoreError> {
        self.time = codec::decode(&WholeSnapshot::collect(chunks, 64)?)?;
        Ok(())
    }
}

/// The time as it was.
struct Shown(Timestamp);

impl Reader for Shown {
    fn query(&self, _: &[u8]) -> Bytes {
        codec::encode(&self.0).into()
    }
}
