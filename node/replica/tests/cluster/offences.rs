//! What is bad costs its sender and nobody else (R3).

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;

use pbft_crypto::{Domain, SecretKey, Signed, Verified};
use pbft_messages::{
    ClientMessage, Commit, PeerMessage, ReplicaId, RequestNumber, SessionId, Submission, View, codec,
};
use pbft_node::Durability;
use pbft_transport::{
    ClientEndpoint, Lane, LinkEvent, LinkLimits, PeerAddress, PeerEvent, PeerLimits, PeerNetwork,
    PeerSettings,
};
use serde_json::json;

use crate::client::Client;
use crate::cluster::{Cluster, PATIENCE, client_key, replica_key};

/// The value of a metric of one replica.
async fn metric(cluster: &Cluster, replica: usize, name: &str) -> f64 {
    let answer = cluster.control(replica).await.request(&json!({"command": "metrics"})).await.unwrap();
    let text = answer["metrics"].as_str().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("a metric");
    line.parse().unwrap()
}

/// r3 speaks nonsense under its own key. The other three go on agreeing, and count it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_sends_nonsense_disturbs_nobody() {
    let mut cluster = Cluster::new(Durability::Sync);
    for replica in 0..3 {
        cluster.start_replica(replica).await;
    }
    let configuration = cluster.configuration.clone();
    let member = |id: ReplicaId| configuration.member(id).unwrap().clone();
    let (liar, mut receivers) = PeerNetwork::bind(PeerSettings {
        identity: Arc::new(replica_key(3)),
        id: ReplicaId(3),
        listen: member(ReplicaId(3)).peer_address,
        peers: configuration
            .replicas()
            .map(|id| PeerAddress { id, key: member(id).key, address: member(id).peer_address })
            .collect(),
        cluster: configuration.scope().cluster,
        limits: PeerLimits::default(),
        layer: None,
    })
    .unwrap();
    let connected = async {
        let mut up = 0;
        while up < 3 {
            up += usize::from(matches!(receivers.links.recv().await, Some(PeerEvent::Connected(_))));
        }
    };
    timeout(PATIENCE, connected).await.expect("the links come up");

    // Not a message; a message cut short; a vote in another's name; a vote with a signature of something else.
    let vote = |sequence| {
        let value = Commit {
            view: View(0),
            sequence: pbft_messages::Sequence(sequence),
            digest: pbft_crypto::Digest::of(Domain::Batch, b"batch"),
        };
        Verified::sign(value, ReplicaId(3), &replica_key(3), configuration.scope()).signed().clone()
    };
    let good = vote(1);
    let other_name = Signed::from_parts(ReplicaId(1), good.payload().clone(), *good.signature());
    let other_vote = Signed::from_parts(ReplicaId(3), vote(2).payload().clone(), *good.signature());
    let encoded = PeerMessage::Commit(good).encode();
    let bad = [
        Bytes::from_static(b"nonsense"),
        encoded.slice(..encoded.len() - 1),
        PeerMessage::Commit(other_name).encode(),
        PeerMessage::Commit(other_vote).encode(),
    ];
    for frame in &bad {
        liar.broadcast(Lane::Votes, frame.clone());
        liar.broadcast(Lane::Bulk, frame.clone());
    }

    let mut client = Client::connect(&configuration, 1, &[0, 1, 2]).await;
    for number in 0..10 {
        client.execute(&format!("operation {number}")).await;
    }
    for replica in 0..3 {
        let counted = async {
            // There is no event for a metric.
            while metric(&cluster, replica, "pbft_bad_peer_frames_total").await < 8.0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, counted).await.expect("the nonsense is counted");
        assert!(metric(&cluster, replica, "pbft_peer_offences{peer=\"r3\"}").await >= 8.0);
        assert!(cluster.status(replica).await.view == View(0));
    }
    liar.shutdown().await;
    cluster.stop().await;
}

/// A client that lies loses its connection, and the next client is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_nonsense_loses_its_connection() {
    let mut cluster = Cluster::start(Durability::Memory).await;
    let configuration = cluster.configuration.clone();
    let endpoint =
        ClientEndpoint::new(Arc::new(client_key()), configuration.scope().cluster, LinkLimits::default())
            .unwrap();
    let member = configuration.member(ReplicaId(0)).unwrap();
    let session = SessionId(1);
    let submit = |submission: Submission, key: &SecretKey| {
        let signed = Verified::sign(submission, client_key_id(), key, configuration.scope());
        Bytes::from(codec::encode(&ClientMessage::Submit(signed.signed().clone())))
    };
    let empty = Submission::Requests { session, first: RequestNumber(1), operations: vec![] };
    let bad = [
        Bytes::from_static(b"nonsense"),
        submit(Submission::Open { session: SessionId(2) }, &client_key()),
        submit(Submission::Open { session }, &replica_key(0)),
        submit(empty, &client_key()),
    ];
    for (index, frame) in bad.into_iter().enumerate() {
        let (link, mut events) =
            endpoint.link(ReplicaId(0), member.key, member.client_address, session).unwrap();
        let cut = async {
            while events.recv().await != Some(LinkEvent::Connected) {}
            link.send(frame);
            while events.recv().await != Some(LinkEvent::Disconnected) {}
        };
        timeout(PATIENCE, cut).await.unwrap_or_else(|_| panic!("frame {index} closes the connection"));
    }
    assert!(metric(&cluster, 0, "pbft_bad_client_frames_total").await >= 4.0);
    Client::connect(&configuration, 3, &[0, 1, 2, 3]).await.execute("still there").await;
    cluster.stop().await;
}

fn client_key_id() -> pbft_messages::ClientId {
    use pbft_crypto::Signer as _;
    client_key().public_key().into()
}
