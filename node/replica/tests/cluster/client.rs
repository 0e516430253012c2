//! A client that sends each request to all replicas and believes f+1 of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use pbft_crypto::{Signer as _, Verified};
use pbft_messages::{
    ClientMessage, Configuration, Outcome, Read, ReadId, ReadOutcome, ReplicaMessage, RequestNumber,
    Sequence, SessionId, Submission, codec,
};
use pbft_transport::{ClientEndpoint, LinkEvent, LinkLimits, LinkSender};

use crate::cluster::{PATIENCE, client_key};

pub(crate) struct Client {
    configuration: Arc<Configuration>,
    _endpoint: ClientEndpoint,
    links: Vec<LinkSender>,
    frames: mpsc::Receiver<(usize, Bytes)>,
    session: SessionId,
    last: u64,
    last_read: u64,
}

impl Client {
    /// Connects to all replicas that run, and opens a session.
    pub(crate) async fn connect(
        configuration: &Arc<Configuration>,
        session: u64,
        replicas: &[usize],
    ) -> Self {
        let cluster = configuration.scope().cluster;
        let endpoint = ClientEndpoint::new(Arc::new(client_key()), cluster, LinkLimits::default()).unwrap();
        let (sender, frames) = mpsc::channel(1024);
        let session = SessionId(session);
        let mut links = Vec::new();
        for id in configuration.replicas() {
            let member = configuration.member(id).unwrap();
            let (link, mut events) = endpoint.link(id, member.key, member.client_address, session).unwrap();
            if replicas.contains(&id.index()) {
                let connected = async { while events.recv().await != Some(LinkEvent::Connected) {} };
                timeout(PATIENCE, connected).await.expect("the link comes up");
            }
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(event) = events.recv().await {
                    if let LinkEvent::Frame(frame) = event {
                        let _ = sender.send((id.index(), frame)).await;
                    }
                }
            });
            links.push(link);
        }
        let configuration = configuration.clone();
        let mut client =
            Self { configuration, _endpoint: endpoint, links, frames, session, last: 0, last_read: 0 };
        let opened = client.submit(Submission::Open { session }, 0).await;
        assert_eq!(opened.1, Outcome::Opened);
        client
    }

    /// Executes an operation; where it was executed, and its result.
    pub(crate) async fn execute(&mut self, operation: &str) -> (Sequence, Bytes) {
        self.last += 1;
        let operations = vec![Bytes::copy_from_slice(operation.as_bytes())];
        let submission =
            Submission::Requests { session: self.session, first: RequestNumber(self.last), operations };
        match self.submit(submission, self.last).await {
            (sequence, Outcome::Executed(result)) => (sequence, result),
            other => panic!("{other:?}"),
        }
    }

    /// Asks all replicas without ordering it; the result that a quorum gave.
    pub(crate) async fn read(&mut self, operation: &str) -> Bytes {
        let operation = Bytes::copy_from_slice(operation.as_bytes());
        let mut answers: BTreeMap<usize, Bytes> = BTreeMap::new();
        let answered = async {
            let mut again = tokio::time::interval(std::time::Duration::from_millis(500));
            let mut id = ReadId(0);
            loop {
                tokio::select! {
                    _ = again.tick() => {
                        // Replicas may have refused the one before.
                        self.last_read += 1;
                        id = ReadId(self.last_read);
                        answers.clear();
                        let read = Read { id, operation: operation.clone() };
                        let frame = Bytes::from(codec::encode(&ClientMessage::Read(read)));
                        for link in &self.links {
                            let _ = link.send(frame.clone());
                        }
                    }
                    frame = self.frames.recv() => {
                        let (from, frame) = frame.expect("the links last");
                        let ReplicaMessage::Read(answer) = codec::decode(&frame).unwrap() else { continue };
                        let ReadOutcome::Result { result, .. } = answer.outcome else { continue };
                        if answer.id == id {
                            answers.insert(from, result.clone());
                        }
                        let equal = answers.values().filter(|other| **other == result).count();
                        if self.configuration.quorum().reached(equal) {
                            return result;
                        }
                    }
                }
            }
        };
        timeout(PATIENCE, answered).await.expect("the read is answered in time")
    }

    /// Sends a submission and waits for f+1 equal answers to its request `number`; sends it again meanwhile, for
    /// links and views may change.
    async fn submit(&mut self, submission: Submission, number: u64) -> (Sequence, Outcome) {
        let key = client_key();
        let signed = Verified::sign(submission, key.public_key().into(), &key, self.configuration.scope());
        let frame = Bytes::from(codec::encode(&ClientMessage::Submit(signed.signed().clone())));
        let mut answers: BTreeMap<usize, (Sequence, Outcome)> = BTreeMap::new();
        let answered = async {
            let mut again = tokio::time::interval(std::time::Duration::from_millis(500));
            loop {
                tokio::select! {
                    _ = again.tick() => {
                        for link in &self.links {
                            // What is lost is sent again.
                            let _ = link.send(frame.clone());
                        }
                    }
                    frame = self.frames.recv() => {
                        let (from, frame) = frame.expect("the links last");
                        let ReplicaMessage::Replies(replies) = codec::decode(&frame).unwrap() else { continue };
                        for reply in replies.into_iter().filter(|reply| reply.number.0 == number) {
                            let answer = (reply.sequence, reply.outcome);
                            answers.insert(from, answer.clone());
                            let equal = answers.values().filter(|other| **other == answer).count();
                            if self.configuration.weak_quorum().reached(equal) {
                                return answer;
                            }
                        }
                    }
                }
            }
        };
        timeout(PATIENCE, answered).await.expect("the request is answered in time")
    }
}
