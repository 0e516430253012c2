//! The bounds of a replica's tables (R1), each against one that talks without end. `node/BOUNDS.md` lists them all.

use bytes::Bytes;

use pbft_crypto::Signer as _;
use pbft_messages::{
    Checkpoint, ClientId, Commit, Evidence, EvidenceKind, Message, Parameters, Part, PartId, PeerMessage,
    Proven, Read, ReadId, ReplicaId, Sequence, SessionId, Status, View, ViewChange,
};

use crate::replica::Fixed;
use crate::testing::{Bench, LIAR, ME, client_key, digest, status};
use crate::{Effect, Input, Report};

/// Fault 33: of proposals for views to come a sender has a few megabytes, however many messages that is.
#[test]
fn future_views_are_bounded_in_bytes() {
    let mut bench = Bench::new(Parameters::default());
    for sequence in 1..=30 {
        bench.propose(ReplicaId(1), 1, sequence, 1 << 20);
    }
    assert_eq!(bench.replica.ahead.take(View(1)).len(), 7, "each is held as received and as read");
}

/// No vote at a sequence where nobody takes a snapshot is kept, nor one beyond two windows.
#[test]
fn votes_for_checkpoints_are_kept_where_checkpoints_are() {
    let mut bench = Bench::new(Parameters::default());
    for sequence in 1..=3000 {
        let vote = bench.sign(LIAR, Checkpoint { sequence: Sequence(sequence), root: digest(1) });
        bench.message(LIAR, Message::Checkpoint(vote));
    }
    let kept: Vec<_> = bench.replica.checkpoints.keys().map(|sequence| sequence.0).collect();
    assert_eq!(kept, [128, 256, 384, 512, 640, 768, 896, 1024]);
}

/// The log ends two windows above h, and holds one proposal a slot; above H, so many bytes of them.
#[test]
fn the_log_is_bounded_in_slots_and_above_the_window_in_bytes() {
    let parameters = Parameters {
        checkpoint_interval: 4,
        window: 8,
        batch_bytes: 128 << 10,
        operation_bytes: 100 << 10,
        waiting_bytes: 512 << 10,
        ..Parameters::default()
    };
    let mut bench = Bench::new(parameters.clone());
    for size in [80, 90] {
        for sequence in 1..=100 {
            bench.propose(LIAR, 0, sequence, size << 10);
            let vote = Commit { view: View(0), sequence: Sequence(sequence), digest: digest(sequence) };
            let vote = bench.sign(ReplicaId(1), vote);
            bench.message(ReplicaId(1), Message::Commit(vote));
        }
    }
    let (log, high) = (&bench.replica.log, bench.replica.high());
    assert_eq!((log.above(Sequence(0)).count(), log.highest()), (16, Sequence(16)));
    let above = log.body_bytes_above(high);
    assert!(above <= parameters.waiting_bytes && above > parameters.waiting_bytes / 2, "{above}");
    let full = log.body_bytes_above(Sequence(0)) - above;
    assert!(full <= 8 * 2 * (81 << 10), "one body a slot: {full}");
}

/// A replica far behind has forgotten what it will not execute from its log; nobody can fill that again, however far its
/// window is ahead.
#[test]
fn what_was_forgotten_below_the_window_does_not_come_again() {
    let mut bench = Bench::new(Parameters { checkpoint_interval: 4, window: 8, ..Parameters::default() });
    let certificate = Proven::new(bench.stable(10_000), &bench.configuration).unwrap();
    bench.message(LIAR, Message::Stable(certificate));
    assert_eq!(bench.replica.stable_sequence(), Sequence(10_000));
    for sequence in 1..=10_100 {
        let vote = Commit { view: View(0), sequence: Sequence(sequence), digest: digest(sequence) };
        let vote = bench.sign(LIAR, vote);
        bench.message(LIAR, Message::Commit(vote));
    }
    assert_eq!(bench.replica.log.len(), 4 * 8 + 2 * 8);
}

/// Views begin, or are about to, while a disk is slow, each from a later checkpoint: of what they carry over there is one
/// window, and only what the last of them needs is wanted.
#[test]
fn what_views_carry_over_while_a_checkpoint_is_written_is_one_window() {
    let mut bench = Bench::new(Parameters { checkpoint_interval: 4, window: 8, ..Parameters::default() });
    bench.disk_stands_still = true;
    for round in 1..=6 {
        // Views that it leads itself.
        let (view, stable) = (4 * round - 1, 40 * round);
        let bodies: Vec<_> = (1..=8).map(|distance| bench.body(stable + distance, 10)).collect();
        let prepared = (1..).zip(&bodies);
        let prepared =
            prepared.map(|(distance, body)| bench.prepared_batch(0, stable + distance, body.digest()));
        let value =
            ViewChange { view: View(view), stable: Some(bench.stable(stable)), prepared: prepared.collect() };
        for sender in [0, 1].map(ReplicaId) {
            let view_change = bench.sign(sender, value.clone());
            bench.message(sender, Message::ViewChange(view_change));
        }
        // Every other one lacks a body, and never begins.
        let lacked = (round % 2) as usize;
        bodies.iter().skip(lacked).for_each(|body| bench.message(LIAR, Message::Body(body.clone())));
        assert_eq!(bench.replica.view.active == View(view), lacked == 0);
        let sizes = bench.replica.sizes();
        assert_eq!((sizes.slots, sizes.carried, sizes.wanted), (0, 8 - lacked, lacked), "round {round}");
    }
    assert_eq!(bench.replica.stable_sequence(), Sequence(0));
}

