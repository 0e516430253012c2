//! Snapshots are stored, served and removed.

use pbft_messages::{Chunk, LeafPage};

use super::*;

#[test]
fn snapshots_come_back_and_are_served_with_proofs() {
    let folder = Folder::new();
    let all = contents(1..=7);
    let store = folder.open(&[]).unwrap();
    let (root, _) = put(&store, AT, &all);
    let check = |store: &ChunkStore| {
        assert_eq!(read(store, AT).unwrap(), all);
        let PeerMessage::Leaves(page) = store.answer(PartId { sequence: AT, part: Part::Leaves(0) }) else {
            panic!()
        };
        let LeafPage { sequence: AT, page: 0, count: 7, leaves: served, proof } = page else { panic!() };
        assert!(proof.proves_page(&root, 0, 7, &served) && served == leaves(&all));
        for (index, content) in (0..).zip(all.clone()) {
            let chunk = store.answer(PartId { sequence: AT, part: Part::Chunk(index) });
            assert_eq!(chunk, PeerMessage::Chunk(Chunk { sequence: AT, index, content }));
        }
        let absent = [(AT, Part::Chunk(7)), (AT, Part::Chunk(u64::MAX)), (AT, Part::Leaves(1))];
        for (sequence, part) in absent.into_iter().chain([(Sequence(4), Part::Leaves(0))]) {
            assert_eq!(store.answer(PartId { sequence, part }), PeerMessage::NoSnapshot(sequence));
        }
    };
    check(&store);
    // The power goes after the snapshot was announced.
    check(&folder.killed().open(&[(AT, root)]).unwrap());
    drop(store);
    check(&folder.open(&[(AT, root)]).unwrap());
}

#[test]
fn an_empty_snapshot_is_one() {
    let folder = Folder::new();
    let (root, _) = put(&folder.open(&[]).unwrap(), AT, &[]);
    assert_eq!(read(&folder.open(&[(AT, root)]).unwrap(), AT).unwrap(), Vec::<Bytes>::new());
}

#[test]
fn only_chunks_that_are_not_held_are_asked_for_and_each_once() {
    let folder = Folder::new();
    let store = folder.open(&[]).unwrap();
    assert_eq!(put(&store, Sequence(4), &contents([1, 2, 1, 3])).1, [0, 1, 3]);
    assert_eq!(put(&store, AT, &contents([9, 2, 3, 8, 9])).1, [0, 3]);
    assert_eq!(read(&store, Sequence(4)).unwrap(), contents([1, 2, 1, 3]));
    assert_eq!(read(&store, AT).unwrap(), contents([9, 2, 3, 8, 9]));
    assert_eq!(held(&store), 5);
}

/// C1: what was announced stays; a state that differs from it is the protocol's to judge, by its root.
#[test]
fn a_snapshot_is_never_replaced() {
    let folder = Folder::new();
    let store = folder.open(&[]).unwrap();
    let (root, _) = put(&store, AT, &contents(1..=3));
    let (other, asked) = put(&store, AT, &contents(2..=4));
    assert!(other != root && asked.is_empty());
    assert_eq!(read(&store, AT).unwrap(), contents(1..=3));
    drop(store);
    assert!(folder.open(&[(AT, root)]).is_ok());
}

#[test]
fn removal_keeps_what_others_need() {
    let folder = Folder::new();
    let store = folder.open(&[]).unwrap();
    for (sequence, which) in [(4, 1..=3), (8, 2..=4), (12, 3..=5), (16, 4..=6)] {
        put(&store, Sequence(sequence), &contents(which));
    }
    store.remove_below(Sequence(12), &BTreeSet::from([Sequence(4)])).unwrap();
    let stored = |sequence| serves(&store, Sequence(sequence), 0);
    assert!(stored(4) && !stored(8) && stored(12) && stored(16));
    assert_eq!(read(&store, Sequence(4)).unwrap(), contents(1..=3));
    assert_eq!(held(&store), 6);
    store.remove_below(Sequence(16), &BTreeSet::new()).unwrap();
    assert!(!stored(4) && !stored(12));
    assert_eq!(held(&store), 3);
    assert_eq!(read(&store, Sequence(16)).unwrap(), contents(4..=6));
}

/// Fault 17: what no record names was never announced, and nothing of it stays.
#[test]
fn boot_removes_what_was_never_announced() {
    let folder = Folder::new();
    let store = folder.open(&[]).unwrap();
    let (root, _) = put(&store, AT, &contents(1..=3));
    put(&store, Sequence(12), &contents(3..=5));
    drop(store);
    let store = folder.open(&[(AT, root)]).unwrap();
    assert!(serves(&store, AT, 0) && !serves(&store, Sequence(12), 0));
    assert_eq!(held(&store), 3);
}

/// A crash, at each point within the storing of a snapshot that takes several transactions.
#[test]
fn a_snapshot_that_a_crash_interrupts_leaves_nothing() {
    let folder = Folder::new();
    let store = folder.open(&[]).unwrap();
    let (root, _) = put(&store, Sequence(4), &contents(1..=3));
    let large: Vec<Bytes> = (0..5u8).map(|number| vec![number; 5 << 20].into()).collect();
    let check = |killed: &Folder| {
        let store = killed.open(&[(Sequence(4), root)]).unwrap();
        assert!(!serves(&store, AT, 0) && held(&store) == 3);
        assert_eq!(read(&store, Sequence(4)).unwrap(), contents(1..=3));
    };
    let written = |folder: &Folder| fs::metadata(folder.folder.chunks()).unwrap().len();
    let mut largest = 0;
    let whole = store.put(AT, leaves(&large), |index| -> Result<_, SnapshotError> {
        let killed = folder.killed();
        largest = largest.max(written(&killed));
        check(&killed);
        Ok(large[index].clone())
    });
    assert!(largest > 16 << 20, "chunks were there when the power went: {largest}");
    // Nor does a snapshot that the service fails to give.
    let failed = store.put(Sequence(12), leaves(&contents(4..=6)), |index| match index {
        2 => Err(SnapshotError::Damaged { path: "service".into(), why: "it has none".into() }),
        _ => Ok(contents(4..=6)[index].clone()),
    });
    assert!(failed.is_err() && !serves(&store, Sequence(12), 0));
    assert_eq!(read(&folder.killed().open(&[(AT, whole.unwrap())]).unwrap(), AT).unwrap(), large);
}

/// In memory mode all works alike; only the machine's loss is another.
#[test]
fn memory_mode_stores_as_well() {
    let folder = Folder::new();
    let store = ChunkStore::open(&folder.folder, &BTreeMap::new(), false).unwrap();
    put(&store, AT, &contents(1..=3));
    put(&store, Sequence(12), &contents(2..=4));
    store.remove_below(Sequence(12), &BTreeSet::new()).unwrap();
    assert_eq!((read(&store, Sequence(12)).unwrap(), held(&store)), (contents(2..=4), 3));
}
