//! How long answers take: under load longer than usual, and then patience is better than sending everything again.

use std::time::Duration;

use super::Settings;

/// The time from the first sending of a submission to its last answer, smoothed; zero before the first.
///
/// It counts from the first sending also where there were others, so it is never too short. A primary that delays what
/// it is sent gains no more than the bound of the settings.
#[derive(Debug, Default)]
pub(super) struct ResponseTime(Duration);

impl ResponseTime {
    /// Takes note that a submission was answered in this time. The last dozen or so count.
    pub(super) fn observe(&mut self, taken: Duration) {
        self.0 = (self.0 * 7 + taken) / 8;
    }

    /// How long the primary alone has to answer: three times what it takes, within the bounds of the settings.
    pub(super) fn patience(&self, settings: &Settings) -> Duration {
        (self.0 * 3).min(settings.retry_after_at_most).max(settings.retry_after)
    }
}
