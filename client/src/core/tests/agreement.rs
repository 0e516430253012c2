//! What the core believes: results and views.

use super::*;

#[test]
fn f_plus_one_equal_replies_make_a_result() {
    let mut bench = Bench::open(4);
    let ticket = bench.submit(&["op"]);
    bench.reply(3, executed(1, b"op", 5, b"yes"));
    assert_eq!(bench.answers(), []);
    bench.reply(1, executed(1, b"op", 5, b"yes"));
    assert_eq!(bench.answers(), [(ticket, 0, result(5, b"yes"))]);
}

#[test]
fn one_replica_is_one_vote_however_often_it_speaks() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"]);
    for _ in 0..3 {
        bench.reply(2, executed(1, b"op", 5, b"no"));
    }
    let twice = executed(1, b"op", 5, b"no");
    bench.message(2, ReplicaMessage::Replies(vec![twice.clone(), twice]));
    assert_eq!(bench.answers(), []);
}

#[test]
fn a_replicas_latest_word_counts() {
    let mut bench = Bench::open(7);
    let ticket = bench.submit(&["op"]);
    bench.reply(0, executed(1, b"op", 5, b"no"));
    bench.reply(1, executed(1, b"op", 5, b"no"));
    bench.reply(1, executed(1, b"op", 5, b"yes"));
    bench.reply(2, executed(1, b"op", 5, b"no"));
    assert_eq!(bench.answers(), [], "r1 took its word back");
    bench.reply(2, executed(1, b"op", 5, b"yes"));
    bench.reply(3, executed(1, b"op", 5, b"yes"));
    assert_eq!(bench.answers(), [(ticket, 0, result(5, b"yes"))]);
}

#[test]
fn replies_that_differ_anywhere_do_not_add_up() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"]);
    bench.reply(0, executed(1, b"op", 5, b"yes"));
    bench.reply(1, executed(1, b"op", 6, b"yes"));
    bench.reply(2, executed(1, b"op", 5, b"no"));
    bench.reply(3, refused(1, b"op", 5, Refusal::TooOld));
    assert_eq!(bench.answers(), []);
}

#[test]
fn answers_to_something_else_are_no_answers() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"]);
    for replica in 0..4 {
        bench.reply(replica, executed(1, b"another", 5, b"yes"));
        bench.reply(replica, Reply { session: SessionId(78), ..executed(1, b"op", 5, b"yes") });
        bench.reply(replica, executed(2, b"op", 5, b"yes"));
        bench.reply(replica, executed(u64::MAX, b"op", 5, b"yes"));
        bench.reply(replica, answer(1, b"op", 5, Outcome::Opened));
        bench.reply(replica, executed(0, b"", 5, b"yes"));
        bench.reply(replica + 4, executed(1, b"op", 5, b"yes"));
    }
    assert_eq!(bench.effects.iter().filter(|effect| !matches!(effect, Effect::Send { .. })).count(), 0);
}

#[test]
fn requests_of_a_submission_are_answered_one_by_one_in_any_order() {
    let mut bench = Bench::open(4);
    let ticket = bench.submit(&["a", "b", "c"]);
    let both = vec![executed(3, b"c", 5, b"C"), executed(1, b"a", 5, b"A")];
    bench.message(0, ReplicaMessage::Replies(both.clone()));
    bench.message(1, ReplicaMessage::Replies(both));
    assert_eq!(bench.answers(), [(ticket, 2, result(5, b"C")), (ticket, 0, result(5, b"A"))]);
    assert_eq!(bench.core.abandon(ticket), Abandoned::Sent);
    bench.reply(2, executed(2, b"b", 5, b"B"));
    bench.reply(3, executed(2, b"b", 5, b"B"));
    assert_eq!(bench.answers(), [(ticket, 1, result(5, b"B"))]);
    assert_eq!(bench.core.abandon(ticket), Abandoned::Answered);
    assert_eq!(bench.core.deadline(), None, "nothing is on its way any more");
}

