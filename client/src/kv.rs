//! The key-value store, typed.

use bytes::Bytes;

use pbft_messages::Sequence;
use pbft_service::kv::{
    self, Answer, DeleteAnswer, KeyValue, Keys, Operation, PutAnswer, Range, RangeAnswer, Reply, Txn,
    TxnAnswer,
};

use crate::{Client, ClientError, ReadPath};

/// A client of a cluster that runs the key-value store.
#[derive(Clone, Debug)]
pub struct KvClient {
    client: Client,
    reads: ReadPath,
}

/// An operation that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<T> {
    /// Where in the cluster's total order. For an unordered read: everything up to here shows in the answer.
    pub sequence: Sequence,
    /// The store's revision after it; for a write that changed something, that of the change. For an unordered read, the
    /// newest change that the answer shows, 0 if it shows none.
    pub revision: u64,
    /// The answer.
    pub answer: T,
}

/// Why an operation on the store has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KvError {
    /// The cluster gave no result.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The store, or the check before sending, refused the operation. It changed nothing.
    #[error(transparent)]
    Store(#[from] kv::Error),
    /// What f+1 replicas answered is no answer to this operation.
    #[error("the cluster's answer is not the key-value store's: does it run another service?")]
    ForeignAnswer,
}

impl KvClient {
    /// Speaks to the store through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, reads: ReadPath::default() }
    }

    /// The same session, whose [`KvClient::get`] and [`KvClient::range`] go this way when they are called through the
    /// returned handle.
    #[must_use]
    pub fn with_reads(&self, reads: ReadPath) -> Self {
        Self { reads, ..self.clone() }
    }

    /// The client that it speaks through.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sets a key's value.
    ///
    /// # Errors
    /// [`KvError`]
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<Done<PutAnswer>, KvError> {
        self.ask(&Operation::put(key, value), |answer| match answer {
            Answer::Put(answer) => Some(answer),
            _ => None,
        })
        .await
    }

    /// Reads one key's newest value, as of every write that was done before; `None` if there is no such key.
    ///
    /// # Errors
    /// [`KvError`]
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Done<Option<KeyValue>>, KvError> {
        let Done { sequence, revision, answer } = self.range(Range::new(Keys::Single(key.into()))).await?;
        Ok(Done { sequence, revision, answer: answer.entries.into_iter().next() })
    }

    /// Deletes keys.
    ///
    /// # Errors
    /// [`KvError`]
    pub async fn delete(&self, keys: Keys) -> Result<Done<DeleteAnswer>, KvError> {
        self.ask(&Operation::delete(keys), |answer| match answer {
            Answer::Delete(answer) => Some(answer),
            _ => None,
        })
        .await
    }

    /// Reads keys: at most as many as one reply holds. For all of them, see [`KvClient::pages`].
    ///
    /// # Errors
    /// [`KvError`]
    pub async fn range(&self, range: Range) -> Result<Done<RangeAnswer>, KvError> {
        let operation = Operation::Range(range);
        operation.check()?;
        let answered = self.client.read(operation.encode(), self.reads).await?;
        read_answer(answered.sequence, &answered.result, |answer| match answer {
            Answer::Range(answer) => Some(answer),
            _ => None,
        })
    }

    /// Reads keys page by page, all at one revision: the range's, or else the newest one when the first page is
    /// read, which is then an ordered read. The range's limit is the page's.
    #[must_use]
    pub fn pages(&self, range: Range) -> Pages<'_> {
        Pages { client: self, next: Some(range) }
    }

    /// Does one of two lists of steps, depending on comparisons.
    ///
    /// # Errors
    /// [`KvError`]
    pub async fn txn(&self, txn: Txn) -> Result<Done<TxnAnswer>, KvError> {
        self.ask(&Operation::Txn(txn), |answer| match answer {
            Answer::Txn(answer) => Some(answer),
            _ => None,
        })
        .await
    }

    /// Forgets what only revisions below `revision` show.
    ///
    /// # Errors
    /// [`KvError`]
    pub async fn compact(&self, revision: u64) -> Result<Done<()>, KvError> {
        self.ask(&Operation::Compact(revision), |answer| match answer {
            Answer::Compact => Some(()),
            _ => None,
        })
        .await
    }

    /// Checks an operation, has it executed, and reads the answer.
    async fn ask<T>(
        &self,
        operation: &Operation,
        expected: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<Done<T>, KvError> {
        operation.check()?;
        let executed = self.client.execute(operation.encode()).await?;
        read_answer(executed.sequence, &executed.result, expected)
    }
}

fn read_answer<T>(
    sequence: Sequence,
    result: &[u8],
    expected: impl FnOnce(Answer) -> Option<T>,
) -> Result<Done<T>, KvError> {
    let reply = Reply::decode(result).map_err(|_| KvError::ForeignAnswer)??;
    let answer = expected(reply.answer).ok_or(KvError::ForeignAnswer)?;
    Ok(Done { sequence, revision: reply.revision, answer })
}

/// A range, page by page; from [`KvClient::pages`].
#[derive(Debug)]
pub struct Pages<'a> {
    client: &'a KvClient,
    next: Option<Range>,
}

impl Pages<'_> {
    /// Reads the next page; `None` after the last.
    ///
    /// # Errors
    /// [`KvError`]. If the revision is compacted meanwhile, which takes as many writes as the store retains, it
    /// is [`kv::Error::Compacted`]: start anew. After an error the same page can be asked for again.
    pub async fn next(&mut self) -> Result<Option<Done<RangeAnswer>>, KvError> {
        let Some(range) = self.next.clone() else { return Ok(None) };
        // Only an ordered read tells the store's revision.
        let path = if range.revision.is_some() { self.client.reads } else { ReadPath::Ordered };
        let page = self.client.with_reads(path).range(range.clone()).await?;
        let last = page.answer.entries.last().filter(|_| page.answer.more);
        self.next = last.map(|last| Range {
            keys: Keys::Span { start: [&last.key[..], &[0]].concat().into(), end: end_of(&range.keys) },
            revision: Some(range.revision.unwrap_or(page.revision)),
            ..range
        });
        Ok(Some(page))
    }
}

fn end_of(keys: &Keys) -> Option<Bytes> {
    match keys {
        Keys::Single(key) => Some([&key[..], &[0]].concat().into()),
        Keys::Span { end, .. } => end.clone(),
    }
}
