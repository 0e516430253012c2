//! Many records in and out again by the client library, as `pbft-client` does it for `import` and `export`.

use std::collections::BTreeMap;

use pbft_client::{Client, ClientSettings, KvClient};
use pbft_messages::ReplicaId;
use pbft_service::kv::{Keys, Operation, Range};

use super::support::{PATIENCE, TURN, tethered};

const RECORDS: usize = 4000;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_imported_while_the_primary_died_is_exported() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let mut testnet = tethered(folder.path(), 4).await;
    // Not in the order of the keys: 7919 is prime.
    let line = |index: usize| format!("import/{:05}\tvalue {index}", index * 7919 % RECORDS);
    let lines: Vec<_> = (0..RECORDS).map(line).collect();
    let pairs = || lines.iter().map(|line| line.split_once('\t').unwrap());
    let operations: Vec<_> =
        pairs().map(|(key, value)| Operation::put(key.to_owned(), value.to_owned()).encode()).collect();

    let settings = ClientSettings { timeout: PATIENCE, ..ClientSettings::default() };
    let key = testnet.client_key().unwrap();
    let client = Client::connect(testnet.configuration(), key, settings).await.unwrap();
    let (first, second) = operations.split_at(RECORDS / 2);
    for result in client.execute_all(first.to_vec()).await {
        result.unwrap();
    }
    let (rest, killed) = tokio::join!(client.execute_all(second.to_vec()), testnet.kill(ReplicaId(0)));
    killed.unwrap();
    for result in rest {
        result.unwrap();
    }

    let store = KvClient::new(client);
    let mut range = Range::new(Keys::prefix("import/"));
    range.limit = 300;
    let (mut pages, mut exported, mut count) = (store.pages(range), Vec::new(), 0);
    while let Some(page) = pages.next().await.unwrap() {
        count += 1;
        exported.extend(page.answer.entries.into_iter().map(|it| (it.key.to_vec(), it.value.to_vec())));
    }
    let sent: BTreeMap<_, _> =
        pairs().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    assert!(exported.into_iter().eq(sent), "in the order of the keys, each once");
    assert!(count >= RECORDS / 300, "page by page");
    testnet.down().await.unwrap();
}
