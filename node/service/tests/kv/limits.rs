//! What is refused, and what is cut.

use bytes::Bytes;
use pbft_service::Service;
use pbft_service::kv::{
    Answer, Delete, DeleteAnswer, Error, KeyValueStore, Keys, MAX_CHANGES, MAX_KEY, MAX_REPLY, MAX_STEPS,
    MAX_VALUE, Operation, Put, Range, RangeAnswer, Reply, Step, Txn,
};

use crate::{CONTEXT, chunks, execute, query, range};

/// A store with so many keys of five bytes, and values of the given length.
fn filled(count: usize, value: usize) -> KeyValueStore {
    let mut store = KeyValueStore::default();
    for index in 0..count {
        execute(&mut store, &Operation::put(format!("{index:05}"), vec![7; value])).unwrap();
    }
    store
}

fn txn(success: Vec<Step>) -> Operation {
    Operation::Txn(Txn { success, ..Txn::default() })
}

fn all() -> Keys {
    Keys::prefix("")
}

#[test]
fn a_large_range_is_read_in_pages_at_one_revision() {
    let mut store = filled(3_000, 1_000);
    let revision = store.revision();
    let mut start = Bytes::new();
    let mut found = Vec::new();
    let mut pages = 0;
    loop {
        let page =
            Range { revision: Some(revision), ..Range::new(Keys::Span { start: start.clone(), end: None }) };
        let result = store.reader().query(&Operation::Range(page.clone()).encode());
        assert!(result.len() <= MAX_REPLY);
        let RangeAnswer { entries, more, .. } = range(&store, page).unwrap();
        pages += 1;
        start = [&entries.last().unwrap().key[..], &[0]].concat().into();
        found.extend(entries);
        // Writes between the pages, also ahead of the reader, do not show.
        execute(&mut store, &Operation::put(format!("{:05}x", pages * 900), "new")).unwrap();
        execute(&mut store, &Operation::delete(Keys::Single(format!("{:05}", 2_999 - pages).into())))
            .unwrap();
        if !more {
            break;
        }
    }
    assert_eq!(pages, 4, "a page holds just under a mebibyte");
    assert_eq!(found.len(), 3_000);
    assert!(found.iter().enumerate().all(|(index, entry)| entry.key == format!("{index:05}")));
}

#[test]
fn counting_and_listing_keys_are_not_cut_by_values() {
    let store = filled(3_000, 1_000);
    let count = range(&store, Range { count_only: true, limit: 1, ..Range::new(all()) }).unwrap();
    assert_eq!((count.count, count.entries.len(), count.more), (Some(3_000), 0, false));
    let keys = range(&store, Range { keys_only: true, ..Range::new(all()) }).unwrap();
    assert_eq!((keys.count, keys.entries.len(), keys.more), (Some(3_000), 3_000, false));
    let limited = range(&store, Range { limit: 10, ..Range::new(all()) }).unwrap();
    assert_eq!((limited.count, limited.entries.len(), limited.more), (None, 10, true));
}

#[test]
fn the_largest_entry_fits_into_any_reply() {
    let mut store = KeyValueStore::default();
    let key = vec![b'k'; MAX_KEY];
    let put = Put { key: key.clone().into(), value: vec![1; MAX_VALUE].into(), previous: true };
    for _ in 0..2 {
        let output = store.execute(&CONTEXT, &Operation::Put(put.clone()).encode());
        assert!(output.result.len() <= MAX_REPLY);
        assert!(Reply::decode(&output.result).unwrap().is_ok());
    }
    let nothing = Step::Range(Range::new(Keys::Single("absent".into())));
    let mut steps = vec![nothing; MAX_STEPS - 1];
    steps.push(Step::Range(Range::new(Keys::Single(key.into()))));
    let result = store.reader().query(&txn(steps).encode());
    assert!(result.len() <= MAX_REPLY);
    assert!(Reply::decode(&result).unwrap().is_ok());
}

/// Entries that fill a reply to the last byte leave no room for the answers to 127 further steps.
#[test]
fn the_answers_to_steps_count_towards_the_reply() {
    let entry_overhead = 48 + 5;
    let store = filled(8, (MAX_REPLY - 64) / 8 - entry_overhead);
    let alone = range(&store, Range::new(all())).unwrap();
    assert_eq!((alone.entries.len(), alone.more), (8, false), "the test means to fill a reply exactly");
    let mut steps = vec![Step::Range(Range::new(all()))];
    steps.resize(MAX_STEPS, Step::Range(Range::new(Keys::Single("absent".into()))));
    let result = store.reader().query(&txn(steps).encode());
    assert!(result.len() <= MAX_REPLY);
    assert!(Reply::decode(&result).unwrap().is_ok());
}

