//! How much is offered at a time.

use std::fmt;

use serde::Serialize;

use pbft_messages::Parameters;

use crate::settings::Settings;

/// How much a closed loop has on its way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Sessions, each with a connection of its own.
    pub connections: usize,
    /// Submissions under way on each.
    pub pipeline: usize,
    /// Requests of a submission, under one signature.
    pub bundle: usize,
}

impl Load {
    /// One request at a time.
    pub const ONE: Self = Self { connections: 1, pipeline: 1, bundle: 1 };

    /// At least so many submissions of `bundle` requests under way, over at most `most` connections.
    #[must_use]
    pub fn of(submissions: usize, bundle: usize, most: usize) -> Self {
        let connections = submissions.clamp(1, most.max(1));
        Self { connections, pipeline: submissions.div_ceil(connections).max(1), bundle }
    }

    /// The most submissions of `bundle` requests that so many connections can have under way on a cluster: all requests of
    /// a connection fit into its session's window.
    #[must_use]
    pub fn most(parameters: &Parameters, bundle: usize, connections: usize) -> usize {
        let window = usize::try_from(parameters.session_window).unwrap_or(usize::MAX);
        connections.saturating_mul(window / bundle.max(1))
    }

    /// How many requests are under way at a time.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.connections * self.pipeline * self.bundle
    }

    /// The settings with this load.
    #[must_use]
    pub fn applied_to(&self, settings: &Settings) -> Settings {
        let Self { connections, pipeline, bundle } = *self;
        Settings { connections, pipeline, bundle, ..settings.clone() }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, pipeline, bundle } = self;
        write!(formatter, "{connections} × {pipeline}")?;
        if *bundle > 1 { write!(formatter, " × {bundle}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::{configuration, settings};

    #[test]
    fn connections_come_first_and_no_request_is_lost() {
        assert_eq!(Load::of(1, 1, 16), Load::ONE);
        assert_eq!(Load::of(8, 1, 16), Load { connections: 8, pipeline: 1, bundle: 1 });
        assert_eq!(Load::of(64, 1, 16), Load { connections: 16, pipeline: 4, bundle: 1 });
        for submissions in 1..200 {
            assert!(Load::of(submissions, 4, 16).outstanding() >= 4 * submissions);
        }
        assert_eq!(Load::of(64, 8, 16).to_string(), "16 × 4 × 8");
    }

    #[test]
    fn the_most_fits_into_the_windows_and_one_more_does_not() {
        let cluster = configuration();
        for (bundle, most) in [(1, 1024), (5, 192), (64, 16)] {
            assert_eq!(Load::most(cluster.parameters(), bundle, 16), most);
            let check = |submissions| {
                Load::of(submissions, bundle, 16).applied_to(&settings()).check(&cluster).is_ok()
            };
            assert!((1..=most).all(check) && !check(most + 1), "{bundle}");
        }
    }
}
