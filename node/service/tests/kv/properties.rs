//! Random operations: the store does what the model does, and survives being restored at any point.

use std::num::NonZeroU64;

use bytes::Bytes;
use pbft_service::Service;
use pbft_service::kv::{
    Answer, Change, Compare, Delete, Error, KeyValueStore, Keys, Operation, Put, Range, Relation, Reply,
    Step, Target, Txn,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::Model;
use crate::{CONTEXT, chunks, execute, range};

/// Few and short, so that operations meet; some are prefixes of others.
fn key() -> impl Strategy<Value = Bytes> {
    vec(prop_oneof![Just(b'a'), Just(b'b'), Just(255)], 1..4).prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    vec(0u8..3, 0..3).prop_map(Bytes::from)
}

fn keys() -> impl Strategy<Value = Keys> {
    prop_oneof![
        3 => key().prop_map(Keys::Single),
        1 => key().prop_map(Keys::prefix),
        1 => (prop::option::of(key()), prop::option::of(key()))
            .prop_map(|(start, end)| Keys::Span { start: start.unwrap_or_default(), end }),
    ]
}

fn put() -> impl Strategy<Value = Put> {
    (key(), value(), any::<bool>()).prop_map(|(key, value, previous)| Put { key, value, previous })
}

fn ranges() -> impl Strategy<Value = Range> {
    (keys(), prop::option::of(0u64..60), 0u32..4, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(keys, revision, limit, keys_only, count_only)| Range {
            keys,
            revision,
            limit,
            keys_only,
            count_only,
        },
    )
}

fn delete() -> impl Strategy<Value = Delete> {
    (keys(), any::<bool>()).prop_map(|(keys, previous)| Delete { keys, previous })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => put().prop_map(Step::Put),
        1 => (keys(), 0u32..4).prop_map(|(keys, limit)| Step::Range(Range { limit, ..Range::new(keys) })),
        1 => ranges().prop_map(Step::Range),
        2 => delete().prop_map(Step::Delete),
    ];
    vec(step, 0..4)
}

fn compare() -> impl Strategy<Value = Compare> {
    let relation = prop_oneof![
        Just(Relation::Equal),
        Just(Relation::NotEqual),
        Just(Relation::Less),
        Just(Relation::Greater)
    ];
    let target = prop_oneof![
        value().prop_map(Target::Value),
        (0u64..4).prop_map(Target::Version),
        (0u64..40).prop_map(Target::CreateRevision),
        (0u64..40).prop_map(Target::ModRevision),
    ];
    (key(), relation, target).prop_map(|(key, relation, target)| Compare { key, relation, target })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => put().prop_map(Operation::Put),
        3 => ranges().prop_map(Operation::Range),
        4 => delete().prop_map(Operation::Delete),
        5 => (vec(compare(), 0..3), steps(), steps())
            .prop_map(|(compares, success, failure)| Operation::Txn(Txn { compares, success, failure })),
        1 => (0u64..60).prop_map(Operation::Compact),
    ]
}

fn retained() -> impl Strategy<Value = NonZeroU64> {
    prop_oneof![1u64..8, Just(10_000)].prop_map(|retained| NonZeroU64::new(retained).unwrap())
}

/// The answer proper: a query's reply tells another revision than that of an ordered read.
fn answer(reply: Result<Reply, Error>) -> Result<Answer, Error> {
    reply.map(|reply| reply.answer)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_store_does_what_the_model_does(retained in retained(), operations in vec(operation(), 1..80)) {
        let (mut store, mut model) = (KeyValueStore::new(retained), Model::new(retained.get()));
        for operation in &operations {
            prop_assert_eq!(execute(&mut store, operation), model.apply(operation));
        }
        // Everything that is to be seen at any revision, and that what is not to be seen is not.
        for revision in 0..=model.revision() + 1 {
            let all = Range { revision: Some(revision), ..Range::new(Keys::prefix("")) };
            let expected = model.apply(&Operation::Range(all.clone()));
            prop_assert_eq!(answer(crate::query(&store, &Operation::Range(all))), answer(expected));
        }
    }

    #[test]
    fn a_restored_store_goes_on_like_the_original(
        retained in retained(),
        before in vec(operation(), 0..60),
        after in vec(operation(), 0..60),
    ) {
        let mut original = KeyValueStore::new(retained);
        for operation in &before {
            let _ = execute(&mut original, operation);
        }
        let snapshot = chunks(&mut original);
        let mut restored = KeyValueStore::new(retained);
        // What the store held before must not matter.
        let _ = execute(&mut restored, &Operation::put("other", "state"));
        restored.restore(&mut snapshot.clone().into_iter()).unwrap();
        prop_assert_eq!(chunks(&mut restored), snapshot);
        for operation in &after {
            let operation = operation.encode();
            prop_assert_eq!(restored.execute(&CONTEXT, &operation), original.execute(&CONTEXT, &operation));
        }
        prop_assert_eq!(chunks(&mut restored), chunks(&mut original));
    }

    #[test]
    fn events_tell_what_changed(operations in vec(operation(), 1..40)) {
        let (mut store, mut model) = (KeyValueStore::default(), Model::new(10_000));
        for operation in &operations {
            let revisions_before = model.log.len();
            let _ = model.apply(operation);
            let output = store.execute(&CONTEXT, &operation.encode());
            let expected = model.log.get(revisions_before).cloned().unwrap_or_default();
            prop_assert_eq!(output.events.len(), expected.len());
            for (event, (key, value)) in output.events.iter().zip(expected) {
                prop_assert_eq!(&event.topic, &key);
                match Change::decode(&event.content).unwrap() {
                    Change::Put(entry) => {
                        prop_assert_eq!(Some(&entry.value), value.as_ref());
                        let now = range(&store, Range::new(Keys::Single(key))).unwrap().entries;
                        prop_assert_eq!(now, [entry]);
                    }
                    Change::Delete { key: deleted, mod_revision } => {
                        prop_assert_eq!((deleted, mod_revision, None), (key, store.revision(), value));
                    }
                }
            }
        }
    }

    #[test]
    fn random_operations_never_panic(bytes in vec(any::<u8>(), 0..100), tag in 0u8..6) {
        let mut store = KeyValueStore::default();
        for operation in [&bytes[..], &[&[tag, 0, 0, 0], &bytes[..]].concat()] {
            store.reader().query(operation);
            store.execute(&CONTEXT, operation);
        }
    }

    #[test]
    fn queries_change_nothing_and_agree_with_execution(
        before in vec(operation(), 0..30),
        operation in operation(),
    ) {
        let mut store = KeyValueStore::default();
        for operation in &before {
            let _ = execute(&mut store, operation);
        }
        let chunks_before = chunks(&mut store);
        let queried = crate::query(&store, &operation);
        prop_assert_eq!(chunks(&mut store), chunks_before);
        if operation.is_read_only() {
            prop_assert_eq!(answer(queried), answer(execute(&mut store, &operation)));
        } else {
            prop_assert_eq!(queried, Err(Error::WriteInQuery));
        }
    }
}
