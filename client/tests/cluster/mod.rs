//! A stand-in for a cluster: real transport, real service, no agreement. One lock orders what comes in at any
//! replica, so correct replicas answer alike; each can be told to misbehave.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene should panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use pbft_crypto::{SecretKey, Signer as _, Verified};
use pbft_messages::{
    ClientMessage, ClusterFile, Configuration, Member, Outcome, Parameters, Read, ReadAnswer, ReadOutcome,
    Refusal, ReplicaId, ReplicaMessage, ReplicaTable, Reply, RequestId, RequestNumber, Sequence, SessionId,
    Submission, Timestamp, View, codec,
};
use pbft_service::kv::KeyValueStore;
use pbft_service::{Context, Service as _};
use pbft_transport::{ClientEvent, ClientLimits, ClientListener, ClientSettings, ConnectionId};

/// What a replica does with submissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers.
    Correct,
    /// Takes connections and never says a word.
    Silent,
    /// Answers everything with a lie, and claims a high view.
    Liar,
    /// Always says that it is busy.
    Busy,
    /// Opens sessions and is silent otherwise.
    OpensOnly,
}

/// The order, and the state that follows from it.
#[derive(Default)]
struct Order {
    store: KeyValueStore,
    sequence: u64,
    replies: BTreeMap<RequestId, Reply>,
    sessions: BTreeSet<SessionId>,
    /// Where each replica answers, and how.
    replicas: Vec<Replica>,
    /// What each replica was sent, with repetitions: the numbers of the first requests.
    received: Vec<(ReplicaId, RequestNumber)>,
    /// How many unordered reads all replicas were sent.
    reads: usize,
}

pub(crate) struct Cluster {
    pub(crate) configuration: Configuration,
    order: Arc<Mutex<Order>>,
    listeners: Vec<ClientListener>,
}

pub(crate) fn client_key() -> SecretKey {
    SecretKey::from_seed(&[200; 32])
}

pub(crate) fn replica_key(index: usize) -> SecretKey {
    SecretKey::from_seed(&[index as u8 + 1; 32])
}

impl Cluster {
    /// Starts a replica of each manner, on ports that the system chooses.
    pub(crate) fn start(manners: &[Manner]) -> Self {
        Self::start_with(manners, Parameters::default())
    }

    pub(crate) fn start_with(manners: &[Manner], parameters: Parameters) -> Self {
        // The cluster's identity does not depend on addresses, so it is known before the ports are.
        let members = |port: &dyn Fn(usize) -> std::net::SocketAddr| {
            let member = |index: usize| Member {
                key: replica_key(index).public_key(),
                peer_address: ([127, 0, 0, 2], 1 + index as u16).into(),
                client_address: port(index),
            };
            (0..manners.len()).map(member).collect::<Vec<_>>()
        };
        let make = |members| {
            Configuration::new("test".into(), members, [client_key().public_key()], parameters.clone())
                .unwrap()
        };
        let early = make(members(&|index| ([127, 0, 0, 3], 1 + index as u16).into()));
        let order = Arc::new(Mutex::new(Order::default()));
        let listeners: Vec<_> = manners
            .iter()
            .enumerate()
            .map(|(index, manner)| replica(index, *manner, early.clone(), order.clone()))
            .collect();
        let configuration = make(members(&|index| listeners[index].local_addr()));
        Self { configuration, order, listeners }
    }

    /// The numbers of the submissions that a replica was sent, with repetitions.
    pub(crate) fn received(&self, replica: u16) -> Vec<u64> {
        let order = self.order.lock().unwrap();
        let of = order.received.iter().filter(|(who, _)| *who == ReplicaId(replica));
        of.map(|(_, first)| first.0).collect()
    }

    /// How many unordered reads all replicas were sent.
    pub(crate) fn reads(&self) -> usize {
        self.order.lock().unwrap().reads
    }

    /// Forgets a session, as if newer ones had taken its place.
    pub(crate) fn evict(&self, session: SessionId) {
        self.order.lock().unwrap().sessions.remove(&session);
    }

    /// Ends a replica for good.
    pub(crate) async fn stop(&self, replica: usize) {
        self.listeners[replica].shutdown().await;
    }

    pub(crate) fn connections(&self) -> usize {
        self.listeners.iter().map(|listener| listener.statistics().connections).sum()
    }

    /// The text of the cluster's file.
    pub(crate) fn file(&self) -> String {
        let replica = |id| {
            let member = self.configuration.member(id).unwrap();
            ReplicaTable {
                key: member.key.to_string(),
                peer_address: member.peer_address,
                client_address: member.client_address,
            }
        };
        let file = ClusterFile {
            name: "test".into(),
            parameters: Default::default(),
            replica: self.configuration.replicas().map(replica).collect(),
            client: vec![pbft_messages::ClientTable { key: client_key().public_key().to_string() }],
        };
        file.to_text()
    }
}

