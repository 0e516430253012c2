//! A session's links to all replicas.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;

use pbft_messages::{ClientMessage, Configuration, ReplicaId, ReplicaMessage, SessionId, codec};
use pbft_transport::{BindError, ClientEndpoint, DialError, LinkEvent, LinkSender, Refusal};

/// How a link is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// The first attempt is under way.
    Connecting,
    /// The replica took the connection.
    Up {
        /// The time of a round trip to the replica, as measured while connecting.
        round_trip: Option<Duration>,
    },
    /// The replica is out of reach, or refuses this client. Attempts go on.
    Down {
        /// Why, as a sentence for people.
        reason: LinkFailure,
    },
}

/// The links of a session, by replica: r0's first.
pub type Links = Vec<LinkState>;

/// Why a link is down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkFailure {
    /// It was up, and broke.
    #[error("the connection was lost")]
    Lost,
    /// It could not be made.
    #[error(transparent)]
    Dial(#[from] DialError),
}

impl LinkFailure {
    /// Whether trying again won't help until somebody changes a file.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::Dial(
                DialError::WrongKey
                    | DialError::Refused(
                        Refusal::UnknownKey
                            | Refusal::Version { .. }
                            | Refusal::WrongCluster
                            | Refusal::WrongSocket
                    )
            )
        )
    }
}

/// What links tell the session.
pub(crate) enum LinkNews {
    /// A message of a replica.
    Message(ReplicaId, ReplicaMessage),
    /// A link came up or went down.
    State(ReplicaId, LinkState),
}

struct Link {
    sender: LinkSender,
    /// `None` once the endpoint has shut down.
    events: Option<mpsc::Receiver<LinkEvent>>,
    up: bool,
}

/// Both ends of all links of one session.
pub(crate) struct LinkSet {
    links: Vec<Link>,
    /// Which link to look at first, so that a talkative replica does not silence the others.
    turn: usize,
    /// Whose handle keeps the socket open.
    _endpoint: ClientEndpoint,
}

impl LinkSet {
    /// Starts to dial every replica.
    pub(crate) fn new(
        endpoint: &ClientEndpoint,
        configuration: &Configuration,
        session: SessionId,
    ) -> Result<Self, BindError> {
        let members = configuration.replicas().filter_map(|id| Some((id, configuration.member(id)?)));
        let links = members.map(|(replica, member)| {
            let (sender, events) = endpoint.link(replica, member.key, member.client_address, session)?;
            Ok(Link { sender, events: Some(events), up: false })
        });
        Ok(Self { links: links.collect::<Result<_, BindError>>()?, turn: 0, _endpoint: endpoint.clone() })
    }

    /// Sends where the link is up. What is meant for others is left out: the core sends it when their link comes up.
    pub(crate) fn send(&self, to: &[ReplicaId], message: &ClientMessage) {
        let frame = bytes::Bytes::from(codec::encode(message));
        for link in to.iter().filter_map(|replica| self.links.get(replica.index())).filter(|link| link.up) {
            link.sender.send(frame.clone());
        }
    }

    /// Waits for news of any link. Dropping the future loses nothing.
    pub(crate) async fn news(&mut self) -> LinkNews {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<LinkNews> {
        for offset in 0..self.links.len() {
            let index = (self.turn + offset) % self.links.len();
            let Link { sender, events: Some(events), up } = &mut self.links[index] else { continue };
            let replica = ReplicaId(index as u16);
            let state = loop {
                match events.poll_recv(context) {
                    Poll::Pending => break None,
                    Poll::Ready(Some(LinkEvent::Frame(frame))) => match codec::decode(&frame) {
                        Ok(message) => {
                            self.turn = index + 1;
                            return Poll::Ready(LinkNews::Message(replica, message));
                        }
                        Err(error) => tracing::debug!(%replica, %error, "skipped a message"),
                    },
                    Poll::Ready(Some(LinkEvent::Connected)) => {
                        break Some(LinkState::Up { round_trip: sender.round_trip() });
                    }
                    Poll::Ready(Some(LinkEvent::Disconnected)) => {
                        break Some(LinkState::Down { reason: LinkFailure::Lost });
                    }
                    Poll::Ready(Some(LinkEvent::Refused(refusal))) => {
                        let reason = DialError::Refused(refusal).into();
                        break Some(LinkState::Down { reason });
                    }
                    Poll::Ready(Some(LinkEvent::Unreachable(error))) => {
                        break Some(LinkState::Down { reason: error.into() });
                    }
                    Poll::Ready(None) => {
                        self.links[index].events = None;
                        self.links[index].up = false;
                        return Poll::Ready(LinkNews::State(
                            replica,
                            LinkState::Down { reason: LinkFailure::Lost },
                        ));
                    }
                }
            };
            if let Some(state) = state {
                *up = matches!(state, LinkState::Up { .. });
                self.turn = index + 1;
                return Poll::Ready(LinkNews::State(replica, state));
            }
        }
        Poll::Pending
    }
}
