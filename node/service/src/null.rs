use std::sync::Arc;

use bytes::Bytes;

use pbft_messages::codec;

use crate::{Context, Output, Reader, RestoreError, Service, Snapshot, WholeSnapshot};

/// What a [`NullService`] answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NullResult {
    /// No bytes.
    #[default]
    Empty,
    /// The operation's own bytes.
    Echo,
    /// Always these bytes, for a chosen size of replies.
    Fixed(Bytes),
}

/// A service that does nothing, so that what a measurement shows is the cost of replication.
///
/// Its state is the number of operations executed, so that checkpoints are not all alike.
#[derive(Clone, Debug, Default)]
pub struct NullService {
    result: NullResult,
    executed: u64,
}

impl NullService {
    /// A service that answers every operation with `result`. It must be the same at all replicas.
    #[must_use]
    pub fn new(result: NullResult) -> Self {
        Self { result, executed: 0 }
    }

    /// How many operations were executed.
    #[must_use]
    pub fn executed(&self) -> u64 {
        self.executed
    }
}

impl Service for NullService {
    fn execute(&mut self, _: &Context, operation: &[u8]) -> Output {
        self.executed += 1;
        self.result.query(operation).into()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(self.result.clone())
    }

    fn snapshot(&mut self) -> Box<dyn Snapshot> {
        Box::new(WholeSnapshot::new(codec::encode(&self.executed)))
    }

    fn restore(&mut self, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), RestoreError> {
        self.executed = codec::decode(&WholeSnapshot::collect(chunks, size_of::<u64>())?)?;
        Ok(())
    }
}

impl Reader for NullResult {
    fn query(&self, operation: &[u8]) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::Echo => Bytes::copy_from_slice(operation),
            Self::Fixed(bytes) => bytes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{ClientId, Sequence, SessionId, Timestamp};

    use super::*;

    const CONTEXT: Context = Context {
        sequence: Sequence(1),
        time: Timestamp(1),
        client: ClientId([1; 32]),
        session: SessionId(1),
    };

    #[test]
    fn answers_as_told() {
        let result = |result| NullService::new(result).execute(&CONTEXT, b"operation").result;
        assert_eq!(result(NullResult::Empty), Bytes::new());
        assert_eq!(result(NullResult::Echo), &b"operation"[..]);
        assert_eq!(result(NullResult::Fixed(Bytes::from_static(b"fixed"))), &b"fixed"[..]);
    }

    #[test]
    fn the_count_survives_a_snapshot() {
        let mut service = NullService::default();
        for _ in 0..300 {
            service.execute(&CONTEXT, b"");
        }
        let mut restored = NullService::default();
        restored.restore(&mut service.snapshot().chunks().into_iter()).unwrap();
        assert_eq!(restored.executed(), 300);
        assert!(restored.restore(&mut [Bytes::from_static(b"short")].into_iter()).is_err());
        assert_eq!(restored.executed(), 300);
    }
}
