//! Made-up histories: each breaks one guarantee, and the checker says which.

use pbft_crypto::Domain;
use pbft_messages::{RequestNumber, SessionId};
use pbft_service::kv::{KeyValueStore, Put};
use pbft_service::{Context, Service as _};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

const CLIENT: ClientId = ClientId([7; 32]);
const SESSION: SessionId = SessionId(1);

fn put(value: &'static str) -> Bytes {
    kv::Operation::Put(Put { key: "key".into(), value: value.into(), previous: true }).encode()
}

fn request(number: u64) -> RequestId {
    RequestId { client: CLIENT, session: SESSION, number: RequestNumber(number) }
}

/// Some operations of the one client, in the one session.
fn batch(sequence: u64, operations: &[Bytes]) -> Execution {
    let operation = |it: &Bytes| Operation { client: CLIENT, session: SESSION, operation: it.clone() };
    Execution {
        sequence: Sequence(sequence),
        time: Some(Timestamp(sequence)),
        operations: operations.iter().map(operation).collect(),
    }
}

/// Lets a replica execute batches, from the first sequence on.
fn execute(checker: &mut Checker, replica: usize, batches: &[&[Bytes]]) {
    for (sequence, operations) in (1..).zip(batches) {
        let execution = batch(sequence, operations);
        checker.executes(InstanceId(replica), Sequence(sequence - 1), &execution);
    }
}

/// A checker of a client that has signed these, numbered from 1.
fn signed(operations: &[&Bytes]) -> Checker {
    let mut checker = Checker::new(true);
    for (number, operation) in (1..).zip(operations) {
        checker.issued(request(number), (*operation).clone());
    }
    checker
}

fn found(checker: &Checker) -> Vec<Invariant> {
    checker.violations().iter().map(|it| it.invariant).collect()
}

#[test]
fn agreement_is_checked_of_digests_operations_and_states() {
    let digest = |name: &[u8]| Digest::of(Domain::Batch, name);
    let [one, other] = [put("one"), put("other")];
    let mut checker = signed(&[&one, &other]);
    let both = [one.clone(), other.clone()];
    execute(&mut checker, 0, &[&both]);
    execute(&mut checker, 1, &[&both]);
    checker.batch(InstanceId(0), Sequence(1), digest(b"a"));
    checker.root(InstanceId(0), Sequence(1), digest(b"a"));
    assert_eq!(found(&checker), []);
    execute(&mut checker, 2, &[&[other, one]]);
    assert!(found(&checker).contains(&Invariant::I1), "{:?}", checker.violations());
    for disagrees in [Checker::batch, Checker::root] {
        let before = checker.violations().len();
        disagrees(&mut checker, InstanceId(1), Sequence(1), digest(b"b"));
        assert_eq!(found(&checker)[before..], [Invariant::I1]);
    }
}

#[test]
fn what_nobody_signed_is_not_executed() {
    let one = put("one");
    let mut checker = signed(&[]);
    execute(&mut checker, 0, &[std::slice::from_ref(&one)]);
    assert_eq!(found(&checker), [Invariant::I2]);
    let mut checker = signed(&[&one]);
    let mut execution = batch(1, &[one]);
    execution.operations[0].session = SessionId(2);
    checker.executes(InstanceId(0), Sequence(0), &execution);
    assert_eq!(found(&checker), [Invariant::I2], "in another session");
}

#[test]
fn everything_is_executed_once() {
    let [one, other] = [put("one"), put("other")];
    let twice: [&[&[Bytes]]; 2] =
        [&[&[one.clone(), one.clone()]], &[std::slice::from_ref(&one), &[one.clone(), other.clone()]]];
    for batches in twice {
        let mut checker = signed(&[&one, &other]);
        execute(&mut checker, 0, batches);
        assert_eq!(found(&checker), [Invariant::I3]);
    }
    let mut checker = signed(&[&one]);
    checker.issued(request(1), other.clone());
    execute(&mut checker, 0, &[std::slice::from_ref(&one), std::slice::from_ref(&other)]);
    assert_eq!(found(&checker), [Invariant::I3], "two operations under one number");
    for (last, sequence) in [(1, 1), (0, 2)] {
        let mut checker = signed(&[&one]);
        checker.executes(InstanceId(0), Sequence(last), &batch(sequence, &[]));
        assert_eq!(found(&checker), [Invariant::I3], "{sequence} after {last}");
    }
    // A read may be executed as often as it is asked for.
    let read = kv::Operation::get("key").encode();
    let mut checker = signed(&[&read, &read]);
    execute(&mut checker, 0, &[&[read.clone(), read.clone()], std::slice::from_ref(&read)]);
    assert_eq!(found(&checker), []);
}

#[test]
fn clients_are_told_what_is_so() {
    let [one, other] = [put("one"), put("other")];
    let result = |operations: &[&Bytes]| results(operations).pop().unwrap();
    let mut checker = signed(&[&one, &other]);
    execute(&mut checker, 0, &[std::slice::from_ref(&one), std::slice::from_ref(&other)]);
    checker.acknowledged(CLIENT, &other, Sequence(2), &result(&[&one, &other]));
    assert_eq!(found(&checker), []);
    checker.acknowledged(CLIENT, &other, Sequence(2), &result(&[&other]));
    assert_eq!(found(&checker), [Invariant::I4], "as if nothing had been before");
    checker.acknowledged(CLIENT, &one, Sequence(3), &result(&[&one]));
    assert_eq!(found(&checker)[1..], [Invariant::I5], "it was not executed there");

    let mut checker = signed(&[&one]);
    checker.acknowledged(CLIENT, &one, Sequence(1), b"");
    assert_eq!(found(&checker), [Invariant::I5], "before anybody executed it");
}

