//! Whom the core sends to, when, and how often.

use std::collections::BTreeSet;

use super::*;

const ALL: [u16; 4] = [0, 1, 2, 3];

fn milliseconds(from: u64, to: u64) -> std::ops::RangeInclusive<Duration> {
    Duration::from_millis(from)..=Duration::from_millis(to)
}

#[test]
fn the_opening_goes_first_and_alone() {
    let mut bench = Bench::opening(4);
    bench.submit(&["op"]);
    assert_eq!(bench.sent(), [(vec![0], 0)]);
    bench.reply(2, answer(0, b"", 1, Outcome::Opened));
    assert_eq!(bench.sent(), []);
    bench.reply(3, answer(0, b"", 1, Outcome::Opened));
    assert_eq!(bench.sent(), [(vec![0], 1)]);
}

#[test]
fn what_is_sent_verifies() {
    let mut bench = Bench::open(4);
    bench.submit(&["a", "b"]);
    let (_, signed) = bench.messages().remove(0);
    let verified = signed.verify(&bench.configuration).unwrap();
    assert_eq!(verified.signer(), client());
    let operations: Vec<_> = verified.value().requests().map(|request| request.operation.clone()).collect();
    assert_eq!(operations, [&b"a"[..], b"b"]);
}

/// N8: the primary first, then everybody, with the same bytes, less and less often.
#[test]
fn an_unanswered_request_goes_to_all_with_the_same_bytes() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"]);
    let (to, first) = bench.messages().remove(0);
    assert_eq!(to, [0]);
    for bounds in [(200, 250), (400, 500), (800, 1000), (1000, 1250), (1000, 1250)] {
        let waited = bench.wait();
        assert!(milliseconds(bounds.0, bounds.1).contains(&waited), "{waited:?}, not {bounds:?}");
        let again = bench.messages();
        assert_eq!(again, [(ALL.to_vec(), first.clone())]);
    }
}

/// A cluster with much to do would have far more to do if all that waits were sent to every replica.
#[test]
fn while_answers_come_the_oldest_request_alone_goes_to_all() {
    let mut bench = Bench::open(4);
    for _ in 0..4 {
        bench.submit(&["op"]);
    }
    bench.messages();
    // The second was answered a little while ago, the others are late.
    bench.now += Duration::from_millis(190);
    bench.reply(0, executed(2, b"op", 5, b""));
    bench.reply(1, executed(2, b"op", 5, b""));
    bench.now += Duration::from_millis(80);
    bench.core.tick(bench.now, &mut bench.effects);
    assert_eq!(bench.sent(), [(ALL.to_vec(), 1)]);
    // Nothing was answered since: now each that is late goes to all.
    bench.now += Duration::from_millis(250);
    bench.core.tick(bench.now, &mut bench.effects);
    assert_eq!(bench.sent(), [(ALL.to_vec(), 3), (ALL.to_vec(), 4)]);
}

#[test]
fn nothing_is_sent_again_before_its_time() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"]);
    bench.effects.clear();
    bench.now = bench.core.deadline().unwrap() - Duration::from_nanos(1);
    bench.core.tick(bench.now, &mut bench.effects);
    assert_eq!(bench.effects, []);
}

#[test]
fn the_window_holds_submissions_back() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"; 60]);
    bench.submit(&["op"; 4]);
    let third = bench.submit(&["op"; 2]);
    assert_eq!(bench.sent(), [(vec![0], 1), (vec![0], 61)]);
    // Requests up to 66 − 64 = 2 must be answered; number 3 does not help.
    for number in [3, 1] {
        bench.reply(0, executed(number, b"op", 5, b""));
        bench.reply(1, executed(number, b"op", 5, b""));
        assert_eq!(bench.sent(), []);
    }
    bench.reply(0, executed(2, b"op", 5, b""));
    bench.reply(1, executed(2, b"op", 5, b""));
    assert_eq!(bench.sent(), [(vec![0], 65)]);
    assert_eq!(bench.core.abandon(third), Abandoned::Sent);
}

#[test]
fn a_full_submission_always_fits_in_the_end() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"; 64]);
    bench.submit(&["op"; 64]);
    assert_eq!(bench.sent().len(), 1);
    for number in 1..=64 {
        bench.reply(0, executed(number, b"op", 5, b""));
        bench.reply(1, executed(number, b"op", 5, b""));
    }
    assert_eq!(bench.sent(), [(vec![0], 65)]);
}

