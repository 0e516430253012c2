//! State transfer (C3): from several sources, some of which lie or are slow, through restarts and newer checkpoints.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use pbft_byzantine::Strategy;
use pbft_messages::{Part, PartId, PeerMessage, ReplicaId, RequestNumber, Sequence, SessionId, Submission};
use pbft_protocol::{Effect, Effects, Now, Report};
use pbft_service::kv;
use pbft_simulator::{Cluster, Faults, Settings};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const SESSION: SessionId = SessionId(9);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

/// Puts values of 200 KiB under `large-…`: a chunk each.
fn put_large(cluster: &mut Cluster, numbers: std::ops::RangeInclusive<u64>) {
    let all: Vec<_> = (0..4).map(r).collect();
    for number in numbers {
        let put =
            kv::Operation::put(format!("large-{:02}", number % 40), vec![number as u8; 200 << 10]).encode();
        let first = RequestNumber(number);
        cluster.submit(0, Submission::Requests { session: SESSION, first, operations: vec![put] }, &all);
        cluster.run_for(MS * 20);
    }
}

/// A cluster with forty large chunks of state, whose r3 went down before they came.
fn with_state_that_r3_lacks(seed: u64) -> Cluster {
    let mut settings = Settings::new(4, seed);
    (settings.parameters.checkpoint_interval, settings.parameters.window) = (4, 8);
    let mut cluster = Cluster::new(settings);
    let all: Vec<_> = (0..4).map(r).collect();
    cluster.load(1, 1);
    assert!(cluster.settle(SECOND));
    cluster.submit(0, Submission::Open { session: SESSION }, &all);
    cluster.run_for(MS * 50);
    cluster.crash(r(3));
    put_large(&mut cluster, 1..=40);
    cluster.load(1, 1);
    assert!(cluster.run_until(SECOND * 5, |cluster| cluster.answered() == 2));
    cluster.run_for(SECOND);
    cluster
}

fn conclude(cluster: &mut Cluster) {
    // The last checkpoint may cover all there is, or the log hands the rest over.
    assert!(cluster.settle(SECOND * 20), "{}", cluster.transcript());
    let roots: BTreeSet<_> = cluster.state_roots().into_iter().collect();
    assert_eq!(roots.len(), 1, "{roots:?}");
    assert!(cluster.violations().is_empty(), "{:?}", cluster.violations());
}

fn of_r3(cluster: &Cluster) -> impl Iterator<Item = &Report> {
    cluster.reports().iter().filter(|(_, at, _)| *at == r(3)).map(|(_, _, report)| report)
}

/// The sources that r3 dropped, in this order.
fn drops(cluster: &Cluster) -> impl Iterator<Item = ReplicaId> {
    of_r3(cluster).filter_map(|report| match report {
        Report::SourceDropped { source } => Some(*source),
        _ => None,
    })
}

fn dropped(cluster: &Cluster) -> BTreeSet<ReplicaId> {
    drops(cluster).collect()
}

/// How many chunks each gathering of r3 lacked.
fn lacked(cluster: &Cluster) -> Vec<(Sequence, u64, u64)> {
    let gatherings = of_r3(cluster).filter_map(|report| match report {
        Report::Gathering { sequence, chunks, missing } => Some((*sequence, *chunks, *missing)),
        _ => None,
    });
    gatherings.collect()
}

/// Gives another content than it is asked for.
struct WrongParts;

impl Strategy for WrongParts {
    fn name(&self) -> &'static str {
        "wrong-parts"
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        let lie = |effect| match effect {
            Effect::ServePart { to, id: PartId { sequence, part: Part::Chunk(index) } } => {
                let content = Bytes::from_static(b"not what was asked for");
                let message = PeerMessage::Chunk(pbft_messages::Chunk { sequence, index, content });
                Effect::Send { to, message }
            }
            Effect::ServePart { to, id: PartId { sequence, part: Part::Leaves(page) } } => {
                let leaves = vec![pbft_crypto::MerkleTree::leaf(b"forged")];
                let tree = pbft_crypto::MerkleTree::new(leaves.clone());
                let (_, proof) = tree.page(0).expect("a tree with leaves has a page");
                let page = pbft_messages::LeafPage { sequence, page, count: 1, leaves, proof };
                Effect::Send { to, message: PeerMessage::Leaves(page) }
            }
            other => other,
        };
        Vec::from(effects).into_iter().map(lie).collect::<Vec<_>>().into()
    }
}

