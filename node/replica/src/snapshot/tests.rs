use std::collections::BTreeSet;
use std::fs;

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use pbft_messages::{ChunkId, PeerMessage, Sequence};

use super::*;
use crate::folder::{DataFolder, unfinished};

fn folder() -> (tempfile::TempDir, DataFolder) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = DataFolder::new(temporary.path().join("data"));
    folder.create().unwrap();
    (temporary, folder)
}

fn chunks() -> Vec<Bytes> {
    (1..=7usize).map(|index| Bytes::from(vec![index as u8; index * 100])).collect()
}

const AT: Sequence = Sequence(8);

#[test]
fn chunks_come_back_with_proofs_that_hold() {
    let (_temporary, folder) = folder();
    let written = write(&folder, AT, &chunks(), true).unwrap();
    let (loaded, content) = load(&folder, AT, written.root()).unwrap();
    assert_eq!(content, chunks());
    for snapshot in [written, loaded] {
        for (index, content) in (0..).zip(chunks()) {
            let chunk = snapshot.chunk(index).unwrap().unwrap();
            assert_eq!((chunk.id, &chunk.content), (ChunkId { sequence: AT, index }, &content));
            assert!(chunk.proof.proves(&snapshot.root(), index, chunk.count, &content));
        }
        assert_eq!(snapshot.chunk(7).unwrap(), None);
        assert_eq!(snapshot.chunk(u64::MAX).unwrap(), None);
    }
}

#[test]
fn an_empty_snapshot_is_one() {
    let (_temporary, folder) = folder();
    let root = write(&folder, AT, &[], true).unwrap().root();
    assert_eq!(load(&folder, AT, root).unwrap().1, Vec::<Bytes>::new());
}

/// Fault 15: every byte of the file is covered.
#[test]
fn every_damage_is_noticed() {
    let (_temporary, folder) = folder();
    let root = write(&folder, AT, &chunks(), true).unwrap().root();
    let path = folder.snapshot(AT);
    let sound = fs::read(&path).unwrap();
    let mut random = StdRng::seed_from_u64(0x5eed);
    let mut places: Vec<usize> = (0..100).chain([sound.len() - 1]).collect();
    places.extend((0..100).map(|_| random.random_range(0..sound.len())));
    for at in places {
        let mut damaged = sound.clone();
        damaged[at] ^= random.random_range(1..=255u8);
        fs::write(&path, damaged).unwrap();
        assert!(matches!(load(&folder, AT, root), Err(SnapshotError::Damaged { .. })), "byte {at}");
    }
    for length in [0, 7, 59, 60, 91, sound.len() - 1] {
        fs::write(&path, &sound[..length]).unwrap();
        assert!(matches!(load(&folder, AT, root), Err(SnapshotError::Damaged { .. })), "length {length}");
    }
    fs::write(&path, [&sound[..], b"x"].concat()).unwrap();
    assert!(matches!(load(&folder, AT, root), Err(SnapshotError::Damaged { .. })));
    fs::write(&path, &sound).unwrap();
    assert!(load(&folder, AT, root).is_ok());
}

/// Fault 16: a sound file in a wrong place is damage as well.
#[test]
fn another_snapshot_in_its_place_is_noticed() {
    let (_temporary, folder) = folder();
    let root = write(&folder, AT, &chunks(), true).unwrap().root();
    let other = write(&folder, Sequence(4), &chunks()[..2], true).unwrap().root();
    assert!(load(&folder, AT, other).is_err());
    fs::copy(folder.snapshot(Sequence(4)), folder.snapshot(AT)).unwrap();
    assert!(load(&folder, AT, root).is_err());
    assert!(load(&folder, AT, other).is_err());
    fs::remove_file(folder.snapshot(AT)).unwrap();
    assert!(load(&folder, AT, root).unwrap_err().to_string().contains("missing"));
}

#[test]
fn the_shelf_serves_what_it_has_and_removes_what_is_below() {
    let (_temporary, folder) = folder();
    let shelf = Shelf::new(folder.clone(), vec![]).unwrap();
    for sequence in [4, 8, 12] {
        shelf.add(write(&folder, Sequence(sequence), &chunks(), true).unwrap());
    }
    let served = |sequence, index| {
        matches!(shelf.answer(ChunkId { sequence: Sequence(sequence), index }), PeerMessage::Chunk(_))
    };
    assert!(served(4, 0) && served(8, 6) && !served(8, 7) && !served(6, 0));
    shelf.remove_below(Sequence(8), &BTreeSet::new());
    assert!(!served(4, 0) && served(8, 0) && served(12, 0));
    assert!(!folder.snapshot(Sequence(4)).exists() && folder.snapshot(Sequence(8)).exists());
}

#[test]
fn boot_removes_what_was_never_announced() {
    let (_temporary, folder) = folder();
    let kept = write(&folder, AT, &chunks(), true).unwrap();
    let unannounced = write(&folder, Sequence(12), &chunks(), true).unwrap();
    fs::write(unfinished(&folder.snapshot(Sequence(16))), b"half").unwrap();
    fs::write(folder.snapshots().join("notes.txt"), b"a person's").unwrap();
    Shelf::new(folder.clone(), vec![kept]).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(folder.snapshots()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["8.snapshot", "notes.txt"]);
    drop(unannounced);
}
