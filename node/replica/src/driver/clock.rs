//! The two clocks, as the protocol sees them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pbft_messages::Timestamp;
use pbft_protocol::Now;

/// The monotonic clock since the replica's start, and the machine's wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(self) -> Now {
        // A clock before 1970 or after 2554 is wrong anyhow; proposals made by it are refused (N6).
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            instant: pbft_protocol::Instant::after_start(self.start.elapsed()),
            wall: Timestamp(u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX)),
        }
    }

    /// The protocol's instant on the standard library's clock; far ones are a day away.
    pub(super) fn standard(self, instant: pbft_protocol::Instant) -> Instant {
        const FAR: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
        let elapsed = self.start.elapsed();
        self.start + instant.since_start().min(elapsed.saturating_add(FAR))
    }
}
