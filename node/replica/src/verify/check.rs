//! Checking one frame, and what comes of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use pbft_crypto::{Malformed, Rejected, mutant};
use pbft_messages::{
    ClientId, ClientMessage, Configuration, Message, PeerMessage, Read, ReadAnswer, ReadOutcome, ReplicaId,
    ReplicaMessage, codec,
};
use pbft_protocol::Input;
use pbft_transport::{ClientListener, ConnectionId, PeerNetwork};

use super::submissions::{self, FromClient};
use crate::events::Metrics;
use crate::inbound::{Class, Inbound, Room};

/// A frame to check, and its place in its sender's budget.
pub(super) enum Job {
    Peer(PeerJob),
    Client(ClientJob),
}

/// A replica's.
pub(super) struct PeerJob {
    pub(super) from: ReplicaId,
    pub(super) class: Class,
    pub(super) frame: Frame,
    pub(super) room: Room,
}

/// A client's.
pub(super) struct ClientJob {
    pub(super) connection: ConnectionId,
    pub(super) frame: FromClient,
    pub(super) room: Room,
}

/// A replica's frame, as far as it was read.
pub(super) enum Frame {
    Bytes(Bytes),
    Message(PeerMessage),
}

/// What checking found.
pub(super) enum Checked {
    Peer { from: ReplicaId, class: Class, result: Result<Message, Bad>, room: Room },
    Client { connection: ConnectionId, client: ClientId, result: Result<Input, Bad>, room: Room },
}

/// Why a frame is not believed.
pub(super) struct Bad {
    why: String,
    /// Whether no correct replica sends this.
    offence: bool,
    /// Whether a signature is bad: what costs others when signatures are checked together.
    pub(super) forged: bool,
    /// What the protocol is told of it all the same.
    remains: Option<Box<Message>>,
}

impl Job {
    /// About how many bytes there are to check.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Client(job) => job.frame.frame.len(),
            Self::Peer(PeerJob { frame: Frame::Bytes(bytes), .. }) => bytes.len(),
            // The receiving task reads a few small ones only.
            Self::Peer(PeerJob { frame: Frame::Message(_), .. }) => 0,
        }
    }
}

impl Checked {
    /// The client that has sent a bad signature, if this is one.
    pub(super) fn forger(&self) -> Option<ClientId> {
        match self {
            Self::Client { client, result: Err(Bad { forged: true, .. }), .. } => Some(*client),
            _ => None,
        }
    }
}

/// Checks frames and passes on what is good.
#[derive(Clone)]
pub(crate) struct Checker {
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) network: PeerNetwork,
    pub(crate) listener: ClientListener,
    pub(crate) inbound: Inbound,
    pub(crate) metrics: Arc<Metrics>,
}

impl Checker {
    /// Checks a replica's frame, which is costly: for any thread.
    pub(super) fn check_peer(&self, job: PeerJob) -> Checked {
        let PeerJob { from, class, frame, room } = job;
        Checked::Peer { from, class, result: contained(|| verify_peer(frame, &self.configuration)), room }
    }

    /// Checks frames of clients, together.
    pub(super) fn check_clients(&self, jobs: Vec<ClientJob>) -> Vec<Checked> {
        let split = jobs.into_iter().map(|job| (job.frame, (job.connection, job.room)));
        let (frames, ends): (Vec<_>, Vec<_>) = split.unzip();
        let results = submissions::check(&frames, &self.configuration);
        let checked = frames.iter().zip(ends).zip(results).map(|((frame, (connection, room)), result)| {
            Checked::Client { connection, client: frame.client, result, room }
        });
        checked.collect()
    }

    /// Passes on what is good, and lets what is bad cost its sender.
    pub(super) fn deliver(&self, checked: Checked) {
        match checked {
            Checked::Peer { from, class, result: Ok(message), room } => {
                self.inbound.message(class, Input::Message { from, message }, room);
            }
            Checked::Client { result: Ok(input), room, .. } => {
                self.inbound.message(Class::Clients, input, room);
            }
            Checked::Peer { from, class, result: Err(Bad { why, offence, remains, .. }), room } => {
                tracing::debug!(%from, why, offence, "a replica's message was not believed");
                self.metrics.bad_peer_frame();
                if offence {
                    self.network.offence(from);
                }
                if let Some(message) = remains.map(|message| *message) {
                    self.inbound.message(class, Input::Message { from, message }, room);
                }
            }
            Checked::Client { connection, client, result: Err(Bad { why, .. }), .. } => {
                tracing::debug!(%connection, %client, why, "closing: a client's message was not believed");
                self.metrics.bad_client_frame();
                self.listener.close(connection);
            }
        }
    }

    /// Tells a client that there is no room for its frame, which is not checked: it costs next to nothing.
    pub(super) fn shed(&self, connection: ConnectionId, frame: &[u8]) {
        self.metrics.shed_client_frame();
        if let Some(answer) = refusal(frame) {
            self.listener.send(connection, codec::encode(&answer).into());
        }
    }

    /// Reads a replica's frame, for whoever has to know what it is before it is checked.
    pub(super) fn decode(&self, frame: &Bytes) -> Frame {
        // What does not decode is judged by the check, like everything else.
        PeerMessage::decode(frame).map_or_else(|_| Frame::Bytes(frame.clone()), Frame::Message)
    }
}

