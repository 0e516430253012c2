//! Why an experiment did not come to its end.

use std::fs;
use std::io;
use std::path::Path;

use pbft_client::ClientError;
use pbft_testnet::TestnetError;

use crate::files::FilesError;
use crate::sessions::SessionsError;
use crate::settings::InvalidSettings;

/// Why an experiment did not come to its end. No process that it started is left.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The settings cannot work.
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    /// The testnet did not do what it was told.
    #[error(transparent)]
    Testnet(#[from] TestnetError),
    /// No client got through.
    #[error(transparent)]
    Sessions(#[from] SessionsError),
    /// No socket for a client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A result could not be kept.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A program that is needed is not installed.
    #[error("{program} is not installed: {remedy}")]
    NotInstalled {
        /// Its name.
        program: &'static str,
        /// What to try.
        remedy: &'static str,
    },
    /// A process, or a file of one, could not be dealt with.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, and with which thing.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A process that was started for comparison does not serve.
    #[error("{who} does not serve: {why}")]
    NoService {
        /// What was started.
        who: &'static str,
        /// What is known of the reason, with the last line of its log: the log is gone with it.
        why: String,
    },
    /// The cluster did not get where the experiment goes on from.
    #[error("{0}")]
    Stuck(String),
}

impl LabError {
    /// What was started for comparison does not serve, and why; told with the last line of its log if there is one.
    pub(crate) fn no_service(who: &'static str, why: String, log: &Path) -> Self {
        let said = fs::read_to_string(log).unwrap_or_default();
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        let last = last.map_or_else(String::new, |line| format!("; the last line of its log: {line}"));
        Self::NoService { who, why: why + &last }
    }

    /// An error of the operating system, with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_has_the_last_line_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let told = || LabError::no_service("it", "it has ended".into(), &log).to_string();
        assert_eq!(told(), "it does not serve: it has ended");
        fs::write(&log, "first\nno room\n\n").unwrap();
        assert_eq!(told(), "it does not serve: it has ended; the last line of its log: no room");
    }
}
