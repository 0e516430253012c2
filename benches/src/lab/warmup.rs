//! When a load's warm-up is over, for what is to happen from then on.

use std::time::Instant;

use tokio::sync::oneshot;

/// A load that is about to begin tells here when its warm-up is over.
#[derive(Debug)]
pub struct WarmsUp(oneshot::Sender<Instant>);

/// What waits for the end of a load's warm-up.
#[derive(Debug)]
pub struct WarmedUp(oneshot::Receiver<Instant>);

/// For a load, and for what happens beside it.
#[must_use]
pub fn warmup() -> (WarmsUp, WarmedUp) {
    let (tell, told) = oneshot::channel();
    (WarmsUp(tell), WarmedUp(told))
}

impl WarmsUp {
    /// The warm-up lasts until then.
    pub(super) fn until(self, end: Instant) {
        // Nobody needs to wait for it.
        let _ = self.0.send(end);
    }
}

impl WarmedUp {
    /// Waits until the warm-up is over; for ever if the load never begins.
    pub async fn over(self) {
        match self.0.await {
            Ok(end) => tokio::time::sleep_until(end.into()).await,
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_is_over_when_the_load_said_and_never_without_one() {
        let (tell, told) = warmup();
        let end = Instant::now() + Duration::from_millis(30);
        tell.until(end);
        told.over().await;
        assert!(Instant::now() >= end);
        let (tell, told) = warmup();
        drop(tell);
        assert!(tokio::time::timeout(Duration::ZERO, told.over()).await.is_err());
    }
}
