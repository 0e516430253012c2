use std::time::Duration;

use pbft_messages::Configuration;

/// How patient the core is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long the primary alone has to answer before a request goes to all replicas (N8). Too short a time sends
    /// everything n-fold under load; a long one leaves a silent primary unnoticed for longer.
    pub retry_after: Duration,
    /// The cap of the doubling interval at which an unanswered request is sent to all again.
    pub retry_cap: Duration,
    /// How long to wait at first after the primary said that it is busy. It doubles each time that it says so of one
    /// request, up to `retry_cap`.
    pub busy_after: Duration,
    /// The seed of the waiting times' jitter, which keeps many clients from coming back at one instant.
    pub seed: u64,
}

impl Settings {
    /// Settings that suit a cluster: a fifth of its view timeout for the first retry (200 ms by default), so that
    /// a request that was lost on its way to a correct primary is there again well before anybody's timer ends.
    #[must_use]
    pub fn suited_to(configuration: &Configuration, seed: u64) -> Self {
        let view_timeout = configuration.parameters().view_timeout;
        let retry_after = (view_timeout / 5).clamp(Duration::from_millis(20), Duration::from_secs(2));
        Self {
            retry_after,
            retry_cap: retry_after.max(Duration::from_secs(1)),
            busy_after: Duration::from_millis(20),
            seed,
        }
    }
}
