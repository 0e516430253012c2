//! Any order of replies, repeated at will, with f liars who say anything.

use proptest::prelude::*;

use super::*;

/// What a liar may say about request `number`: any mix of truth and lie.
fn lie() -> impl Strategy<Value = Reply> {
    let outcome = prop_oneof![
        Just(Outcome::Executed(Bytes::from_static(b"lie"))),
        Just(Outcome::Executed(Bytes::from_static(b"truth"))),
        Just(Outcome::Opened),
        Just(Outcome::Refused(Refusal::SessionExpired)),
        Just(Outcome::Refused(Refusal::TooOld)),
    ];
    (0u64..12, 0u64..12, any::<u64>(), any::<bool>(), any::<bool>(), outcome).prop_map(
        |(number, sequence, view, other_digest, other_session, outcome)| Reply {
            view: View(view),
            session: if other_session { SessionId(1) } else { SESSION },
            digest: digest(number, if other_digest { b"x" } else { b"op" }),
            ..answer(number, b"op", sequence, outcome)
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    /// An honest replica answers (again) for one request.
    Honest(u16, u64),
    Liar(u16, Reply),
    Busy(u16, u64),
    Link(u16, bool),
    Wait,
}

/// Seven replicas, of which `liars` lie: f = 2.
fn step(liars: [u16; 2]) -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u16..7, 1u64..10).prop_map(move |(replica, number)| {
            if liars.contains(&replica) { Step::Wait } else { Step::Honest(replica, number) }
        }),
        6 => (0usize..2, lie()).prop_map(move |(liar, reply)| Step::Liar(liars[liar], reply)),
        1 => (0usize..2, 0u64..12).prop_map(move |(liar, first)| Step::Busy(liars[liar], first)),
        1 => (0u16..7, any::<bool>()).prop_map(|(replica, up)| Step::Link(replica, up)),
        1 => Just(Step::Wait),
    ]
}

fn scenario() -> impl Strategy<Value = (Vec<usize>, Vec<Step>)> {
    let liars = (0u16..7, 1u16..7).prop_map(|(first, apart)| [first, (first + apart) % 7]);
    let bundles = prop::sample::subsequence(vec![1usize, 2, 3, 3], 4).prop_shuffle();
    (liars, bundles)
        .prop_flat_map(|(liars, bundles)| (Just(bundles), prop::collection::vec(step(liars), 0..200)))
}

/// Request `number` executes at a sequence of its own.
fn honest(number: u64) -> Reply {
    executed(number, b"op", number + 1, b"truth")
}

proptest! {
    #[test]
    fn the_result_is_always_the_honest_one((bundles, steps) in scenario()) {
        let mut bench = Bench::open(7);
        let operations = ["op"; 3];
        let mut wanted = Vec::new();
        for bundle in bundles {
            let ticket = bench.submit(&operations[..bundle]);
            wanted.extend((0..bundle).map(|index| (ticket, index)));
        }
        let mut honest_votes = vec![std::collections::BTreeSet::new(); 10];
        let mut answers = Vec::new();
        for step in steps {
            match step {
                Step::Honest(replica, number) => {
                    honest_votes[number as usize].insert(replica);
                    bench.reply(replica, honest(number));
                }
                Step::Liar(replica, reply) => bench.reply(replica, reply),
                Step::Busy(replica, first) => bench.busy(replica, first),
                Step::Link(replica, up) => bench.link(replica, up),
                Step::Wait if bench.core.deadline().is_some() => drop(bench.wait()),
                Step::Wait => {}
            }
            answers.extend(bench.answers());
            prop_assert_eq!(bench.core.view(), View(0), "honest replicas are all in view 0");
            prop_assert!(!bench.core.is_over());
        }
        let place = |ticket: Ticket, index: usize| wanted.iter().position(|want| *want == (ticket, index));
        let mut seen = std::collections::BTreeSet::new();
        for (ticket, index, answer) in answers {
            let number = place(ticket, index).expect("only what was asked is answered") as u64 + 1;
            prop_assert!(seen.insert(number), "answered twice: {}", number);
            prop_assert_eq!(answer, result(number + 1, b"truth"));
        }
        for number in 1..=wanted.len() as u64 {
            if honest_votes[number as usize].len() >= 3 {
                prop_assert!(seen.contains(&number), "f+1 honest replies suffice for {}", number);
            }
        }
    }
}
