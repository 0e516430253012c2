//! Writes all keys before a load, so that what reads find does not depend on what was written meanwhile.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use pbft_client::{Client, ClientError, KvError};
use pbft_messages::Submission;

use crate::journal::{Journal, Write};
use crate::load::Run;
use crate::order::Order;
use crate::request::Request;
use crate::values::Values;

/// Writes the keys from 0 on, in bundles, through all sessions. The write of a key has the key's number.
///
/// # Errors
/// [`KvError`] of the first write that is not acknowledged.
pub(crate) async fn preload(run: &Run<'_>) -> Result<Journal, KvError> {
    let Run { settings, values, sessions, order } = *run;
    let writer = |client: &Client| {
        let parameters = client.configuration().parameters();
        let bytes = Request::Write { key: 0, number: 0 }.operation(values).len();
        Writer {
            client: client.clone(),
            values: values.clone(),
            order: order.clone(),
            bundle: (parameters.batch_bytes / bytes).clamp(1, Submission::MAXIMUM_REQUESTS) as u32,
        }
    };
    let journal = Arc::new(Mutex::new(Journal::default()));
    let next = Arc::new(AtomicU32::new(0));
    let mut writing: JoinSet<Result<(), KvError>> = JoinSet::new();
    for writer in sessions.iter().map(writer) {
        let (journal, next, keys) = (journal.clone(), next.clone(), settings.keys);
        writing.spawn(async move {
            loop {
                let first = next.fetch_add(writer.bundle, Ordering::Relaxed);
                if first >= keys {
                    return Ok(());
                }
                writer.write(first..keys.min(first + writer.bundle), &journal).await?;
            }
        });
    }
    while let Some(written) = writing.join_next().await {
        // A writer neither panics nor is aborted, unless the runtime is being shut down.
        written.unwrap_or(Err(ClientError::ShutDown.into()))?;
    }
    let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut journal))
}

struct Writer {
    client: Client,
    values: Values,
    order: Arc<Order>,
    bundle: u32,
}

impl Writer {
    async fn write(&self, keys: Range<u32>, journal: &Mutex<Journal>) -> Result<(), KvError> {
        let requests = keys.map(|key| Request::Write { key, number: key.into() });
        let operations = requests.clone().map(|request| request.operation(&self.values)).collect();
        let newest_before = self.order.newest();
        let results = self.client.execute_bundle(operations).await;
        // Nothing under the lock panics half-way, here and above.
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        for (request, result) in requests.zip(results) {
            let executed = result?;
            let told = request.told(&executed.result, &self.values)?;
            self.order.answered(request.kind(), newest_before, told.revision);
            let Request::Write { key, number } = request else { continue };
            journal.acknowledge(key, Write { number, revision: told.revision, sequence: executed.sequence });
        }
        Ok(())
    }
}