#[test]
fn late_replies_change_nothing() {
    let mut bench = Bench::open(4);
    bench.submit(&["op"]);
    for replica in 0..4 {
        bench.reply(replica, executed(1, b"op", 5, b"yes"));
        bench.reply(replica, answer(0, b"", 1, Outcome::Opened));
    }
    assert_eq!(bench.answers().len(), 1);
    assert!(!bench.effects.contains(&Effect::Opened { sequence: Sequence(1) }));
}

/// N5: fewer than f+1 refusals are never final.
#[test]
fn f_refusals_are_nothing() {
    let mut bench = Bench::open(4);
    let ticket = bench.submit(&["op"]);
    bench.reply(0, refused(1, b"op", 5, Refusal::SessionExpired));
    assert_eq!(bench.answers(), []);
    bench.reply(1, executed(1, b"op", 5, b"yes"));
    bench.reply(2, executed(1, b"op", 5, b"yes"));
    assert_eq!(bench.answers(), [(ticket, 0, result(5, b"yes"))]);
    assert!(!bench.core.is_over());
}

#[test]
fn an_expired_session_ends_and_what_was_sent_is_unknown() {
    let mut bench = Bench::open(4);
    let sent = bench.submit(&["op"; 64]);
    let second = bench.submit(&["queued"]);
    for replica in [1, 2] {
        bench.reply(replica, refused(1, b"op", 9, Refusal::SessionExpired));
    }
    let expired = |sent| Answer::Expired { sent };
    assert_eq!(bench.answers(), [(sent, 0, expired(true)), (second, 0, expired(false))]);
    assert!(bench.core.is_over());
    let refused = bench.core.submit(bench.now, vec![Bytes::new()], &mut bench.effects);
    assert_eq!(refused, Err(SubmitError::SessionOver));
    // What was executed before the session expired is still found out.
    for replica in [1, 2] {
        bench.reply(replica, executed(2, b"op", 8, b"yes"));
    }
    assert_eq!(bench.answers(), [(sent, 1, result(8, b"yes"))]);
}

#[test]
fn a_refused_opening_is_told_once() {
    let mut bench = Bench::opening(4);
    let ticket = bench.submit(&["op"]);
    bench.reply(0, refused(0, b"", 3, Refusal::SessionExpired));
    assert!(!bench.core.is_over());
    bench.reply(1, refused(0, b"", 3, Refusal::SessionExpired));
    assert!(bench.effects.contains(&Effect::OpeningRefused(Refusal::SessionExpired)));
    assert_eq!(bench.answers(), [(ticket, 0, Answer::Expired { sent: false })]);
    assert!(bench.core.is_over());
}

/// Fault 39: one replica's claim moves nothing; f+1 claims move the view to what they all have reached.
#[test]
fn fault_39_the_view_follows_f_plus_one_replicas() {
    let mut bench = Bench::open(4);
    let in_view = |view| Reply { view: View(view), ..executed(1, b"op", 5, b"yes") };
    bench.reply(3, in_view(u64::MAX));
    bench.reply(3, in_view(7));
    assert_eq!(bench.core.view(), View(0));
    bench.reply(1, in_view(2));
    assert_eq!((bench.core.view(), bench.core.primary()), (View(2), ReplicaId(2)));
    bench.reply(2, in_view(1));
    assert_eq!(bench.core.view(), View(2), "views never go down");
    bench.reply(2, in_view(3));
    assert_eq!(bench.core.view(), View(3));
    bench.effects.clear();
    bench.submit(&["op"]);
    assert_eq!(bench.sent(), [(vec![3], 1)]);
}

#[test]
fn other_sessions_do_not_tell_views() {
    let mut bench = Bench::open(4);
    for replica in 0..4 {
        let reply = Reply { view: View(9), session: SessionId(1), ..executed(1, b"op", 5, b"yes") };
        bench.reply(replica, reply);
    }
    assert_eq!(bench.core.view(), View(0));
}
