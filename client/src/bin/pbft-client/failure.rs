//! Why a command failed: one line for people and a code for scripts.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use pbft_client::{ClientError, KvError};

/// Something went wrong that is none of the below.
pub(crate) const ERROR: u8 = 1;
/// No working cluster was reached; nothing was executed.
pub(crate) const NO_CONNECTION: u8 = 2;
/// Arguments, files or limits: nothing was sent.
pub(crate) const BAD_INPUT: Code = Code(3);
/// The time was up: it may or may not have happened.
pub(crate) const OUTCOME_UNKNOWN: u8 = 4;
/// Ctrl-C or SIGTERM; or a cluster that does not work, for `status`.
pub(crate) const INTERRUPTED: u8 = 5;

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(u8);

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        code.0.into()
    }
}

/// What a command comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    /// `None` if it goes without saying.
    error: Option<anyhow::Error>,
}

impl Failure {
    fn new(code: u8, message: impl Display) -> Self {
        Self { code, error: Some(anyhow::anyhow!("{message}")) }
    }

    /// Something went wrong that has no code of its own.
    pub(crate) fn error(message: impl Display) -> Self {
        Self::new(ERROR, message)
    }

    /// An argument, a file or a limit.
    pub(crate) fn bad_input(message: impl Display) -> Self {
        Self::new(BAD_INPUT.0, message)
    }

    /// No working cluster.
    pub(crate) fn no_connection(message: impl Display) -> Self {
        Self::new(NO_CONNECTION, message)
    }

    /// It may or may not have happened.
    pub(crate) fn outcome_unknown(message: impl Display) -> Self {
        Self::new(OUTCOME_UNKNOWN, message)
    }

    /// A signal ended the command.
    pub(crate) fn interrupted(message: impl Display) -> Self {
        Self::new(INTERRUPTED, message)
    }

    /// The cluster does not work, and that has been printed already.
    pub(crate) fn unhealthy() -> Self {
        Self { code: INTERRUPTED, error: None }
    }

    /// Says first what was being done, keeping the code.
    pub(crate) fn context(self, what: impl Display + Send + Sync + 'static) -> Self {
        Self { code: self.code, error: self.error.map(|error| error.context(what)) }
    }

    /// Whether what was asked for may have happened, or may yet happen.
    pub(crate) fn leaves_doubt(&self) -> bool {
        matches!(self.code, OUTCOME_UNKNOWN | INTERRUPTED)
    }

    /// What to print: one line, if anything.
    pub(crate) fn line(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        let mut line = String::new();
        for cause in error.chain().map(ToString::to_string) {
            // Many errors tell their cause themselves; nobody needs to read it twice.
            if !line.contains(&cause) {
                line.push_str(if line.is_empty() { "" } else { ": " });
                line.push_str(&cause);
            }
        }
        Some(line.replace('\n', " "))
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        self.code.into()
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::TooLarge(_) => BAD_INPUT.0,
            ClientError::Unreachable { .. } | ClientError::NotSent { .. } => NO_CONNECTION,
            ClientError::Unanswered { .. }
            | ClientError::ReadUnanswered { .. }
            | ClientError::Busy { .. } => OUTCOME_UNKNOWN,
            unknown if unknown.may_have_taken_effect() => OUTCOME_UNKNOWN,
            _ => ERROR,
        };
        Self { code, error: Some(error.into()) }
    }
}

impl From<KvError> for Failure {
    fn from(error: KvError) -> Self {
        match error {
            KvError::Client(error) => error.into(),
            KvError::Store(error) => {
                use pbft_service::kv::Error;
                let code = match error {
                    Error::EmptyKey
                    | Error::KeyTooLong { .. }
                    | Error::ValueTooLong { .. }
                    | Error::TooManySteps { .. }
                    | Error::DuplicateKey { .. } => BAD_INPUT.0,
                    _ => ERROR,
                };
                Self { code, error: Some(error.into()) }
            }
            KvError::ForeignAnswer => Self { code: ERROR, error: Some(error.into()) },
        }
    }
}

/// Of writing to standard output: a reader that has seen enough closes the pipe, which is nobody's mistake.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self { code: ERROR, error: None }
        } else {
            Self::error(format!("cannot write to standard output: {error}"))
        }
    }
}
