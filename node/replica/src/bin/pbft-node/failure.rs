//! Why a command failed: one line for people and a code for scripts.

use std::io;
use std::process::ExitCode;

use pbft_crypto::key_file::KeyFileError;
use pbft_node::{RunError, SetupError, SnapshotError, StoreError};

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
    text: String,
}

impl Failure {
    /// A failure with a typed error, whose message holds its cause already.
    fn typed(code: u8, error: &dyn std::error::Error) -> Self {
        Self { code, text: error.to_string() }
    }

    /// A failure that is none of the person's who started this.
    pub(crate) fn error(text: String) -> Self {
        Self { code: ERROR, text }
    }

    /// A file or an argument that is of no use.
    pub(crate) fn bad_input(text: String) -> Self {
        Self { code: BAD_INPUT, text }
    }

    /// The message, on one line.
    pub(crate) fn line(&self) -> String {
        self.text.replace('\n', " ")
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        self.code.into()
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: ERROR, text: format!("{error:#}") }
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::typed(BAD_INPUT, &error)
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        if let KeyFileError::Io { path, source } = &error
            && source.kind() == io::ErrorKind::AlreadyExists
        {
            let text = format!(
                "key file {} exists already, and a key is never overwritten: choose another name",
                path.display()
            );
            return Self { code: BAD_INPUT, text };
        }
        Self::typed(BAD_INPUT, &error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::typed(store_code(&error), &error)
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        Self::typed(snapshot_code(&error), &error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let code = match &error {
            RunError::Store(error) => store_code(error),
            RunError::Snapshot(error) => snapshot_code(error),
            RunError::Bind { .. } => BAD_INPUT,
            _ => ERROR,
        };
        Self::typed(code, &error)
    }
}

fn snapshot_code(error: &SnapshotError) -> u8 {
    match error {
        SnapshotError::InUse { .. } | SnapshotError::Format { .. } => BAD_INPUT,
        SnapshotError::Io { .. } | SnapshotError::Damaged { .. } => ERROR,
    }
}

fn store_code(error: &StoreError) -> u8 {
    match error {
        StoreError::Absent { .. }
        | StoreError::Exists { .. }
        | StoreError::Readable { .. }
        | StoreError::InUse { .. }
        | StoreError::Mismatch { .. }
        | StoreError::Stranger { .. }
        | StoreError::Format { .. }
        | StoreError::Forgotten { .. } => BAD_INPUT,
        StoreError::Unreadable { .. } | StoreError::Io { .. } | StoreError::WriteFailed { .. } => ERROR,
    }
}
