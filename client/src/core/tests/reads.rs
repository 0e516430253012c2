//! Unordered reads: what a quorum says, and else the ordered way (N5, fault 36).

use pbft_messages::{Read, ReadAnswer, ReadId, ReadOutcome};

use super::super::FallBack;
use super::*;

impl Bench {
    fn read(&mut self, operation: &'static str) -> Ticket {
        self.core.read(self.now, Bytes::from_static(operation.as_bytes()), &mut self.effects).unwrap()
    }

    fn says(&mut self, from: u16, id: u64, sequence: u64, result: &'static str) {
        let result = Bytes::from_static(result.as_bytes());
        let outcome = ReadOutcome::Result { sequence: Sequence(sequence), result };
        self.message(from, ReplicaMessage::Read(ReadAnswer { id: ReadId(id), outcome }));
    }

    fn refuses(&mut self, from: u16, id: u64) {
        let outcome = ReadOutcome::Refused;
        self.message(from, ReplicaMessage::Read(ReadAnswer { id: ReadId(id), outcome }));
    }

    /// Whom which reads were sent to since last asked.
    fn reads_sent(&mut self) -> Vec<(Vec<u16>, u64)> {
        let reads =
            |effect: &mut Effect| matches!(effect, Effect::Send { message: ClientMessage::Read(_), .. });
        let sent = self.effects.extract_if(.., reads).map(|effect| match effect {
            Effect::Send { to, message: ClientMessage::Read(Read { id, .. }) } => {
                (to.iter().map(|replica| replica.0).collect(), id.0)
            }
            _ => unreachable!("only sends of reads were taken"),
        });
        sent.collect()
    }

    fn fell_back(&mut self) -> Vec<(Ticket, FallBack)> {
        let fallen = self.effects.extract_if(.., |effect| matches!(effect, Effect::FellBack { .. }));
        let reason = |effect| match effect {
            Effect::FellBack { ticket, reason } => (ticket, reason),
            _ => unreachable!("only these were taken"),
        };
        fallen.map(reason).collect()
    }
}

fn read(sequence: u64, result: &'static str) -> Answer {
    Answer::Read { sequence: Sequence(sequence), result: Bytes::from_static(result.as_bytes()) }
}

#[test]
fn a_quorum_of_equal_results_is_the_answer_wherever_each_replica_stands() {
    let mut bench = Bench::open(4);
    let ticket = bench.read("key");
    assert_eq!(bench.reads_sent(), [(vec![0, 1, 2, 3], 0)]);
    bench.says(3, 0, 99, "value");
    bench.says(1, 0, 5, "value");
    assert_eq!(bench.answers(), [], "f+1 are not enough");
    bench.says(2, 0, 7, "value");
    // r3 may lie about its sequence; one of the two highest is a correct replica's.
    assert_eq!(bench.answers(), [(ticket, 0, read(7, "value"))]);
    bench.says(0, 0, 6, "value");
    assert_eq!((bench.effects.len(), bench.core.deadline()), (0, None));
}

#[test]
fn fault_36_f_plus_one_stale_answers_make_no_result() {
    let mut bench = Bench::open(4);
    let ticket = bench.read("key");
    // A liar, and a correct replica that has not yet heard of the write.
    for replica in [2, 3] {
        for _ in 0..3 {
            bench.says(replica, 0, 5, "old");
        }
    }
    bench.says(0, 0, 6, "new");
    assert_eq!((bench.answers(), bench.fell_back()), (vec![], vec![]));
    bench.says(1, 0, 6, "new");
    assert_eq!(bench.answers(), []);
    assert_eq!(bench.fell_back(), [(ticket, FallBack::Divided)], "three of one kind are out of reach");
    assert_eq!(bench.sent(), [(vec![0], 1)], "it is ordered");
    bench.reply(0, executed(1, b"key", 8, b"new"));
    bench.reply(1, executed(1, b"key", 8, b"new"));
    assert_eq!(bench.answers(), [(ticket, 0, result(8, b"new"))]);
}

#[test]
fn one_refusal_is_borne_and_two_send_it_the_ordered_way() {
    let mut bench = Bench::open(4);
    let (first, second) = (bench.read("a"), bench.read("b"));
    bench.refuses(3, 0);
    for replica in 0..3 {
        bench.says(replica, 0, 5, "value");
    }
    assert_eq!(bench.answers(), [(first, 0, read(5, "value"))]);
    bench.refuses(3, 1);
    assert_eq!(bench.fell_back(), []);
    bench.refuses(2, 1);
    assert_eq!(bench.fell_back(), [(second, FallBack::Divided)]);
}

#[test]
fn silence_sends_it_the_ordered_way_in_time() {
    let mut bench = Bench::open(4);
    let ticket = bench.read("key");
    bench.says(0, 0, 5, "value");
    bench.says(1, 0, 5, "value");
    let waited = bench.wait();
    assert_eq!(waited, Settings::suited_to(&bench.configuration, 1).retry_after);
    assert_eq!(bench.fell_back(), [(ticket, FallBack::Late)]);
    assert_eq!(bench.sent(), [(vec![0], 1)]);
    bench.says(2, 0, 5, "value");
    assert_eq!(bench.answers(), [], "too late");
}

#[test]
fn a_link_that_comes_up_is_asked_what_it_has_not_answered() {
    let mut bench = Bench::open(4);
    bench.link(3, false);
    bench.read("a");
    assert_eq!(bench.reads_sent(), [(vec![0, 1, 2], 0)]);
    bench.says(2, 0, 5, "value");
    bench.link(3, true);
    bench.link(2, true);
    assert_eq!(bench.reads_sent(), [(vec![3], 0)]);
}

#[test]
fn strangers_and_unknown_reads_change_nothing() {
    let mut bench = Bench::open(4);
    bench.read("a");
    for from in [0, 4, 5] {
        bench.says(from, 0, 5, "value");
        bench.says(from, 1, 5, "value");
    }
    bench.effects.retain(|effect| !matches!(effect, Effect::Send { .. }));
    assert_eq!(bench.effects, []);
}

#[test]
fn an_abandoned_read_is_forgotten_and_an_expired_session_ends_it() {
    let mut bench = Bench::open(4);
    let ticket = bench.read("a");
    assert_eq!(bench.core.abandon(ticket), Abandoned::Read);
    assert_eq!((bench.core.abandon(ticket), bench.core.deadline()), (Abandoned::Answered, None));
    let submitted = bench.submit(&["op"]);
    let ticket = bench.read("b");
    for replica in [1, 2] {
        bench.reply(replica, refused(1, b"op", 9, Refusal::SessionExpired));
    }
    for replica in [1, 2] {
        bench.refuses(replica, 1);
    }
    let expired = |sent| Answer::Expired { sent };
    assert_eq!(bench.answers(), [(submitted, 0, expired(true)), (ticket, 0, expired(false))]);
    let refused = bench.core.read(bench.now, Bytes::new(), &mut bench.effects);
    assert_eq!(refused, Err(SubmitError::SessionOver));
}