/// A replica that is to open a view wants bodies that the VIEW-CHANGEs to it show: a window of each sender's, however
/// often they ask and for what views.
#[test]
fn what_a_new_primary_wants_is_a_window_of_each_sender() {
    let mut bench = Bench::new(Parameters { checkpoint_interval: 4, window: 8, ..Parameters::default() });
    // A certificate of each view before it for another batch at each place, and batches that change with each attempt.
    let shown = |bench: &Bench, sender: u64, view: u64, attempt: u64| {
        let name = |sequence| 10_000 * view + 1000 * attempt + 100 * sender + sequence;
        let prepared = (1..=8).map(|it| bench.prepared(view - 1 - sender, it, name(it))).collect();
        bench.sign(ReplicaId(sender as u16), ViewChange { view: View(view), stable: None, prepared })
    };
    for view in [3, 7, 11] {
        for attempt in 0..4 {
            for sender in 0..3 {
                let view_change = shown(&bench, sender, view, attempt);
                bench.message(ReplicaId(sender as u16), Message::ViewChange(view_change));
            }
            let wanted = bench.replica.sizes().wanted;
            assert!((8..=3 * 8).contains(&wanted), "view {view}, attempt {attempt}: {wanted}");
        }
        assert_eq!(bench.replica.view.pending, Some(View(view)));
    }
}

/// Of a replica that executes what others decide, and whose snapshots are slow, the log ends below too.
#[test]
fn the_log_below_the_window_is_bounded_in_slots_also_when_executed() {
    let mut bench = Bench::new(Parameters { checkpoint_interval: 4, window: 8, ..Parameters::default() });
    for sequence in 1..=16 {
        let vote = bench.commit(0, 0, sequence, 1);
        bench.message(LIAR, Message::Commit(vote));
    }
    bench.replica.last_executed = Sequence(1000);
    for stable in [8, 40, 1000] {
        let certificate = Proven::new(bench.stable(stable), &bench.configuration).unwrap();
        bench.message(LIAR, Message::Stable(certificate));
        let left = 16_u64.saturating_sub(stable.saturating_sub(4 * 8));
        assert_eq!(bench.replica.log.len() as u64, left, "{stable}");
    }
}

/// What a lagging replica keeps below h ends where there are too many bytes of it.
#[test]
fn the_log_below_the_window_is_bounded_in_bytes() {
    let bench = Bench::new(Parameters::default());
    let mut log = crate::log::Log::default();
    (1..=10).for_each(|sequence| log.slot(Sequence(sequence)).keep(bench.body(sequence, 1000)));
    let each = bench.body(1, 1000).memory_bytes();
    assert_eq!(log.overflows_at(Sequence(8), 3 * each), Some(Sequence(5)));
    assert_eq!(log.overflows_at(Sequence(8), 8 * each), None);
    log.collect(Sequence(5));
    assert_eq!(log.overflows_at(Sequence(8), 3 * each), None);
}

/// R3: whoever asks for bodies without end is answered so often in a round, and given so many bytes.
#[test]
fn a_replica_that_asks_for_bodies_without_end_is_given_a_share() {
    let mut bench = Bench::new(Parameters::default());
    let small = bench.propose(LIAR, 0, 1, 10).digest();
    let large = bench.propose(LIAR, 0, 2, 1 << 20).digest();
    bench.effects.clear();
    let mut ask = |digest, from, expected| {
        (0..1000).for_each(|_| bench.message(ReplicaId(from), Message::FetchBody(digest)));
        assert_eq!(bench.sent().len(), expected);
        expected
    };
    ask(small, 1, 256);
    ask(large, 2, 8);
    ask(large, 1, 0);
    bench.next_round();
    (0..1000).for_each(|_| bench.message(ReplicaId(1), Message::FetchBody(small)));
    assert_eq!(bench.sent().len(), 256);
}

/// R3: evidence may be large, so each in turn is handed a piece of what it lacks, and only one a round; a liar nothing
/// of what accuses itself.
#[test]
fn evidence_is_handed_over_in_turn_and_one_piece_a_round() {
    let mut bench = Bench::new(Parameters::default());
    for liar in [0, 1] {
        let halves = [1, 2].map(|half| bench.commit(liar, 0, 9, half));
        halves.into_iter().for_each(|vote| bench.message(ReplicaId(liar), Message::Commit(vote)));
    }
    assert_eq!(bench.replica.evidence.len(), 2);
    let mut round = || {
        bench.next_round();
        [0, 1, 2].map(|from| {
            (0..10).for_each(|_| bench.message(ReplicaId(from), Message::Status(status(None))));
            let sent = bench.sent();
            sent.iter().for_each(|it| assert!(matches!(it, PeerMessage::Evidence(_)) && it.is_bulk()));
            sent.len()
        })
    };
    let mut rounds = [round(), round(), round()];
    assert_eq!(round(), rounds[0]);
    rounds.sort();
    assert_eq!(rounds, [[0, 0, 1], [0, 1, 0], [1, 0, 0]]);

    // What it names it is not handed again.
    let proven = vec![(LIAR, EvidenceKind::Commit)];
    (0..3).for_each(|_| {
        bench.next_round();
        bench.message(ReplicaId(1), Message::Status(Status { proven: proven.clone(), ..status(None) }));
        assert_eq!(bench.sent(), []);
    });
}

