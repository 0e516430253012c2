//! Why an operation has no result.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pbft_messages::{Configuration, Refusal, Sequence};
use pbft_transport::BindError;

use crate::core::SubmitError;
use crate::links::{LinkState, Links};
use crate::session::Standing;

/// Why an operation has no result. What matters most to a caller is whether it may have taken effect all the same:
/// [`ClientError::may_have_taken_effect`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The time was up after the request had been sent. It goes on being sent while its [`Client`](crate::Client)
    /// lives, so it may yet take effect.
    #[error("outcome unknown after {waited:?}: the request may or may not take effect; {reach}")]
    OutcomeUnknown {
        /// The time that the caller gave.
        waited: Duration,
        /// Which replicas were reachable.
        reach: Reach,
    },
    /// The time was up, and f+1 replicas or more last said that they have too much to do. Others may have taken the
    /// request, and it goes on being sent while its [`Client`](crate::Client) lives: less and less often.
    #[error(
        "busy: after {waited:?}, {replicas} replicas have too much to do to take the request{}; try again later, or \
         send less at a time; {reach}", if *.sent { ", which may or may not take effect" } else { BUSY_UNSENT }
    )]
    Busy {
        /// The time that the caller gave.
        waited: Duration,
        /// How many said so.
        replicas: usize,
        /// Whether the request itself was sent. If not, the opening of its session is what nobody took.
        sent: bool,
        /// Which replicas were reachable.
        reach: Reach,
    },
    /// The time was up before the request was sent, since earlier ones filled the window. It has no effect.
    #[error("not sent within {waited:?}, since earlier requests are unanswered; it has no effect; {reach}")]
    NotSent {
        /// The time that the caller gave.
        waited: Duration,
        /// Which replicas were reachable.
        reach: Reach,
    },
    /// No replica could be reached, or too many refuse this client. The request has no effect.
    #[error("no working cluster within {waited:?}, nothing was executed; {reach}{}", reasons(reach))]
    Unreachable {
        /// The time that the caller gave.
        waited: Duration,
        /// Which replicas were reachable, and why the others were not.
        reach: Reach,
    },
    /// Replicas were reachable, and the session's opening was sent and not answered in time: it may yet take effect.
    /// The request itself was not sent.
    #[error(
        "outcome unknown after {waited:?}: the opening of a session is unanswered, so the request itself was not sent; {reach}; a quorum of replicas must work"
    )]
    Unanswered {
        /// The time that the caller gave.
        waited: Duration,
        /// Which replicas were reachable.
        reach: Reach,
    },
    /// An unordered read was answered by no quorum in time, nor was it in order.
    #[error("the read is unanswered after {waited:?}; {reach}")]
    ReadUnanswered {
        /// The time that the caller gave.
        waited: Duration,
        /// Which replicas were reachable.
        reach: Reach,
    },
    /// The request was ordered and executed nothing.
    #[error("refused at sequence {sequence}: {refusal}")]
    Refused {
        /// Where in the total order.
        sequence: Sequence,
        /// Why.
        refusal: Refusal,
    },
    /// The operations are more or larger than the cluster takes. Nothing was sent.
    #[error("too large: {0}")]
    TooLarge(SubmitError),
    /// The session is no longer open: the client key has opened more sessions since than the cluster keeps. Open a
    /// new one.
    #[error("the session has expired: {}", if *.sent { EXPIRED_SENT } else { EXPIRED_UNSENT })]
    SessionExpired {
        /// Whether the request was sent before; then it may have been executed.
        sent: bool,
    },
    /// The cluster did not let the session be opened, each time under a higher id. Nothing was executed.
    #[error(
        "the cluster refused to open a session ({0}): this machine's clock may be behind that of another one that \
         uses the same client key; set the clock, or use a key of its own"
    )]
    OpeningRefused(Refusal),
    /// No socket could be opened.
    #[error(transparent)]
    Socket(Arc<BindError>),
    /// The client's task ended before the request was answered, because the runtime is being shut down.
    #[error("the client was shut down; the request may or may not take effect")]
    ShutDown,
}

const BUSY_UNSENT: &str = ", so its session is not open and it has no effect";
const EXPIRED_SENT: &str = "the request may or may not have taken effect before; open a new session";
const EXPIRED_UNSENT: &str = "the request was not sent and has no effect; open a new session";

impl ClientError {
    /// Whether the operation may have taken effect, or may yet do so. If not, it is safe to try again.
    #[must_use]
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::OutcomeUnknown { .. } | Self::ShutDown => true,
            Self::SessionExpired { sent } | Self::Busy { sent, .. } => *sent,
            Self::NotSent { .. }
            | Self::Unreachable { .. }
            | Self::Unanswered { .. }
            | Self::ReadUnanswered { .. }
            | Self::Refused { .. }
            | Self::TooLarge(_)
            | Self::Socket(_)
            | Self::OpeningRefused(_) => false,
        }
    }
}

impl ClientError {
    /// The error of a session that is not open when the time is up.
    pub(crate) fn not_opened(
        waited: Duration,
        reach: Reach,
        standing: &Standing,
        configuration: &Configuration,
    ) -> Self {
        if reach.reachable() == 0 || standing.is_hopeless(configuration) {
            Self::Unreachable { waited, reach }
        } else if standing.shed_by > 0 {
            Self::Busy { waited, replicas: standing.shed_by, sent: false, reach }
        } else {
            Self::Unanswered { waited, reach }
        }
    }
}

impl From<SubmitError> for ClientError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::SessionOver => Self::SessionExpired { sent: false },
            other => Self::TooLarge(other),
        }
    }
}

/// How much of the cluster a client reached. It displays as in "2 of 4 replicas reachable, 2 matching replies needed".
#[derive(Clone, Debug)]
pub struct Reach {
    /// The links, by replica.
    pub links: Links,
    /// How many replicas must answer alike: f+1, or a quorum for an unordered read.
    pub needed: usize,
}

impl Reach {
    /// How many replicas are reachable.
    #[must_use]
    pub fn reachable(&self) -> usize {
        self.links.iter().filter(|link| matches!(link, LinkState::Up { .. })).count()
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reachable, all, needed) = (self.reachable(), self.links.len(), self.needed);
        write!(formatter, "{reachable} of {all} replicas reachable, {needed} matching replies needed")
    }
}

/// Why the unreachable replicas are so: one of them, one that said why if there is one, and that there are more.
fn reasons(reach: &Reach) -> String {
    let lacking = || reach.links.iter().enumerate().filter(|(_, link)| !matches!(link, LinkState::Up { .. }));
    let told = lacking().find(|(_, link)| matches!(link, LinkState::Down { .. }));
    let more = if lacking().count() > 1 { " (and others)" } else { "" };
    match told.or_else(|| lacking().next()) {
        None => "; a quorum of replicas must work: look at their logs".to_owned(),
        Some((index, LinkState::Down { reason })) => format!("; r{index}: {reason}{more}"),
        Some((index, _)) => format!("; r{index}: no answer yet{more}"),
    }
}