/// A gap in the numbers would block the window for ever.
#[test]
fn abandoning_leaves_no_gap() {
    let mut bench = Bench::open(4);
    let sent = bench.submit(&["op"; 64]);
    let queued = bench.submit(&["op"]);
    bench.submit(&["last"]);
    bench.effects.clear();
    assert_eq!(bench.core.abandon(queued), Abandoned::NeverSent);
    assert_eq!(bench.core.abandon(sent), Abandoned::Sent);
    bench.wait();
    assert_eq!(bench.sent(), [(ALL.to_vec(), 1)], "what was sent is pursued");
    bench.reply(0, executed(1, b"op", 5, b""));
    bench.reply(1, executed(1, b"op", 5, b""));
    assert_eq!(bench.sent(), [(vec![0], 65)]);
    for replica in [0, 1] {
        bench.reply(replica, executed(65, b"last", 6, b"done"));
    }
    assert_eq!(bench.answers().pop().unwrap().2, result(6, b"done"));
}

#[test]
fn what_replicas_would_not_read_is_not_signed() {
    let mut bench = Bench::open(4);
    let mut submit = |operations| bench.core.submit(bench.now, operations, &mut bench.effects);
    assert_eq!(submit(vec![]), Err(SubmitError::Count(0)));
    assert_eq!(submit(vec![Bytes::new(); 65]), Err(SubmitError::Count(65)));
    let limit = (1 << 20) + (64 << 10);
    assert!(submit(vec![Bytes::from(vec![0; limit])]).is_ok());
    let large = submit(vec![Bytes::new(), Bytes::from(vec![0; limit + 1])]);
    assert_eq!(large, Err(SubmitError::OperationTooLarge { index: 1, bytes: limit + 1, limit }));
    let many = submit(vec![Bytes::from(vec![0; limit]); 2]);
    assert_eq!(many, Err(SubmitError::SubmissionTooLarge { bytes: 2 * limit, limit: 2 << 20 }));
}

#[test]
fn a_busy_primary_gets_a_little_time_and_no_more() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"]);
    bench.effects.clear();
    for bounds in [(20, 25), (40, 50), (80, 100), (160, 200)] {
        bench.busy(0, 1);
        bench.busy(0, 1);
        let waited = bench.wait();
        assert!(milliseconds(bounds.0, bounds.1).contains(&waited), "{waited:?}, not {bounds:?}");
        assert_eq!(bench.sent(), [(vec![0], 1)]);
    }
    bench.busy(0, 1);
    bench.wait();
    assert_eq!(bench.sent(), [(ALL.to_vec(), 1)], "a liar delays, and does not censor");
}

#[test]
fn one_busy_replica_among_all_means_nothing_and_f_plus_one_mean_patience() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"]);
    bench.wait();
    bench.effects.clear();
    bench.busy(3, 1);
    bench.busy(3, 1);
    bench.wait();
    assert_eq!(bench.sent(), [(ALL.to_vec(), 1)]);
    bench.busy(3, 1);
    bench.busy(1, 1);
    let waited = bench.wait();
    assert!(waited >= Duration::from_millis(400), "the longer interval stays: {waited:?}");
    assert_eq!(bench.sent(), [(vec![0], 1)]);
}

/// While the cluster has too much to do, a client asks less and less often, up to a cap.
#[test]
fn pauses_grow_while_the_cluster_is_busy() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"]);
    let (mut asked, mut pauses) = (0, Vec::new());
    while bench.now < Duration::from_secs(120) {
        let sent = bench.sent();
        asked += sent.iter().map(|(to, _)| to.len()).sum::<usize>();
        for (to, _) in sent {
            to.into_iter().for_each(|replica| bench.busy(replica, 1));
        }
        pauses.push(bench.wait());
    }
    assert!(pauses[..4].is_sorted(), "{pauses:?}");
    let late = &pauses[pauses.len() - 20..];
    assert!(late.iter().all(|pause| milliseconds(200, 1250).contains(pause)), "{late:?}");
    let mean = late.iter().sum::<Duration>() / 20;
    assert!(mean > Duration::from_millis(800), "{mean:?}");
    assert!(asked < 300, "{asked} messages in two minutes");
}

/// While the cluster answers, what it shed comes back as soon as there may be room, to the primary alone.
#[test]
fn an_answer_brings_back_the_oldest_of_what_was_shed() {
    let mut bench = Bench::open(4);
    (0..4).for_each(|_| _ = bench.submit(&["op"]));
    bench.effects.clear();
    [2, 3, 4].into_iter().for_each(|number| bench.busy(0, number));
    let answer = |bench: &mut Bench, number| {
        [0, 1].into_iter().for_each(|replica| bench.reply(replica, executed(number, b"op", 5, b"")));
    };
    answer(&mut bench, 1);
    assert_eq!(bench.sent(), [(vec![0], 2)], "as many as were answered");
    bench.busy(0, 2);
    let waited = bench.wait();
    assert!(milliseconds(20, 25).contains(&waited), "the pause goes on: {waited:?}");
    let mut rest = vec![2, 3, 4];
    while !rest.is_empty() {
        let sent = bench.sent();
        assert!(sent.iter().all(|(to, _)| *to == [0]), "no answers need not mean anything yet: {sent:?}");
        rest.retain(|number| !sent.iter().any(|(_, first)| first == number));
        bench.wait();
    }
}

