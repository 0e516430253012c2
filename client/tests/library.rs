//! The library over real links, against a stand-in for a cluster.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene should panic")]

mod cluster;

use std::time::Duration;

use bytes::Bytes;

use cluster::{Cluster, Manner, client_key};
use pbft_client::{Client, ClientError, ClientSettings, Connector, KvClient, LinkState, ReadPath};
use pbft_crypto::SecretKey;
use pbft_messages::View;
use pbft_service::kv::{Answer, Keys, Operation, Range, Reply};

const CORRECT: [Manner; 4] = [Manner::Correct; 4];

fn impatient() -> ClientSettings {
    ClientSettings { timeout: Duration::from_millis(700), ..ClientSettings::default() }
}

async fn connect(cluster: &Cluster) -> Client {
    Client::connect(&cluster.configuration, client_key(), ClientSettings::default()).await.unwrap()
}

#[tokio::test]
async fn keys_are_put_read_and_deleted() {
    let cluster = Cluster::start(&CORRECT);
    let store = KvClient::new(connect(&cluster).await);
    let put = store.put("a", "1").await.unwrap();
    assert_eq!((put.revision, put.answer.previous), (2, None));
    let got = store.get("a").await.unwrap();
    assert!(got.sequence > put.sequence);
    assert_eq!(&got.answer.unwrap().value[..], b"1");
    assert_eq!(store.delete(Keys::Single("a".into())).await.unwrap().answer.deleted, 1);
    assert_eq!(store.get("a").await.unwrap().answer, None);
}

#[tokio::test]
async fn many_operations_are_pipelined_and_answered_in_order() {
    let cluster = Cluster::start(&CORRECT);
    let client = connect(&cluster).await;
    let operations: Vec<_> = (0..1000)
        .map(|index| Operation::put(format!("key{index:04}"), format!("{index}")).encode())
        .collect();
    let results = client.execute_all(operations).await;
    assert_eq!(results.len(), 1000);
    for (index, result) in results.into_iter().enumerate() {
        let executed = result.unwrap();
        assert_eq!(executed.number.0, index as u64 + 1);
        assert!(Reply::decode(&executed.result).unwrap().is_ok());
    }
    let store = KvClient::new(client);
    let mut pages = store.pages(Range { limit: 300, ..Range::new(Keys::prefix("key")) });
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        sizes.push(page.answer.entries.len());
        // Writes between the pages do not show: all pages are at the first one's revision.
        store.put(format!("key{:04}x", 900), "later").await.unwrap();
    }
    assert_eq!(sizes, [300, 300, 300, 100]);
}

#[tokio::test]
async fn a_liar_a_busy_or_a_silent_primary_changes_nothing() {
    for manner in [Manner::Liar, Manner::Busy, Manner::Silent] {
        let cluster = Cluster::start(&[manner, Manner::Correct, Manner::Correct, Manner::Correct]);
        let client = connect(&cluster).await;
        let store = KvClient::new(client.clone());
        store.put("a", "1").await.unwrap();
        assert_eq!(&store.get("a").await.unwrap().answer.unwrap().value[..], b"1");
        assert_eq!(client.view(), View(0));
        assert!(!cluster.received(0).is_empty(), "the primary was asked");
    }
}

