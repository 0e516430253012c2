use pbft_client::{Client, KvClient, KvError};
use pbft_service::kv::{Keys, Range};

use super::translate::entry;
use crate::check::FinalState;

/// Reads the whole store, all of it at one revision, in order with all writes.
///
/// # Errors
/// [`KvError`]
pub async fn scan(client: Client) -> Result<FinalState, KvError> {
    let store = KvClient::new(client);
    let mut pages = store.pages(Range::new(Keys::prefix("")));
    let mut end = FinalState::default();
    let mut first = true;
    while let Some(page) = pages.next().await? {
        // Later pages are read at the first one's revision.
        if std::mem::take(&mut first) {
            end.revision = page.revision;
        }
        let entries = page.answer.entries.into_iter();
        end.entries.extend(entries.map(|found| (found.key.clone(), entry(found))));
    }
    Ok(end)
}
