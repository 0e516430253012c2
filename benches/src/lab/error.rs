//! Why an experiment did not come to its end.

use std::io;
use std::path::PathBuf;

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
    #[error("{who} does not serve: {why}; its log is {}", log.display())]
    NoService {
        /// What was started.
        who: &'static str,
        /// What is known of the reason.
        why: String,
        /// Where it writes its log; gone when this program is.
        log: PathBuf,
    },
    /// The cluster did not get where the experiment goes on from.
    #[error("{0}")]
    Stuck(String),
}

impl LabError {
    /// An error of the operating system, with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