/// The steps before the failing one wrote; nothing of it stays.
#[test]
fn a_transaction_that_fails_changes_nothing() {
    let mut store = filled(3, 600_000);
    let before = chunks(&mut store);
    let get = |key: &'static str| Step::Range(Range::new(Keys::Single(key.into())));
    let put = Step::Put(Put { key: "new".into(), value: "value".into(), previous: false });
    let delete = Step::Delete(Delete { keys: Keys::Single("00002".into()), previous: false });
    let too_large = txn(vec![put.clone(), delete.clone(), get("00000"), get("00001")]);
    assert_eq!(execute(&mut store, &too_large), Err(Error::ReplyTooLarge));
    let range = Step::Range(Range { revision: Some(99), ..Range::new(all()) });
    let in_the_future = txn(vec![put, delete, range]);
    assert_eq!(execute(&mut store, &in_the_future), Err(Error::FutureRevision { requested: 99, newest: 4 }));
    assert_eq!(chunks(&mut store), before);
    assert!(store.execute(&CONTEXT, &too_large.encode()).events.is_empty());
}

#[test]
fn a_range_in_a_transaction_is_cut_at_what_is_left() {
    let store = filled(3, 600_000);
    let range = Step::Range(Range::new(all()));
    let reply = query(&store, &txn(vec![range.clone()])).unwrap();
    let Answer::Txn(answer) = reply.answer else { panic!("not a transaction's answer") };
    assert_eq!(answer.steps.len(), 1);
    assert_eq!(query(&store, &txn(vec![range.clone(), range])), Err(Error::ReplyTooLarge));
}

#[test]
fn previous_values_that_do_not_fit_refuse_the_delete() {
    let mut store = filled(3, 600_000);
    let delete = |previous| Operation::Delete(Delete { keys: all(), previous });
    assert_eq!(execute(&mut store, &delete(true)), Err(Error::ReplyTooLarge));
    let answer = Answer::Delete(DeleteAnswer { deleted: 3, previous: Vec::new() });
    assert_eq!(execute(&mut store, &delete(false)), Ok(Reply { revision: 5, answer }));
}

#[test]
fn one_operation_changes_a_bounded_number_of_keys() {
    let mut store = filled(MAX_CHANGES + 1, 0);
    assert_eq!(execute(&mut store, &Operation::delete(all())), Err(Error::TooManyChanges));
    let delete = |keys| Step::Delete(Delete { keys, previous: false });
    let halves = [Keys::prefix("00"), all()].map(delete);
    assert_eq!(execute(&mut store, &txn(halves.to_vec())), Err(Error::TooManyChanges));
    execute(&mut store, &Operation::delete(Keys::Single("00000".into()))).unwrap();
    execute(&mut store, &Operation::delete(all())).unwrap();
    assert_eq!(range(&store, Range::new(all())).unwrap().count, Some(0));
}

#[test]
fn what_changes_nothing_has_no_revision() {
    let mut store = filled(1, 1);
    for operation in [
        Operation::delete(Keys::Single("absent".into())),
        Operation::get("00000"),
        txn(Vec::new()),
        Operation::put("", "refused"),
    ] {
        let _ = execute(&mut store, &operation);
        assert_eq!(store.revision(), 2);
    }
    // A put of the same value is a change all the same, as in etcd.
    execute(&mut store, &Operation::put("00000", vec![7])).unwrap();
    assert_eq!(store.revision(), 3);
}

#[test]
fn errors_say_what_to_do() {
    let mut store = filled(3, 1);
    execute(&mut store, &Operation::Compact(3)).unwrap();
    let at = |revision| Operation::Range(Range { revision: Some(revision), ..Range::new(all()) });
    let messages = [at(2), at(9), Operation::Compact(3), Operation::put("key", "")]
        .map(|operation| query(&store, &operation).unwrap_err().to_string());
    assert_eq!(
        messages,
        [
            "revision 2 is compacted; the oldest readable one is 3",
            "revision 9 is in the future; the newest one is 4",
            "a query can't write: submit the operation to be ordered",
            "a query can't write: submit the operation to be ordered",
        ]
    );
}
