//! Why a command failed: one line for people and a code for scripts.

use std::process::ExitCode;

use pbft_crypto::key_file::KeyFileError;
use pbft_node::{RunError, SetupError, StoreError};

/// Something went wrong that is none of the below.
const ERROR: u8 = 1;
/// Arguments, files, a port or a store in use: what the person who started this can mend.
pub(crate) const BAD_INPUT: u8 = 3;

/// What a command comes to.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// The message, on one line.
    pub(crate) fn line(&self) -> String {
        format!("{:#}", self.error).replace('\n', " ")
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        self.code.into()
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: ERROR, error }
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self { code: BAD_INPUT, error: error.into() }
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        Self { code: BAD_INPUT, error: error.into() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { code: store_code(&error), error: error.into() }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let code = match &error {
            RunError::Store(error) => store_code(error),
            RunError::Bind { .. } => BAD_INPUT,
            _ => ERROR,
        };
        Self { code, error: error.into() }
    }
}

fn store_code(error: &StoreError) -> u8 {
    match error {
        StoreError::Absent { .. }
        | StoreError::Exists { .. }
        | StoreError::InUse { .. }
        | StoreError::Mismatch { .. }
        | StoreError::Format { .. }
        | StoreError::Forgotten { .. } => BAD_INPUT,
        StoreError::Unreadable { .. } | StoreError::Io { .. } | StoreError::WriteFailed { .. } => ERROR,
    }
}