fn replica(
    index: usize,
    manner: Manner,
    configuration: Configuration,
    order: Arc<Mutex<Order>>,
) -> ClientListener {
    let settings = ClientSettings {
        identity: Arc::new(replica_key(index)),
        listen: ([127, 0, 0, 1], 0).into(),
        cluster: configuration.scope().cluster,
        admitted: vec![client_key().public_key()],
        limits: ClientLimits {
            frame_bytes: configuration.parameters().frame_bytes,
            ..ClientLimits::default()
        },
    };
    let (listener, mut events) = ClientListener::bind(settings).unwrap();
    let replica = Replica { manner, listener: listener.clone(), connections: BTreeMap::new() };
    order.lock().unwrap().replicas.push(replica);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let mut order = order.lock().unwrap();
            match event {
                ClientEvent::Connected { connection, session, .. } => {
                    order.replicas[index].connections.insert(session, connection);
                }
                ClientEvent::Disconnected { .. } => {}
                ClientEvent::Frame { frame, session, .. } => match codec::decode(&frame).unwrap() {
                    ClientMessage::Submit(signed) => {
                        order.on_submission(index, &signed.verify(&configuration).unwrap());
                    }
                    ClientMessage::Read(read) => order.on_read(index, session, &read),
                },
            }
        }
    });
    listener
}

struct Replica {
    manner: Manner,
    listener: ClientListener,
    connections: BTreeMap<SessionId, ConnectionId>,
}

impl Replica {
    /// Sends, as a real replica does, on the connection of the session, whoever passed the request on.
    fn send(&self, session: SessionId, message: &ReplicaMessage) {
        if let Some(connection) = self.connections.get(&session) {
            self.listener.send(*connection, codec::encode(message).into());
        }
    }

    fn answer(&self, session: SessionId, mut replies: Vec<Reply>) {
        let opens = replies[0].number.0 == 0;
        match self.manner {
            Manner::OpensOnly if !opens => return,
            Manner::Silent | Manner::Busy => return,
            Manner::Correct | Manner::OpensOnly => {}
            Manner::Liar => {
                for reply in &mut replies {
                    reply.view = View(u64::MAX - 2);
                    reply.outcome = Outcome::Executed(Bytes::from_static(b"lie"));
                }
            }
        }
        self.send(session, &ReplicaMessage::Replies(replies));
    }
}

impl Order {
    /// What replica `index` does with a submission: a correct one sees to it that all replicas execute it.
    fn on_submission(&mut self, index: usize, submission: &Verified<Submission>) {
        let session = submission.value().session();
        let first = submission.value().requests().next().unwrap().number;
        self.received.push((ReplicaId(index as u16), first));
        match self.replicas[index].manner {
            Manner::Silent => {}
            Manner::Busy => self.replicas[index].send(session, &ReplicaMessage::Busy { session, first }),
            Manner::Correct | Manner::OpensOnly | Manner::Liar => {
                let replies = self.replies(submission.signer(), submission.value());
                self.replicas.iter().for_each(|replica| replica.answer(session, replies.clone()));
            }
        }
    }

    /// Any replica's own answer, from the state that all share.
    fn on_read(&mut self, index: usize, session: SessionId, read: &Read) {
        self.reads += 1;
        let outcome = match self.replicas[index].manner {
            Manner::Silent | Manner::OpensOnly => return,
            Manner::Busy => ReadOutcome::Refused,
            Manner::Liar => {
                ReadOutcome::Result { sequence: Sequence(u64::MAX), result: Bytes::from_static(b"lie") }
            }
            Manner::Correct => {
                let result = self.store.reader().query(&read.operation);
                ReadOutcome::Result { sequence: Sequence(self.sequence), result }
            }
        };
        let answer = ReadAnswer { id: read.id, outcome };
        self.replicas[index].send(session, &ReplicaMessage::Read(answer));
    }

    fn replies(&mut self, client: pbft_messages::ClientId, submission: &Submission) -> Vec<Reply> {
        let session = submission.session();
        let mut replies = Vec::new();
        for request in submission.requests() {
            let id = RequestId { client, session, number: request.number };
            if let Some(reply) = self.replies.get(&id) {
                replies.push(reply.clone());
                continue;
            }
            self.sequence += 1;
            let sequence = Sequence(self.sequence);
            let outcome = if request.number.0 == 0 {
                if self.sessions.last().is_none_or(|last| *last < session) {
                    self.sessions.insert(session);
                    Outcome::Opened
                } else {
                    Outcome::Refused(Refusal::SessionExpired)
                }
            } else if self.sessions.contains(&session) {
                let time = Timestamp(self.sequence);
                self.store.begin_batch(sequence, Some(time));
                let context = Context { sequence, time, client, session };
                Outcome::Executed(self.store.execute(&context, request.operation).result)
            } else {
                Outcome::Refused(Refusal::SessionExpired)
            };
            let digest = id.digest(request.operation);
            let reply = Reply { view: View(0), session, number: request.number, digest, sequence, outcome };
            self.replies.insert(id, reply.clone());
            replies.push(reply);
        }
        replies
    }
}
