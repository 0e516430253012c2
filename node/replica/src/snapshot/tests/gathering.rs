//! A state transfer stores what it fetches, and finds it again (C3).

use std::sync::Arc;

use pbft_messages::Chunk;

use super::*;

fn list(contents: &[Bytes]) -> Arc<[Digest]> {
    leaves(contents).into()
}

/// Keeps chunks of a gathering by their places; gives the places that were kept.
fn keep(store: &ChunkStore, sequence: Sequence, contents: &[Bytes], places: &[u64]) -> Vec<u64> {
    let chunk = |index: &u64| Chunk { sequence, index: *index, content: contents[*index as usize].clone() };
    let kept = store.keep(&places.iter().map(chunk).collect::<Vec<_>>()).unwrap();
    kept.into_iter().map(|(_, index)| index).collect()
}

#[test]
fn what_was_kept_is_found_after_a_kill_and_for_a_newer_target() {
    let folder = Folder::new();
    let store = folder.open(&[]).unwrap();
    let (root, _) = put(&store, Sequence(4), &contents(1..=3));
    let target = contents([3, 4, 5, 6, 7, 5]);
    assert_eq!(store.gather(AT, list(&target)).unwrap(), BTreeSet::from([1, 2, 3, 4]));
    assert_eq!(keep(&store, AT, &target, &[1, 3]), [1, 3]);
    let store = folder.killed();
    let store = store.open(&[(Sequence(4), root)]).unwrap();
    assert_eq!(held(&store), 5);
    assert_eq!(store.gather(AT, list(&target)).unwrap(), BTreeSet::from([2, 4]));
    // The others have moved on. Of the old target what is of use stays.
    let newer = contents([2, 4, 8]);
    assert_eq!(store.gather(Sequence(12), list(&newer)).unwrap(), BTreeSet::from([2]));
    assert_eq!(held(&store), 4);
    // What arrives late for the old one is none of the new.
    assert!(keep(&store, AT, &target, &[2]).is_empty());
    assert!(store.finish(AT).is_err());
    assert_eq!(keep(&store, Sequence(12), &newer, &[2]), [2]);
    store.finish(Sequence(12)).unwrap();
    assert_eq!(read(&store, Sequence(12)).unwrap(), newer);
    assert_eq!(read(&store, Sequence(4)).unwrap(), contents(1..=3));
}

#[test]
fn an_unfinished_gathering_is_no_snapshot() {
    let folder = Folder::new();
    let store = folder.open(&[]).unwrap();
    let target = contents(1..=3);
    store.gather(AT, list(&target)).unwrap();
    keep(&store, AT, &target, &[0, 1]);
    assert!(store.finish(AT).is_err());
    assert!(!serves(&store, AT, 0) && read(&store, AT).unwrap().is_empty());
    assert_eq!(keep(&store, AT, &target, &[2]), [2]);
    assert!(store.finish(AT).is_ok() && serves(&store, AT, 0));
}

/// Fault 17: between the snapshot and the record that names it a crash costs nothing.
#[test]
fn a_finished_gathering_outlives_a_crash_until_a_record_names_it() {
    let folder = Folder::new();
    let store = folder.open(&[]).unwrap();
    let target = contents(1..=3);
    store.gather(AT, list(&target)).unwrap();
    keep(&store, AT, &target, &[0, 1, 2]);
    store.finish(AT).unwrap();
    let killed = folder.killed();
    let killed = killed.open(&[]).unwrap();
    assert!(!serves(&killed, AT, 0));
    assert!(killed.gather(AT, list(&target)).unwrap().is_empty());
    killed.finish(AT).unwrap();
    let root = MerkleTree::new(leaves(&target)).root();
    // The record is written, and the log collected.
    store.remove_below(AT, &BTreeSet::new()).unwrap();
    put(&store, Sequence(12), &contents(3..=4));
    store.remove_below(Sequence(12), &BTreeSet::new()).unwrap();
    assert_eq!(held(&store), 2);
    assert!(folder.killed().open(&[(AT, root)]).is_err());
}

/// A gathering that came too late goes with the log that it was to replace.
#[test]
fn collection_ends_a_gathering_that_came_too_late() {
    let folder = Folder::new();
    let store = folder.open(&[]).unwrap();
    let target = contents(1..=3);
    store.gather(AT, list(&target)).unwrap();
    keep(&store, AT, &target, &[0]);
    store.remove_below(Sequence(4), &BTreeSet::new()).unwrap();
    assert_eq!(held(&store), 1);
    store.remove_below(AT, &BTreeSet::new()).unwrap();
    assert_eq!(held(&store), 0);
    assert!(keep(&store, AT, &target, &[1]).is_empty());
}

#[test]
fn a_chunk_that_has_rotted_is_fetched_again() {
    let folder = Folder::new();
    let store = folder.open(&[]).unwrap();
    put(&store, Sequence(4), &contents(1..=3));
    store.rot(&contents([2])[0]);
    let target = contents(1..=4);
    assert_eq!(store.gather(AT, list(&target)).unwrap(), BTreeSet::from([1, 3]));
    keep(&store, AT, &target, &[1, 3]);
    store.finish(AT).unwrap();
    assert_eq!(read(&store, AT).unwrap(), target);
    assert_eq!(read(&store, Sequence(4)).unwrap(), contents(1..=3));
}
