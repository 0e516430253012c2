//! Replicas' links among themselves, over real QUIC on loopback.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use pbft_crypto::{Digest, Domain, Signer};
use pbft_messages::ReplicaId;
use pbft_transport::{BindError, DialError, Lane, PeerEvent, PeerNetwork, QueueLimits, Refusal};

use support::{Killable, Node, cluster, garbage, loopback, pair, replica_key, settings, soon};

const MIB: usize = 1 << 20;

fn numbered(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

#[tokio::test]
async fn frames_go_both_ways_and_keep_their_order() {
    let (mut zero, mut one) = pair(|_, _| {}).await;
    for number in 0..1000 {
        zero.network.send(ReplicaId(1), Lane::Votes, numbered(number));
        one.network.broadcast(Lane::Votes, numbered(number));
        if number < 100 {
            zero.network.broadcast(Lane::Bulk, numbered(number));
            one.network.send(ReplicaId(0), Lane::Bulk, numbered(number));
        }
    }
    for number in 0..1000 {
        let (from_zero, from_one) = (one.vote().await, zero.vote().await);
        assert_eq!((from_zero.from, from_zero.frame), (ReplicaId(0), numbered(number)));
        assert_eq!((from_one.from, from_one.frame), (ReplicaId(1), numbered(number)));
    }
    for number in 0..100 {
        assert_eq!(one.bulk().await.frame, numbered(number));
        assert_eq!(zero.bulk().await.frame, numbered(number));
    }
    let [statistics] = &zero.network.statistics()[..] else { panic!("one peer") };
    assert!(statistics.connected && statistics.round_trip.is_some());
    assert_eq!((statistics.votes.frames_sent, statistics.votes.frames_received), (1000, 1000));
    assert_eq!((statistics.votes.bytes_received, statistics.votes.dropped), (4000, 0));
    assert_eq!(statistics.connections, 1);
}

#[tokio::test]
async fn large_and_empty_frames_arrive_whole() {
    let (zero, mut one) = pair(|_, _| {}).await;
    let pattern: Vec<u8> = (0..16 * MIB).map(|place| (place % 251) as u8).collect();
    let frames = [Bytes::new(), Bytes::from(pattern), Bytes::from_static(b"after")];
    for frame in &frames {
        zero.network.send(ReplicaId(1), Lane::Bulk, frame.clone());
    }
    for frame in frames {
        assert!(one.bulk().await.frame == frame, "a frame of {} bytes changed", frame.len());
    }
}

#[tokio::test]
async fn a_vote_overtakes_a_large_bulk_frame() {
    let (zero, mut one) = pair(|_, _| {}).await;
    for _ in 0..3 {
        zero.network.send(ReplicaId(1), Lane::Bulk, Bytes::from(vec![7; 8 * MIB]));
    }
    zero.send(1, Lane::Votes, b"urgent");
    assert_eq!(one.vote().await.frame, "urgent");
    assert_eq!(one.receivers.bulk.try_recv(), None, "the vote came after 8 MiB of bulk");
    for _ in 0..3 {
        assert_eq!(one.bulk().await.frame.len(), 8 * MIB);
    }
}

/// The queue of a lane that nobody reads fills up, back to the sender, who drops and counts; votes go on.
#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let (mut zero, mut one) = pair(|_, settings| {
        settings.limits.bulk.outgoing = QueueLimits { frames: 8, bytes: 8 * MIB };
        settings.limits.bulk.incoming = QueueLimits { frames: 2, bytes: 2 * MIB };
    })
    .await;
    for number in 0..100_u32 {
        let frame = [&number.to_le_bytes()[..], &vec![0; MIB - 4]].concat();
        zero.network.send(ReplicaId(1), Lane::Bulk, Bytes::from(frame));
    }
    zero.exchange(0, &mut one, 1).await;
    let dropped = zero.network.statistics()[0].bulk.dropped;
    assert!((1..=92).contains(&dropped), "{dropped} dropped");
    let mut last = None;
    for _ in 0..100 - dropped {
        let number = u32::from_le_bytes(*one.bulk().await.frame.first_chunk().unwrap());
        assert!(last < Some(number), "order is kept around the gaps");
        last = Some(number);
    }
    assert_eq!(one.receivers.bulk.try_recv(), None);
}

#[tokio::test]
async fn frames_sent_while_the_link_is_down_are_dropped_and_counted() {
    let node = Node::bind(settings(0, 2, &[]));
    node.send(1, Lane::Votes, b"nobody is there");
    node.send(9, Lane::Votes, b"nobody ever was");
    assert_eq!(node.network.statistics()[0].votes.dropped, 1);
}