/// Beyond f liars can answer for what is yet to be executed; and not for what was.
#[test]
fn beyond_f_clients_may_be_told_early_and_not_wrongly() {
    let [one, other] = [put("one"), put("other")];
    for told in [&one, &other] {
        let mut checker = signed(&[&one, &other]);
        checker.beyond_f = true;
        checker.acknowledged(CLIENT, told, Sequence(1), b"");
        assert_eq!(found(&checker), []);
        execute(&mut checker, 0, &[std::slice::from_ref(&one)]);
        let wrong = if told == &one { &[][..] } else { &[Invariant::I5] };
        assert_eq!(found(&checker), wrong);
        checker.acknowledged(CLIENT, &other, Sequence(1), b"");
        assert_eq!(found(&checker).len(), wrong.len() + 1, "there is something else already");
    }
}

#[test]
fn reads_show_a_state_that_was() {
    let one = put("one");
    let mut checker = signed(&[&one]);
    execute(&mut checker, 0, &[std::slice::from_ref(&one)]);
    let read = kv::Operation::get("key").encode();
    let empty = KeyValueStore::default().reader().query(&read);
    checker.read(Sequence(0), &read, &empty);
    assert_eq!(found(&checker), []);
    checker.read(Sequence(1), &read, &empty);
    assert_eq!(found(&checker), [Invariant::N5], "it is written since");
    checker.believes(CLIENT, View(0));
    checker.believes(CLIENT, View(1));
    assert_eq!(found(&checker)[1..], [Invariant::N5], "nobody is in that view");
}

#[test]
fn time_rises() {
    let mut checker = signed(&[]);
    execute(&mut checker, 0, &[&[], &[]]);
    assert_eq!(found(&checker), []);
    let late = Execution { time: Some(Timestamp(2)), ..batch(3, &[]) };
    checker.executes(InstanceId(0), Sequence(2), &late);
    assert_eq!(found(&checker), [Invariant::N6]);
}

/// What the store answers to these, one after the other.
fn results(operations: &[&Bytes]) -> Vec<Bytes> {
    let mut store = KeyValueStore::default();
    let execute = |(sequence, operation): (u64, &&Bytes)| {
        let sequence = Sequence(sequence);
        let context = Context { sequence, time: Timestamp(1), client: CLIENT, session: SESSION };
        store.execute(&context, operation).result
    };
    (1..).zip(operations).map(execute).collect()
}

/// An operation of a history: when it was begun and answered, its place in the order, and the answer.
struct Entry {
    operation: Bytes,
    begun: usize,
    answered: usize,
    sequence: usize,
    result: Bytes,
}

/// Whether there is any order in which what was answered before another one began comes before it, and each gets its
/// answer: tried one by one.
fn is_linearizable(history: &[Entry], order: &mut Vec<usize>) -> bool {
    if order.len() == history.len() {
        let operations: Vec<_> = order.iter().map(|it| &history[*it].operation).collect();
        return order.iter().zip(results(&operations)).all(|(it, result)| history[*it].result == result);
    }
    (0..history.len()).any(|next| {
        let mut rest = (0..history.len()).filter(|it| !order.contains(it));
        if order.contains(&next) || rest.any(|it| history[it].answered < history[next].begun) {
            return false;
        }
        order.push(next);
        let found = is_linearizable(history, order);
        order.pop();
        found
    })
}

/// What the checker makes of a history.
fn is_accepted(history: &[Entry]) -> bool {
    let mut checker = Checker::new(true);
    let mut executed = 0;
    for now in 0..2 * history.len() {
        let number = |entry: &Entry| entry.sequence as u64;
        if let Some(begun) = history.iter().find(|it| it.begun == now) {
            checker.issued(request(number(begun)), begun.operation.clone());
        }
        let Some(answered) = history.iter().find(|it| it.answered == now) else { continue };
        for sequence in executed + 1..=answered.sequence {
            let entry = history.iter().find(|it| it.sequence == sequence).unwrap();
            let execution = batch(sequence as u64, std::slice::from_ref(&entry.operation));
            checker.executes(InstanceId(0), Sequence(sequence as u64 - 1), &execution);
            executed = sequence;
        }
        let sequence = Sequence(number(answered));
        checker.acknowledged(CLIENT, &answered.operation, sequence, &answered.result);
    }
    checker.violations().is_empty()
}

/// The checker knows the order and looks at nothing else; a search through all orders comes to the same. Every answer
/// tells what was there before, so that no two orders fit.
#[test]
fn the_checker_and_a_search_through_all_orders_agree() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..3000 {
        let count = random.random_range(1..=4);
        let mut times: Vec<_> = (0..2 * count).collect();
        // Wholly in disorder, most histories are bad.
        match random.random_bool(0.3) {
            true => times.shuffle(&mut random),
            false => times[random.random_range(0..count)..].reverse(),
        }
        let operations: Vec<_> = ["a", "b", "c", "d"].into_iter().take(count).map(put).collect();
        let mut answers = results(&operations.iter().collect::<Vec<_>>());
        if random.random_bool(0.3) {
            answers.shuffle(&mut random);
        }
        let entry = |((index, operation), result): ((usize, Bytes), Bytes)| {
            let (one, two) = (times[2 * index], times[2 * index + 1]);
            let (begun, answered) = (one.min(two), one.max(two));
            Entry { operation, begun, answered, sequence: index + 1, result }
        };
        let history: Vec<_> = operations.into_iter().enumerate().zip(answers).map(entry).collect();
        let right = is_linearizable(&history, &mut Vec::new());
        assert_eq!(is_accepted(&history), right);
        *(if right { &mut good } else { &mut bad }) += 1;
    }
    assert!(good > 300 && bad > 300, "{good} good, {bad} bad");
}
