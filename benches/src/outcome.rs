//! How a request without an answer is counted.

use pbft_client::{ClientError, KvError};

/// What a request without an answer means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The reason's name in reports.
    pub(crate) name: &'static str,
    /// Whether it may have been executed, or may yet be.
    pub(crate) unknown: bool,
    /// Whether the session is of no more use.
    pub(crate) over: bool,
}

impl From<&KvError> for Failed {
    fn from(error: &KvError) -> Self {
        let (unknown, name) = match error {
            KvError::Client(error) => (error.may_have_taken_effect(), name(error)),
            KvError::Store(_) => (false, "store_refused"),
            // It was executed, by whatever runs there; what that did is not known.
            KvError::ForeignAnswer => (true, "foreign_answer"),
        };
        let over =
            matches!(error, KvError::Client(ClientError::SessionExpired { .. } | ClientError::ShutDown));
        Self { name, unknown, over }
    }
}

fn name(error: &ClientError) -> &'static str {
    match error {
        ClientError::OutcomeUnknown { .. } => "outcome_unknown",
        ClientError::Busy { .. } => "busy",
        ClientError::NotSent { .. } => "not_sent",
        ClientError::Unreachable { .. } => "unreachable",
        ClientError::Unanswered { .. } => "opening_unanswered",
        ClientError::ReadUnanswered { .. } => "read_unanswered",
        ClientError::Refused { .. } => "refused",
        ClientError::TooLarge(_) => "too_large",
        ClientError::SessionExpired { .. } => "session_expired",
        ClientError::OpeningRefused(_) => "opening_refused",
        ClientError::Socket(_) => "socket",
        ClientError::ShutDown => "shut_down",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_session_ends_its_worker_and_is_honest_about_the_request() {
        let failed = |sent| Failed::from(&KvError::Client(ClientError::SessionExpired { sent }));
        assert_eq!(failed(true), Failed { name: "session_expired", unknown: true, over: true });
        assert_eq!(failed(false), Failed { name: "session_expired", unknown: false, over: true });
    }
}
