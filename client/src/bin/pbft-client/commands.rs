//! The commands that are one operation each.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;

use bytes::Bytes;
use serde_json::json;

use pbft_client::Done;
use pbft_service::kv::{self, KeyValue, Keys};

use crate::arguments::{Del, Format, Get, Options, Put, Range, Txn};
use crate::connect::Connection;
use crate::failure::{Failure, Outcome};
use crate::{output, txn_syntax};

pub(crate) async fn put(options: &Options, arguments: Put) -> Outcome {
    let value = match arguments.value {
        Some(value) => bytes(value),
        None => from_stdin().await?,
    };
    let operation = kv::Operation::put(bytes(arguments.key), value);
    // What is wrong with the arguments is said before anything is connected to.
    operation.check().map_err(pbft_client::KvError::from)?;
    let kv::Operation::Put(put) = operation else { return Ok(()) };
    let connection = Connection::open(options).await?;
    let done = connection.store.put(put.key, put.value).await?;
    connection.close().await;
    match options.write_out {
        Format::Simple => output::line("OK"),
        Format::Table => output::table(&["revision", "sequence"], vec![numbers(&done, None)]),
        Format::Json => output::json(&json!({ "revision": done.revision, "sequence": done.sequence.0 })),
    }
}

pub(crate) async fn get(options: &Options, arguments: Get) -> Outcome {
    let range =
        kv::Range { revision: arguments.revision, ..kv::Range::new(Keys::Single(bytes(arguments.key))) };
    kv::Operation::Range(range.clone()).check().map_err(pbft_client::KvError::from)?;
    let connection = Connection::open(options).await?;
    let done = connection.store.with_reads(arguments.read_path.into()).range(range).await?;
    connection.close().await;
    match options.write_out {
        Format::Simple => match done.answer.entries.first() {
            Some(entry) => output::write_all(&[&entry.value[..], b"\n"].concat()),
            None => Ok(()),
        },
        Format::Table => output::entry_table(&done.answer.entries),
        Format::Json => entries_json(done.revision, done.sequence.0, &done.answer.entries, false),
    }
}

pub(crate) async fn del(options: &Options, arguments: Del) -> Outcome {
    let key = bytes(arguments.key);
    let keys = if arguments.prefix { Keys::prefix(key) } else { Keys::Single(key) };
    kv::Operation::delete(keys.clone()).check().map_err(pbft_client::KvError::from)?;
    let connection = Connection::open(options).await?;
    let done = connection.store.delete(keys).await?;
    connection.close().await;
    let deleted = done.answer.deleted;
    match options.write_out {
        Format::Simple => output::line(&deleted.to_string()),
        Format::Table => {
            output::table(&["deleted", "revision", "sequence"], vec![numbers(&done, Some(deleted))])
        }
        Format::Json => output::json(
            &json!({ "deleted": deleted, "revision": done.revision, "sequence": done.sequence.0 }),
        ),
    }
}

/// Prints page by page where the format allows it, so that a large range needs no memory.
pub(crate) async fn range(options: &Options, arguments: Range) -> Outcome {
    let range = kv::Range {
        revision: arguments.revision,
        limit: arguments.limit,
        keys_only: arguments.keys_only,
        ..kv::Range::new(Keys::prefix(bytes(arguments.prefix)))
    };
    let connection = Connection::open(options).await?;
    let store = connection.store.with_reads(arguments.read_path.into());
    let mut pages = store.pages(range);
    let mut room = if arguments.limit == 0 { usize::MAX } else { arguments.limit as usize };
    let (mut collected, mut at, mut more) = (Vec::new(), (0, 0), false);
    while room > 0
        && let Some(page) = pages.next().await?
    {
        if at == (0, 0) {
            at = (page.revision, page.sequence.0);
        }
        let entries = &page.answer.entries[..page.answer.entries.len().min(room)];
        room -= entries.len();
        more = page.answer.more || entries.len() < page.answer.entries.len();
        if options.write_out == Format::Simple {
            let line = |entry: &KeyValue| {
                output::entry_line(&entry.key, (!arguments.keys_only).then_some(&entry.value[..]))
            };
            output::write_all(&entries.iter().flat_map(line).collect::<Vec<_>>())?;
        } else {
            collected.extend_from_slice(entries);
        }
    }
    connection.close().await;
    match options.write_out {
        Format::Simple => Ok(()),
        Format::Table => output::entry_table(&collected),
        Format::Json => entries_json(at.0, at.1, &collected, more),
    }
}

pub(crate) async fn txn(options: &Options, arguments: Txn) -> Outcome {
    let Txn { compares, success, failure } = arguments;
    let txn = if compares.is_empty() && success.is_empty() && failure.is_empty() {
        let text = from_stdin().await?;
        let text = std::str::from_utf8(&text)
            .map_err(|_| Failure::bad_input("the transaction on standard input is not UTF-8"))?;
        txn_syntax::parse(text)
    } else {
        txn_syntax::from_parts(&compares, &success, &failure)
    };
    let txn = txn.map_err(Failure::bad_input)?;
    kv::Operation::Txn(txn.clone()).check().map_err(pbft_client::KvError::from)?;
    let connection = Connection::open(options).await?;
    let done = connection.store.txn(txn).await?;
    connection.close().await;
    match options.write_out {
        Format::Simple => output::write_all(&output::steps_lines(&done.answer)),
        Format::Table => {
            let steps = output::steps_json(&done.answer);
            let row = |(index, step): (usize, &serde_json::Value)| vec![index.to_string(), step.to_string()];
            output::line(if done.answer.succeeded { "SUCCESS" } else { "FAILURE" })?;
            output::table(&["step", "answer"], steps.iter().enumerate().map(row).collect())
        }
        Format::Json => output::json(&json!({
            "succeeded": done.answer.succeeded,
            "steps": output::steps_json(&done.answer),
            "revision": done.revision,
            "sequence": done.sequence.0,
        })),
    }
}

fn entries_json(revision: u64, sequence: u64, entries: &[KeyValue], more: bool) -> Outcome {
    let entries: Vec<_> = entries.iter().map(output::entry_json).collect();
    output::json(&json!({ "entries": entries, "more": more, "revision": revision, "sequence": sequence }))
}

/// A table's row: a count if there is one, revision, sequence.
fn numbers<T>(done: &Done<T>, count: Option<u64>) -> Vec<String> {
    count.into_iter().chain([done.revision, done.sequence.0]).map(|number| number.to_string()).collect()
}

fn bytes(argument: OsString) -> Bytes {
    argument.into_vec().into()
}

/// Reads all of standard input, on a thread where waiting for it holds nothing up.
pub(crate) async fn from_stdin() -> Outcome<Bytes> {
    let read = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    });
    match read.await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(error)) => Err(Failure::error(format!("cannot read standard input: {error}"))),
        Err(error) => Err(Failure::error(format!("cannot read standard input: {error}"))),
    }
}