#[test]
fn chunks_come_from_every_source_and_none_comes_twice() {
    let mut cluster = with_state_that_r3_lacks(1);
    let asked: std::rc::Rc<std::cell::RefCell<Vec<(ReplicaId, PartId)>>> = std::rc::Rc::default();
    let log = asked.clone();
    cluster.set_filter(move |from, to, message| {
        if let (3, PeerMessage::FetchPart(id)) = (from.0, message) {
            log.borrow_mut().push((to, *id));
        }
        true
    });
    cluster.start(r(3));
    conclude(&mut cluster);
    let asked = asked.borrow();
    let sources: BTreeSet<_> = asked.iter().map(|(to, _)| *to).collect();
    assert_eq!(sources.len(), 3);
    // But for the first page, which lets each of them keep the snapshot.
    let distinct: BTreeSet<_> = asked.iter().map(|(_, id)| *id).collect();
    assert_eq!(distinct.len() + 2, asked.len(), "nothing is asked for twice where nobody is slow");
    assert!(asked.len() > 40, "{}", asked.len());
    assert!(dropped(&cluster).is_empty());
}

/// Fault 35: what a lying source gives is found out, whatever the lie; the others suffice.
#[test]
fn a_lying_source_is_dropped_and_changes_nothing() {
    let mut cluster = with_state_that_r3_lacks(2);
    cluster.corrupt(r(1), Box::new(WrongParts));
    cluster.start(r(3));
    conclude(&mut cluster);
    assert_eq!(dropped(&cluster), BTreeSet::from([r(1)]));
    assert_eq!(lacked(&cluster).len(), 1, "the transfer went on");
}

/// Neither a source that gives nothing nor one that drips holds a transfer up: what they owe is asked of another.
#[test]
fn slow_sources_are_outrun() {
    let mut cluster = with_state_that_r3_lacks(3);
    let mut dripped = 0;
    cluster.set_filter(move |from, _, message| match (from.0, message) {
        (1, PeerMessage::Chunk(_) | PeerMessage::Leaves(_)) => false,
        (2, PeerMessage::Chunk(_)) => {
            dripped += 1;
            dripped % 4 == 1
        }
        _ => true,
    });
    cluster.start(r(3));
    let start = cluster.elapsed();
    conclude(&mut cluster);
    assert!(cluster.elapsed() - start < MS * 1500, "{:?}", cluster.elapsed() - start);
}

/// Sources that give nothing are dropped, and when none is left a new transfer gives all of them another chance.
#[test]
fn silent_sources_are_dropped_and_asked_again_when_none_is_left() {
    let mut cluster = with_state_that_r3_lacks(7);
    cluster.set_filter(|_, _, message| !matches!(message, PeerMessage::Chunk(_)));
    cluster.start(r(3));
    cluster.run_for(SECOND * 2);
    assert_eq!(dropped(&cluster), BTreeSet::from([r(0), r(1), r(2)]));
    cluster.clear_wire();
    conclude(&mut cluster);
    assert!(lacked(&cluster).len() > 1);
}

/// Lines that are slower than the patience with a source cost a transfer its sources, and the next one waits longer. Once
/// a state is there, the patience is as at first.
#[test]
fn slow_lines_only_make_a_transfer_slow() {
    let mut cluster = with_state_that_r3_lacks(8);
    cluster.set_faults(Faults { latency: MS * 600, ..Faults::none() });
    cluster.start(r(3));
    conclude(&mut cluster);
    let first: Vec<_> = drops(&cluster).take(3).collect();
    assert_eq!(first, [r(0), r(1), r(2)], "the first transfer lost them all");
    let before = drops(&cluster).count();
    cluster.set_faults(Faults::none());
    cluster.partition(&[r(3)], &[r(0), r(1), r(2)]);
    put_large(&mut cluster, 41..=54);
    cluster.run_for(SECOND);
    cluster.heal();
    cluster.set_filter(|_, _, message| !matches!(message, PeerMessage::Chunk(_)));
    cluster.run_for(MS * 1500);
    assert_eq!(drops(&cluster).count(), before + 3, "they are dropped as soon as at first");
}