/// A liar that repeats itself has nothing checked again: neither what is known, nor more than is kept.
#[test]
fn what_a_liar_repeats_is_not_checked_again() {
    let mut bench = Bench::new(Parameters::default());
    let hiding = bench.bare_view_change(1, 5);
    bench.message(ReplicaId(1), Message::ViewChange(hiding.clone()));
    let commits: Vec<_> = (1..=50).map(|sequence| bench.commit(1, 0, sequence, 1)).collect();
    for vote in &commits[..8] {
        bench.message(ReplicaId(1), Message::Commit(vote.clone()));
    }
    assert_eq!(bench.replica.evidence.len(), 8);
    // One that remembers no statement: what is checked would be found in it.
    let fresh = Bench::new(Parameters::default()).configuration;
    let nothing = format!("{fresh:?}");
    bench.replica.configuration = Fixed(fresh.clone());
    for _ in 0..2 {
        bench.message(ReplicaId(1), Message::ViewChange(hiding.clone()));
        commits.iter().for_each(|vote| bench.message(ReplicaId(1), Message::Commit(vote.clone())));
    }
    assert_eq!(format!("{fresh:?}"), nothing);
    // Another one is.
    let other = [1, 2].map(|half| bench.commit(2, 0, 9, half));
    other.into_iter().for_each(|vote| bench.message(ReplicaId(2), Message::Commit(vote)));
    assert_ne!(format!("{fresh:?}"), nothing);
}

/// R3: a replica is helped a few times a round, however many statuses it sends.
#[test]
fn a_replica_that_sends_statuses_without_end_is_helped_a_few_times() {
    let mut bench = Bench::new(Parameters::default());
    bench.propose(LIAR, 0, 1, 10);
    bench.effects.clear();
    let status = status(Some(ME));
    (0..1000).for_each(|_| bench.message(ReplicaId(1), Message::Status(status.clone())));
    assert_eq!(bench.sent().len(), 3, "its PREPARE, each time");
}

/// Reads that wait for the service are counted, so none is large.
#[test]
fn a_large_read_is_not_answered_unordered() {
    let mut bench = Bench::new(Parameters::default());
    for (bytes, taken) in [(64 << 10, true), ((64 << 10) + 1, false)] {
        let client = ClientId::from(client_key().public_key());
        let read = Read { id: ReadId(1), operation: Bytes::from(vec![0; bytes]) };
        bench.effects.clear();
        bench.input(Input::Read { client, session: SessionId(1), read });
        let queried = bench.effects.iter().any(|effect| matches!(effect, Effect::Query(_)));
        assert_eq!(queried, taken);
    }
}

/// Of each sender one VIEW-CHANGE is kept, and of evidence so much for each kind and replica.
#[test]
fn view_changes_and_evidence_are_bounded_by_n() {
    let mut bench = Bench::new(Parameters::default());
    for view in 1..=50 {
        let view_change = ViewChange { view: View(view), stable: None, prepared: vec![] };
        let view_change = bench.sign(ReplicaId(1), view_change);
        bench.message(ReplicaId(1), Message::ViewChange(view_change));
        for half in [1, 2] {
            let vote = Commit { view: View(0), sequence: Sequence(view), digest: digest(half) };
            let vote = bench.sign(LIAR, vote);
            bench.message(LIAR, Message::Commit(vote));
        }
    }
    assert_eq!(bench.replica.view.view_changes.len(), 1);
    assert_eq!(bench.replica.evidence.len(), 8);
    let told = bench
        .effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Broadcast(PeerMessage::Evidence(Evidence::Commits(_)))));
    assert_eq!(told.count(), 8);
}

/// Of each replica that fetches state one snapshot is remembered, and none that is not there.
#[test]
fn who_fetches_which_snapshot_is_bounded_by_n() {
    let mut bench = Bench::new(Parameters::default());
    for sequence in 1..=1000 {
        bench.replica.snapshots.insert(Sequence(sequence), digest(1));
        let id = PartId { sequence: Sequence(sequence), part: Part::Leaves(0) };
        bench.message(LIAR, Message::FetchPart(id));
    }
    assert_eq!(bench.replica.served.len(), 1);
}

/// An event is small, so that a hundred thousand of them fit in some megabytes.
#[test]
fn a_report_is_small() {
    assert!(size_of::<Report>() <= 128, "{}", size_of::<Report>());
}
