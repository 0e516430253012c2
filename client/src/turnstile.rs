//! Lets a process open the sessions of one client in the order of their ids.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use pbft_messages::SessionId;

/// Where openings queue up.
///
/// An id below one that was opened already is refused (N1). So when many sessions are opened at once, each waits
/// until the one before it is through; their links are made meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Turnstile(Mutex<Option<oneshot::Receiver<Infallible>>>);

/// One place in the queue. Dropping it lets the next one through.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The id of the session to open.
    pub(crate) session: SessionId,
    /// Resolves when the place before this one is dropped.
    before: Option<oneshot::Receiver<Infallible>>,
    _through: oneshot::Sender<Infallible>,
}

impl Turnstile {
    /// Takes the last place.
    pub(crate) fn queue(&self) -> Turn {
        let (through, wait) = oneshot::channel();
        // Nothing under the lock panics half-way. The id is taken under it, so that ids rise along the queue.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace(wait);
        Turn { session: next_session(), before, _through: through }
    }
}

impl Turn {
    /// Waits until this place is the first. Dropping the future loses nothing.
    pub(crate) async fn comes(&mut self) {
        if let Some(before) = &mut self.before {
            // It never carries a value: it ends when the other side is dropped.
            let _ = before.await;
            self.before = None;
        }
    }
}

/// An id above every one that this process used, and, as it is the time, above those of earlier processes.
fn next_session() -> SessionId {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    // Nanoseconds fit 64 bits until the year 2554.
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let after = |last: u64| now.max(last.saturating_add(1));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last)));
    SessionId(after(last.unwrap_or_else(|last| last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise() {
        let ids: Vec<_> = (0..1000).map(|_| next_session()).collect();
        assert!(ids.is_sorted_by(|earlier, later| earlier < later));
    }

    #[tokio::test]
    async fn each_waits_for_the_one_before() {
        let turnstile = Turnstile::default();
        let (mut first, mut second, mut third) = (turnstile.queue(), turnstile.queue(), turnstile.queue());
        assert!(first.session < second.session && second.session < third.session);
        first.comes().await;
        let waits = tokio::select! {
            biased;
            () = second.comes() => false,
            () = std::future::ready(()) => true,
        };
        assert!(waits);
        drop(first);
        second.comes().await;
        second.comes().await;
        drop(second);
        third.comes().await;
    }
}