fn verify_peer(frame: Frame, configuration: &Configuration) -> Result<Message, Bad> {
    let message = match frame {
        Frame::Bytes(bytes) => PeerMessage::decode(&bytes)?,
        Frame::Message(message) => message,
    };
    // Which clients are admitted may change, at one replica before another, so an unknown one is no offence of
    // the replica that passes its submission on.
    let passes_on = matches!(message, PeerMessage::Forward(_) | PeerMessage::Proposal(..));
    // Once it was found good, that is remembered; a bad one is not looked at twice.
    let header = message.header().map(|header| header.verify(configuration)).transpose()?;
    message.verify(configuration).map_err(|error| {
        let offence = !(passes_on && matches!(error, Rejected::UnknownSigner(_)));
        Bad { offence, remains: header.map(|it| Box::new(Message::RefusedProposal(it))), ..error.into() }
    })
}

impl From<Malformed> for Bad {
    fn from(error: Malformed) -> Self {
        Rejected::from(error).into()
    }
}

impl From<Rejected> for Bad {
    fn from(error: Rejected) -> Self {
        let forged = matches!(error, Rejected::BadSignature(_));
        Self { why: error.to_string(), offence: true, forged, remains: None }
    }
}

/// What a client is told whose frame is not looked at; `None` if it is no message.
fn refusal(frame: &[u8]) -> Option<ReplicaMessage> {
    match codec::decode(frame).ok()? {
        ClientMessage::Submit(signed) => {
            let submission = signed.peek().ok()?;
            let first = submission.requests().next()?.number;
            Some(ReplicaMessage::Busy { session: submission.session(), first })
        }
        ClientMessage::Read(Read { id, .. }) => {
            Some(ReplicaMessage::Read(ReadAnswer { id, outcome: ReadOutcome::Refused }))
        }
    }
}

/// No input panics (R4); should one do so all the same, it costs its sender and not this thread (fault 34).
pub(super) fn contained<T>(check: impl FnOnce() -> Result<T, Bad>) -> Result<T, Bad> {
    if mutant!("panic-uncontained") {
        return check();
    }
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| {
        tracing::error!("checking a message panicked: this is an error of pbft-node");
        Err(Bad { why: "checking it panicked".into(), offence: true, forged: false, remains: None })
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use rand::RngExt as _;
    use rand::rngs::StdRng;

    use pbft_crypto::{SecretKey, Signature, Signed, Signer as _, Verified};
    use pbft_messages::{Body, PrePrepare, Sequence, SessionId, Submission, Timestamp, View};

    use super::*;
    use crate::testing::{client_key, configuration, replica_key};

    /// R4: a thread that checks gives each frame its verdict, in order, however many of the checks panic.
    pub(crate) fn panicking_checks(random: &mut StdRng) {
        let checks: Vec<u8> = (0..random.random_range(1..20)).map(|_| random.random_range(0..6)).collect();
        let ((give, jobs), (tell, verdicts)) = (channel(), channel());
        let thread = thread::spawn(move || {
            for kind in jobs {
                let result = contained(|| match kind {
                    0 => panic!("as if a decoder had an error"),
                    1 => Err(Malformed("it is cut short".into()).into()),
                    kind => Ok(kind),
                });
                // Whoever asks may have given up.
                let _ = tell.send(result.map_err(|bad| bad.offence));
            }
        });
        for kind in &checks {
            // Nobody listens to it any more if its thread has ended, which is told below.
            let _ = give.send(*kind);
        }
        drop(give);
        let told: Vec<_> = verdicts.iter().collect();
        let lives = thread.join().is_ok();
        let right = |kind: &u8| if *kind < 2 { Err(true) } else { Ok(*kind) };
        assert!(
            lives && told == checks.iter().map(right).collect::<Vec<_>>(),
            "a check takes its thread along"
        );
    }

    /// Who sends a proposal is trusted with its header, and not with the clients in its body, whom another replica may
    /// admit already. Of a bad header nothing remains.
    #[test]
    fn a_proposal_is_judged_by_its_header_first() {
        let configuration = configuration(4);
        let (admitted, stranger) = (client_key(), SecretKey::from_seed(&[99; 32]));
        let bad_signature = Signature::from_bytes(&[7; 64]);
        for (primary, client, is_signed, offence, remains) in [
            (0, &stranger, true, false, true),
            (0, &admitted, false, true, false),
            (9, &admitted, true, true, false),
        ] {
            let submission = Submission::Open { session: SessionId(1) };
            let submission =
                Verified::sign(submission, client.public_key().into(), client, configuration.scope());
            let body = Arc::new(Body::new(Timestamp(1), &[submission]));
            let header = PrePrepare { view: View(0), sequence: Sequence(1), digest: body.digest() };
            let (key, primary) = (replica_key(primary), ReplicaId(primary));
            let header = Verified::sign(header, primary, &key, configuration.scope());
            let mut header = header.signed().clone();
            if !is_signed {
                header = Signed::from_parts(primary, header.payload().clone(), bad_signature);
            }
            let frame = Frame::Message(PeerMessage::Proposal(header, body));
            let bad = verify_peer(frame, &configuration).expect_err("something is bad in each");
            assert_eq!((bad.offence, bad.remains.is_some()), (offence, remains), "{}", bad.why);
        }
    }

    /// Fault 34: the task that checks goes on, whatever it was fed.
    #[test]
    fn fault_34_a_check_that_panics_costs_its_sender_alone() {
        let result = contained::<()>(|| panic!("as if a decoder had an error"));
        assert!(matches!(result, Err(Bad { offence: true, .. })));
    }
}