#[tokio::test]
async fn a_flooding_peer_does_not_delay_another() {
    let two = Node::bind(settings(2, 3, &[]));
    let addresses = [(2, two.network.local_addr())];
    let mut two = two;
    let mut one = Node::bind(settings(1, 3, &addresses));
    let mut zero = Node::bind(settings(0, 3, &[(1, one.network.local_addr()), addresses[0]]));
    zero.connected(2).await;
    one.connected(2).await;
    for number in 0..4000 {
        zero.network.send(ReplicaId(2), Lane::Votes, numbered(number));
    }
    // The flood has filled its queue when its own frames stop coming in.
    soon("the flood", async {
        while two.network.statistics()[0].votes.frames_received < 1000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    one.send(2, Lane::Votes, b"calm");
    soon("the calm vote to come in", async {
        while two.network.statistics()[1].votes.frames_received == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // It may need one more turn to be put where it is taken from.
    tokio::task::yield_now().await;
    let mut position = 0;
    while two.vote().await.from != ReplicaId(1) {
        position += 1;
    }
    assert!(position <= 16, "{position} frames of the flood were taken first");
}

#[tokio::test]
async fn the_wrong_key_is_refused_and_named() {
    // Replica 1 is somebody else than replica 0 expects.
    let mut impostor = settings(1, 2, &[]);
    impostor.identity = replica_key(7);
    let impostor = Node::bind(impostor);
    let mut zero = Node::bind(settings(0, 2, &[(1, impostor.network.local_addr())]));
    assert_eq!(zero.event().await, PeerEvent::Failed(ReplicaId(1), DialError::WrongKey));

    // Replica 1 expects somebody else as replica 0.
    let mut one = settings(1, 2, &[]);
    one.peers[0].key = replica_key(8).public_key();
    let one = Node::bind(one);
    let mut zero = Node::bind(settings(0, 2, &[(1, one.network.local_addr())]));
    let refused = DialError::Refused(Refusal::UnknownKey);
    assert_eq!(zero.event().await, PeerEvent::Failed(ReplicaId(1), refused.clone()));
    assert_eq!(zero.network.statistics()[0].last_failure, Some(refused));
    soon("both sides to count", async {
        while one.network.refused_connections() == 0 || impostor.network.refused_connections() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn another_cluster_is_refused_and_named() {
    let mut one = settings(1, 2, &[]);
    one.cluster = Digest::of(Domain::Cluster, b"another");
    let one = Node::bind(one);
    let mut zero = Node::bind(settings(0, 2, &[(1, one.network.local_addr())]));
    let refused = DialError::Refused(Refusal::WrongCluster);
    assert_eq!(zero.event().await, PeerEvent::Failed(ReplicaId(1), refused));
}

#[tokio::test]
async fn a_port_in_use_is_named_with_a_remedy() {
    let node = Node::bind(settings(0, 2, &[]));
    let mut second = settings(0, 2, &[]);
    second.listen = node.network.local_addr();
    let Err(error) = PeerNetwork::bind(second) else { panic!("bound twice") };
    assert!(matches!(error, BindError::InUse { .. }));
    assert!(error.to_string().contains(&node.network.local_addr().to_string()), "{error}");
    assert!(error.to_string().contains("choose another"), "{error}");
}

#[tokio::test]
async fn contradictory_peers_are_refused() {
    let mut twice = settings(0, 3, &[]);
    twice.peers[2].key = twice.peers[1].key;
    assert!(matches!(PeerNetwork::bind(twice), Err(BindError::Settings(_))));
    let mut twice = settings(0, 3, &[]);
    twice.peers[2].id = ReplicaId(1);
    assert!(matches!(PeerNetwork::bind(twice), Err(BindError::Settings(_))));
}

#[tokio::test]
async fn an_oversize_frame_cuts_the_link_and_is_counted() {
    let (mut zero, mut one) = pair(|id, settings| {
        settings.limits.votes.frame_bytes = if id == 0 { MIB } else { 1000 };
    })
    .await;
    zero.network.send(ReplicaId(1), Lane::Votes, Bytes::from(vec![0; 1000]));
    assert_eq!(one.vote().await.frame.len(), 1000);
    zero.network.send(ReplicaId(1), Lane::Votes, Bytes::from(vec![0; 1001]));
    one.disconnected(0).await;
    zero.disconnected(1).await;
    assert_eq!(one.network.statistics()[0].offences, 1);
    // It is one offence, not the end.
    zero.connected(1).await;
    one.connected(0).await;
    zero.exchange(0, &mut one, 1).await;
    // A frame above one's own limit is not sent at all.
    one.network.send(ReplicaId(0), Lane::Votes, Bytes::from(vec![0; 1001]));
    assert_eq!(one.network.statistics()[0].votes.dropped, 1);
}

#[tokio::test]
async fn reported_offences_cut_a_peer_off_for_a_while() {
    let (mut zero, mut one) = pair(|_, settings| {
        settings.limits.offences.burst = 5;
        settings.limits.offences.recovery = Duration::from_secs(60);
        settings.limits.offences.cooling = Duration::from_millis(400);
    })
    .await;
    for _ in 0..4 {
        one.network.offence(ReplicaId(0));
    }
    zero.exchange(0, &mut one, 1).await;
    let cut = Instant::now();
    one.network.offence(ReplicaId(0));
    one.disconnected(0).await;
    assert!(one.network.statistics()[0].cooling_off);
    let refused = PeerEvent::Failed(ReplicaId(1), DialError::Refused(Refusal::CoolingOff));
    while zero.event().await != refused {}
    zero.connected(1).await;
    assert!(cut.elapsed() >= Duration::from_millis(400), "let in again after {:?}", cut.elapsed());
    one.connected(0).await;
    zero.exchange(0, &mut one, 1).await;
}

#[tokio::test]
async fn garbage_changes_nothing() {
    let (mut zero, mut one) = pair(|_, _| {}).await;
    garbage(zero.network.local_addr());
    garbage(one.network.local_addr());
    zero.exchange(0, &mut one, 1).await;
    let [zero, one] = [zero, one].map(|node| node.network.statistics().remove(0));
    assert_eq!((zero.connections, one.connections), (1, 1));
    assert_eq!((zero.offences, one.offences), (0, 0));
}

#[tokio::test]
async fn shutdown_ends_the_receivers_and_tells_the_other_side() {
    let (mut zero, mut one) = pair(|_, _| {}).await;
    soon("shutdown", zero.network.shutdown()).await;
    one.disconnected(0).await;
    assert_eq!(zero.receivers.votes.recv().await, None);
    assert_eq!(zero.receivers.bulk.recv().await, None);
    while zero.receivers.links.recv().await.is_some() {}
}

/// How long a restarted replica may take to be connected again, from when it is back.
const RECONNECTION: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_replica_that_restarts_in_order_reconnects() {
    for restarted in [0, 1] {
        let (zero, one) = pair(|_, _| {}).await;
        let mut nodes = [zero, one];
        let addresses = [0, 1].map(|id| (id as u16, nodes[id].network.local_addr()));
        soon("shutdown", nodes[restarted].network.shutdown()).await;
        nodes[1 - restarted].disconnected(restarted as u16).await;

        let mut again = settings(restarted as u16, 2, &addresses);
        again.listen = addresses[restarted].1;
        let since = Instant::now();
        nodes[restarted] = Node::bind(again);
        let [zero, one] = &mut nodes;
        zero.connected(1).await;
        one.connected(0).await;
        assert!(since.elapsed() < RECONNECTION, "replica {restarted}: {:?}", since.elapsed());
        zero.exchange(0, one, 1).await;
    }
}

/// A killed process says no goodbye; it is the restarted one that makes the other side notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_and_restarted_reconnects() {
    for killed in [0_u16, 1] {
        let other = 1 - killed;
        // Ports first, since each restarts on its own.
        let reserve = [0, 1].map(|_| std::net::UdpSocket::bind(loopback()).unwrap());
        let addresses = [0, 1].map(|id| (id as u16, reserve[id].local_addr().unwrap()));
        drop(reserve);
        let at_home = move |id: u16| {
            let mut settings = settings(id, 2, &addresses);
            settings.listen = addresses[usize::from(id)].1;
            settings
        };
        let mut survivor = Node::bind(at_home(other));
        let life = move || {
            Killable::start(move || async move {
                let mut node = Node::bind(at_home(killed));
                loop {
                    let frame = node.receivers.votes.recv().await.expect("the network is up");
                    node.network.send(frame.from, Lane::Votes, frame.frame);
                }
            })
        };
        let first = life();
        survivor.connected(killed).await;
        survivor.send(killed, Lane::Votes, b"first life");
        assert_eq!(survivor.vote().await.frame, "first life");
        first.kill().await;

        let since = Instant::now();
        let second = life();
        survivor.connected(killed).await;
        assert!(since.elapsed() < RECONNECTION, "replica {killed}: {:?}", since.elapsed());
        survivor.send(killed, Lane::Votes, b"second life");
        assert_eq!(survivor.vote().await.frame, "second life");
        assert_eq!(survivor.network.statistics()[0].connections, 2);
        second.kill().await;
    }
}

#[test]
fn binding_outside_of_a_runtime_is_an_error() {
    let settings = settings(0, 2, &[]);
    assert_eq!(settings.cluster, cluster());
    assert!(matches!(PeerNetwork::bind(settings), Err(BindError::NoRuntime)));
}
