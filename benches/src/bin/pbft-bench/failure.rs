//! Why a run failed: one line for people and a code for scripts.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use pbft_bench::lab::LabError;
use pbft_bench::{FilesError, Report, SessionsError, VerdictResult};
use pbft_client::{ClientError, KvError};

/// Something went wrong that is none of the below.
const ERROR: u8 = 1;
/// No working cluster was reached; nothing was executed.
const NO_CONNECTION: u8 = 2;
/// Arguments, files or limits: nothing was sent.
const BAD_INPUT: u8 = 3;
/// The time was up, for everything: it may or may not have happened.
const OUTCOME_UNKNOWN: u8 = 4;
/// Ctrl-C or SIGTERM.
const INTERRUPTED: u8 = 5;
/// The cluster broke its promise.
const VERDICT_FAILED: u8 = 99;

/// What a step comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a run failed.
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
        Self::new(BAD_INPUT, message)
    }

    /// A signal ended the run.
    pub(crate) fn interrupted(message: impl Display) -> Self {
        Self::new(INTERRUPTED, message)
    }

    /// Something is not as it must be.
    pub(crate) fn verdict(message: impl Display) -> Self {
        Self::new(VERDICT_FAILED, message)
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
}

/// Ends the process at once, since somebody insists.
pub(crate) fn exit_interrupted() -> ! {
    eprintln!("error: interrupted twice: nothing is reported, and requests on their way may yet take effect");
    std::process::exit(INTERRUPTED.into())
}

/// What a finished run means. A broken promise counts more than an interruption, and that more than what is unknown.
pub(crate) fn judge(report: &Report) -> Outcome {
    let (all, verdict) = (&report.all, &report.verdict);
    let reason = verdict.reasons.first().map_or("", String::as_str);
    if verdict.result == VerdictResult::Fail {
        let others = match verdict.violations {
            0 | 1 => String::new(),
            count => format!(" (and {} others)", count - 1),
        };
        return Err(Failure::verdict(format!("the verdict failed: {reason}{others}")));
    }
    if report.interrupted {
        return Err(Failure::interrupted("interrupted: the result covers the time until then"));
    }
    if all.completed == 0 && all.unknown > 0 {
        return Err(Failure::new(
            OUTCOME_UNKNOWN,
            format!(
                "outcome unknown of all {} requests: do enough replicas work? see `pbft-client status`",
                all.unknown
            ),
        ));
    }
    if all.completed == 0 && all.failed > 0 {
        let names: Vec<_> = report.errors.keys().copied().collect();
        let unreached = names.iter().all(|name| matches!(*name, "not_sent" | "unreachable"));
        let code = if unreached { NO_CONNECTION } else { ERROR };
        return Err(Failure::new(code, format!("no request was executed: {}", names.join(", "))));
    }
    if verdict.result == VerdictResult::Unknown {
        let (unread, chosen) = (verdict.unread, verdict.keys_to_read_back);
        return Err(Failure::new(
            OUTCOME_UNKNOWN,
            format!("the verdict is unknown: {unread} of {chosen} keys could not be read back in time"),
        ));
    }
    Ok(())
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::TooLarge(_) => BAD_INPUT,
            ClientError::Unreachable { .. } | ClientError::NotSent { .. } => NO_CONNECTION,
            ClientError::Unanswered { .. } | ClientError::Busy { .. } => OUTCOME_UNKNOWN,
            unknown if unknown.may_have_taken_effect() => OUTCOME_UNKNOWN,
            _ => ERROR,
        };
        Self { code, error: Some(error.into()) }
    }
}

impl From<SessionsError> for Failure {
    fn from(error: SessionsError) -> Self {
        let code = match &error {
            SessionsError::Open { error, .. }
            | SessionsError::Read(KvError::Client(error))
            | SessionsError::Preload(KvError::Client(error)) => Self::from(error.clone()).code,
            SessionsError::Read(_) | SessionsError::Preload(_) => ERROR,
            SessionsError::Interrupted => INTERRUPTED,
        };
        Self { code, error: Some(error.into()) }
    }
}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Self {
        let code = match error {
            LabError::Sessions(error) => return error.into(),
            LabError::Client(error) => return error.into(),
            LabError::Files(error) => return error.into(),
            LabError::Settings(_) | LabError::NotInstalled { .. } => BAD_INPUT,
            LabError::Testnet(ref error) => error.exit_code(),
            LabError::Io { .. } | LabError::NoService { .. } | LabError::Stuck(_) => ERROR,
        };
        Self { code, error: Some(error.into()) }
    }
}

/// Of preparing the folder: after a run, nothing is wrong with the input.
impl From<FilesError> for Failure {
    fn from(error: FilesError) -> Self {
        Self::bad_input(error)
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