/// Nothing waits for a replica that is gone, neither the opening nor the requests, though it is the primary.
#[tokio::test]
async fn a_dead_replica_costs_no_time() {
    let cluster = Cluster::start(&CORRECT);
    cluster.stop(0).await;
    let started = std::time::Instant::now();
    let store = KvClient::new(connect(&cluster).await);
    for index in 0..10 {
        store.put("a", format!("{index}")).await.unwrap();
    }
    // Ten requests that each waited for the first retry would take two seconds.
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_unanswered_request_has_an_unknown_outcome() {
    let cluster = Cluster::start(&[Manner::OpensOnly; 4]);
    let client = Client::connect(&cluster.configuration, client_key(), impatient()).await.unwrap();
    let sent = client.execute_bundle(vec![Bytes::from_static(b"x"); 64]);
    let queued = client.execute(Bytes::from_static(b"y"));
    let (sent, queued) = tokio::join!(sent, queued);
    for result in sent {
        let error = result.unwrap_err();
        assert!(error.may_have_taken_effect());
        assert_eq!(
            error.to_string(),
            "outcome unknown after 700ms: the request may or may not take effect; \
             4 of 4 replicas reachable, 2 matching replies needed"
        );
    }
    let error = queued.unwrap_err();
    assert!(matches!(error, ClientError::NotSent { .. }), "{error}");
    assert!(!error.may_have_taken_effect());
    assert!(cluster.received(3).contains(&1), "all were asked in the end");
    assert!(!cluster.received(0).contains(&65), "the window held it back");
}

/// An operation that reads `a`, its answer, and the way that it went.
async fn read_a(client: &Client) -> (String, ReadPath) {
    let answered = client.read(Operation::get("a").encode(), ReadPath::Unordered).await.unwrap();
    let reply = Reply::decode(&answered.result).unwrap().unwrap();
    let Answer::Range(range) = reply.answer else { panic!("{reply:?}") };
    (String::from_utf8(range.entries[0].value.to_vec()).unwrap(), answered.path)
}

#[tokio::test]
async fn an_unordered_read_is_answered_by_a_quorum_and_orders_nothing() {
    let cluster = Cluster::start(&CORRECT);
    let client = connect(&cluster).await;
    client.links_tried().await;
    let store = KvClient::new(client.clone()).with_reads(ReadPath::Unordered);
    let put = store.put("a", "1").await.unwrap();
    assert_eq!(read_a(&client).await, ("1".into(), ReadPath::Unordered));
    let got = store.get("a").await.unwrap();
    assert_eq!((got.sequence, got.revision), (put.sequence, put.revision));
    assert_eq!(store.get("b").await.unwrap().answer, None);
    // The first page is ordered, since it fixes the revision; the second is not.
    store.put("b", "2").await.unwrap();
    let (mut pages, reads) =
        (store.pages(Range { limit: 1, ..Range::new(Keys::prefix("")) }), cluster.reads());
    assert!(pages.next().await.unwrap().unwrap().answer.more);
    assert_eq!(cluster.reads(), reads);
    assert!(!pages.next().await.unwrap().unwrap().answer.more);
    assert!(cluster.reads() > reads);
}

/// Fault 36: one replica that is dead, silent, busy or lies changes nothing; two that lie apart from each other, or say
/// that they cannot answer, send the read the ordered way.
#[tokio::test]
async fn fault_36_an_unordered_read_bears_a_fault_and_falls_back() {
    use Manner::{Busy, Correct, Liar, Silent};
    for (manners, path) in [
        ([Correct, Correct, Correct, Silent], ReadPath::Unordered),
        ([Correct, Busy, Correct, Correct], ReadPath::Unordered),
        ([Liar, Correct, Correct, Correct], ReadPath::Unordered),
        ([Correct, Correct, Busy, Busy], ReadPath::Ordered),
        ([Correct, Correct, Busy, Liar], ReadPath::Ordered),
        ([Correct, Correct, Silent, Silent], ReadPath::Ordered),
    ] {
        let cluster = Cluster::start(&manners);
        let client = connect(&cluster).await;
        client.links_tried().await;
        KvClient::new(client.clone()).put("a", "1").await.unwrap();
        assert_eq!(read_a(&client).await, ("1".into(), path), "{manners:?}");
    }
    let cluster = Cluster::start(&CORRECT);
    let client = connect(&cluster).await;
    client.links_tried().await;
    KvClient::new(client.clone()).put("a", "1").await.unwrap();
    cluster.stop(3).await;
    assert_eq!(read_a(&client).await, ("1".into(), ReadPath::Unordered));
    cluster.stop(2).await;
    // The stand-in orders with two; a real cluster would not, and the time would be up.
    assert_eq!(read_a(&client).await, ("1".into(), ReadPath::Ordered));
}

#[tokio::test]
async fn an_unanswered_read_has_no_effect() {
    let cluster = Cluster::start(&[Manner::OpensOnly; 4]);
    let client = Client::connect(&cluster.configuration, client_key(), impatient()).await.unwrap();
    let error = client.read(Operation::get("a").encode(), ReadPath::Unordered).await.unwrap_err();
    assert!(!error.may_have_taken_effect());
    let text = error.to_string();
    assert!(text.starts_with("the read is unanswered after 700ms; "), "{text}");
    assert!(text.ends_with("of 4 replicas reachable, 3 matching replies needed"), "{text}");
}

#[tokio::test]
async fn a_busy_cluster_is_told_from_a_silent_one() {
    let cluster = Cluster::start(&[Manner::Busy; 4]);
    let error = Client::connect(&cluster.configuration, client_key(), impatient()).await.unwrap_err();
    assert!(matches!(error, ClientError::Busy { replicas: 4, sent: false, .. }), "{error}");
    assert!(!error.may_have_taken_effect());
    assert_eq!(
        error.to_string(),
        "busy: after 700ms, 4 replicas have too much to do to take the request, so its session is not open and it \
         has no effect; try again later, or send less at a time; 4 of 4 replicas reachable, 2 matching replies needed"
    );
}

#[tokio::test]
async fn one_answer_is_none() {
    let manners = [Manner::Correct, Manner::OpensOnly, Manner::OpensOnly, Manner::OpensOnly];
    let cluster = Cluster::start(&manners);
    let client = Client::connect(&cluster.configuration, client_key(), impatient()).await.unwrap();
    let error = client.execute(Operation::put("a", "1").encode()).await.unwrap_err();
    assert!(matches!(error, ClientError::OutcomeUnknown { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_cluster_opens_nothing() {
    let cluster = Cluster::start(&[Manner::Silent; 4]);
    let error = Client::connect(&cluster.configuration, client_key(), impatient()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unanswered { .. }), "{error}");
    assert!(error.to_string().contains("4 of 4 replicas reachable"), "{error}");
}

/// Refused for good: there is no point in waiting for the time-out.
#[tokio::test]
async fn an_unknown_key_is_told_at_once() {
    let cluster = Cluster::start(&CORRECT);
    let stranger = SecretKey::from_seed(&[99; 32]);
    let settings = ClientSettings { timeout: Duration::from_secs(600), ..ClientSettings::default() };
    let error = Client::connect(&cluster.configuration, stranger, settings).await.unwrap_err();
    assert!(error.to_string().contains("does not know this key"), "{error}");
}

#[tokio::test]
async fn sessions_share_a_socket_and_open_in_order() {
    let cluster = Cluster::start(&CORRECT);
    let connector = Connector::new(&cluster.configuration, client_key(), ClientSettings::default()).unwrap();
    let opening = (0..20).map(|_| {
        let connector = connector.clone();
        tokio::spawn(async move { connector.open_session().await.unwrap() })
    });
    let mut sessions = Vec::new();
    for client in opening.collect::<Vec<_>>() {
        let client = client.await.unwrap();
        client.execute(Operation::put("a", "1").encode()).await.unwrap();
        sessions.push(client);
    }
    let ids: std::collections::BTreeSet<_> = sessions.iter().map(Client::session).collect();
    assert_eq!(ids.len(), 20);
}

#[tokio::test]
async fn an_expired_session_says_so() {
    let cluster = Cluster::start(&CORRECT);
    let client = connect(&cluster).await;
    cluster.evict(client.session());
    let error = client.execute(Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(error, ClientError::SessionExpired { sent: true }), "{error}");
    let error = client.execute(Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(error, ClientError::SessionExpired { sent: false }), "{error}");
}

#[tokio::test]
async fn too_much_is_told_before_anything_is_sent() {
    let cluster = Cluster::start(&CORRECT);
    let client = connect(&cluster).await;
    let error = client.execute(vec![0; 2 << 20].into()).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge(_)), "{error}");
    let results = client.execute_bundle(vec![Bytes::new(); 65]).await;
    assert!(results.iter().all(|result| matches!(result, Err(ClientError::TooLarge(_)))));
    assert!(client.execute_bundle(vec![]).await.is_empty());
    assert!(cluster.received(0).iter().all(|first| *first == 0), "nothing but the opening");
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_links() {
    let cluster = Cluster::start(&CORRECT);
    let client = connect(&cluster).await;
    client.links_tried().await;
    assert!(client.links().iter().all(|link| matches!(link, LinkState::Up { .. })));
    let clone = client.clone();
    drop(client);
    clone.execute(Operation::get("a").encode()).await.unwrap();
    assert_eq!(cluster.connections(), 4);
    drop(clone);
    // There is no event for it on this side; it is a matter of milliseconds.
    for _ in 0..1000 {
        if cluster.connections() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} connections are left", cluster.connections());
}