/// What was fetched before a crash is not fetched again.
#[test]
fn a_transfer_goes_on_after_a_restart() {
    let mut cluster = with_state_that_r3_lacks(4);
    let mut left = 20;
    cluster.set_filter(move |_, _, message| {
        left -= i64::from(matches!(message, PeerMessage::Chunk(_)));
        left > 0 || !matches!(message, PeerMessage::Chunk(_))
    });
    cluster.start(r(3));
    let half = |cluster: &Cluster| {
        cluster.standing(r(3)).and_then(|it| it.transferring).is_some_and(|it| it.held >= 15)
    };
    assert!(cluster.run_until(SECOND * 3, half));
    cluster.crash(r(3));
    cluster.clear_wire();
    cluster.start(r(3));
    conclude(&mut cluster);
    let lacked = lacked(&cluster);
    assert!(lacked[0].2 >= 40 && lacked.last().unwrap().2 <= lacked[0].2 - 15, "{lacked:?}");
}

/// Chunks that a newer checkpoint shares with the one before are not fetched again, whether they came by an earlier
/// transfer or are this replica's own. That includes one whose end a crash has kept from the disk: it is gathered once
/// more, lacks nothing, and is the only one that does.
#[test]
fn a_newer_checkpoint_needs_only_what_changed() {
    for end_is_durable in [true, false] {
        let mut cluster = with_state_that_r3_lacks(5);
        cluster.start(r(3));
        let installed = |cluster: &Cluster| of_r3(cluster).any(|it| matches!(it, Report::Transferred { .. }));
        assert!(cluster.run_until(SECOND * 5, installed));
        if end_is_durable {
            conclude(&mut cluster);
            cluster.run_for(SECOND);
        }
        cluster.crash(r(3));
        put_large(&mut cluster, 41..=54);
        cluster.load(1, 1);
        assert!(cluster.run_until(SECOND * 5, |cluster| cluster.answered() == 3));
        cluster.start(r(3));
        conclude(&mut cluster);
        let lacked = lacked(&cluster);
        let (first, last) = (lacked[0], *lacked.last().unwrap());
        let again = (!end_is_durable).then_some((first.0, first.1, 0));
        let expected: Vec<_> = [first].into_iter().chain(again).chain([last]).collect();
        assert_eq!(lacked, expected, "its end is durable: {end_is_durable}");
        // Fourteen values changed; besides them only what each operation changes.
        assert!(last.0 > first.0 && first.2 >= 40 && (14..=20).contains(&last.2), "{lacked:?}");
    }
}

/// When no source has the snapshot any more, the newest one is fetched.
#[test]
fn the_target_moves_on_when_nobody_holds_it() {
    let mut cluster = with_state_that_r3_lacks(6);
    cluster.set_filter(|_, _, message| !matches!(message, PeerMessage::Chunk(_)));
    cluster.start(r(3));
    cluster.run_for(MS * 400);
    let target = |cluster: &Cluster| cluster.standing(r(3)).unwrap().transferring.unwrap().sequence;
    let before = target(&cluster);
    // The sources keep it for ten seconds after the last question, so r3 is cut off for longer.
    cluster.partition(&[r(3)], &[r(0), r(1), r(2)]);
    put_large(&mut cluster, 41..=50);
    cluster.run_for(SECOND * 12);
    put_large(&mut cluster, 51..=60);
    cluster.heal();
    cluster.clear_wire();
    cluster.load(1, 1);
    conclude(&mut cluster);
    let installed = of_r3(&cluster).find_map(|report| match report {
        Report::Transferred { sequence } => Some(*sequence),
        _ => None,
    });
    assert!(installed.unwrap() > before, "{installed:?} after {before}");
}