/// What the primary shed again and again it does not have, so it is asked for that again while answers come; the oldest
/// goes to all, or a liar could censor it.
#[test]
fn while_answers_come_what_is_shed_goes_to_the_primary_alone() {
    let mut bench = Bench::open(4);
    let mut sent_to_all = BTreeSet::new();
    (0..60).for_each(|_| _ = bench.submit(&["op"]));
    let answered = 20..60;
    for number in answered.clone() {
        bench.now += Duration::from_millis(50);
        bench.core.tick(bench.now, &mut bench.effects);
        for (to, first) in bench.sent() {
            if to.len() > 1 {
                sent_to_all.insert(first);
            }
            if first < answered.start {
                bench.busy(0, first);
            }
        }
        [0, 1].into_iter().for_each(|replica| bench.reply(replica, executed(number, b"op", 5, b"")));
    }
    assert_eq!(sent_to_all, BTreeSet::from([1]));
}

/// The jitter comes from the seed, and keeps clients from coming back together.
#[test]
fn pauses_differ_between_clients_and_not_between_runs() {
    let pauses = |seed| {
        let mut bench = Bench::with_seed(4, seed);
        bench.submit(&["op"]);
        let pause = |bench: &mut Bench| {
            bench.busy(0, 1);
            bench.wait()
        };
        (0..4).map(|_| pause(&mut bench)).collect::<Vec<_>>()
    };
    assert_eq!(pauses(1), pauses(1));
    assert_ne!(pauses(1), pauses(2));
}

/// f liars, the primary among them, who always say that they are busy: everybody else is asked all the same, again
/// and again, and their answer counts.
#[test]
fn liars_who_say_that_they_are_busy_stop_nobody() {
    let mut bench = Bench::open(7);
    let ticket = bench.submit(&["op"]);
    let mut asked = 0;
    for _ in 0..10 {
        for (to, _) in bench.sent() {
            asked += usize::from(to.contains(&6));
            [0, 1].into_iter().filter(|liar| to.contains(liar)).for_each(|liar| bench.busy(liar, 1));
        }
        bench.wait();
    }
    assert_eq!(asked, 5, "after the primary alone was asked five times");
    assert!(bench.now < Duration::from_secs(6), "{:?}", bench.now);
    assert_eq!(bench.core.shed_by(Some(ticket)), 0, "two may both be lying");
    (3..6).for_each(|replica| bench.reply(replica, executed(1, b"op", 5, b"done")));
    assert_eq!(bench.answers(), [(ticket, 0, result(5, b"done"))]);
}

/// What becomes of a request that nobody takes can be told from what becomes of one that nobody answers.
#[test]
fn the_cluster_is_busy_when_one_correct_replica_says_so() {
    let mut bench = Bench::opening(4);
    bench.wait();
    bench.busy(1, 0);
    bench.busy(1, 0);
    bench.busy(9, 0);
    assert_eq!(bench.core.shed_by(None), 0);
    bench.busy(3, 0);
    assert_eq!(bench.core.shed_by(None), 2);
    bench.wait();
    assert_eq!(bench.core.shed_by(None), 2, "nobody has said anything else");
    bench.reply(3, answer(0, b"", 1, Outcome::Opened));
    assert_eq!(bench.core.shed_by(None), 0);
}

#[test]
fn busy_about_something_else_means_nothing() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"]);
    let deadline = bench.core.deadline();
    bench.message(0, ReplicaMessage::Busy { session: SessionId(1), first: RequestNumber(1) });
    bench.busy(0, 2);
    bench.busy(1, 1);
    assert_eq!(bench.core.deadline(), deadline);
}

#[test]
fn a_link_that_comes_up_gets_what_is_unanswered() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"]);
    bench.effects.clear();
    bench.link(0, false);
    assert_eq!(bench.sent(), []);
    bench.link(0, true);
    bench.link(2, true);
    assert_eq!(bench.sent(), [(vec![0], 1), (vec![2], 1)]);
    bench.reply(0, executed(1, b"op", 5, b""));
    bench.reply(1, executed(1, b"op", 5, b""));
    bench.link(3, true);
    assert_eq!(bench.sent(), []);
}

#[test]
fn without_the_primary_all_others_are_asked_at_once_and_without_anybody_nothing_is_signed() {
    let mut bench = Bench::open(4);
    bench.link(0, false);
    bench.submit(&["op"]);
    assert_eq!(bench.sent(), [(vec![1, 2, 3], 1)]);
    for replica in 1..4 {
        bench.link(replica, false);
    }
    let queued = bench.submit(&["op"]);
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.core.abandon(queued), Abandoned::NeverSent);
    bench.submit(&["op"]);
    bench.link(3, true);
    assert_eq!(bench.sent(), [(vec![3], 1), (vec![3], 2)]);
}
